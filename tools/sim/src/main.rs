//! Chronik's simulator: machines, network, disks and time on one thread, from one seed.
//!
//! Owns: the command line. `world` is what there is, `nemesis` what goes wrong, `trace` what is told of it, `search` runs many
//! seeds; a scenario (`toy`) says what runs in the world and what must hold.

mod nemesis;
mod search;
mod toy;
mod trace;
mod world;

use std::ops::Range;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// Simulates Chronik: the same seed gives the same run, byte for byte.
#[derive(Parser)]
#[command(group(clap::ArgGroup::new("which").required(true)))]
struct Cli {
    /// Replays one seed, and prints its trace.
    #[arg(long, group = "which", value_name = "N")]
    seed: Option<u64>,
    /// Searches seeds, from A up to but without B.
    #[arg(long, group = "which", value_name = "A..B", value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Ends a run after this many moves of time.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
}

fn range(text: &str) -> Result<Range<u64>> {
    let (start, end) = text.split_once("..").context("write it as 1..200")?;
    let range = start.trim().parse()?..end.trim().parse()?;
    ensure!(!range.is_empty(), "there is no seed in {text}");
    Ok(range)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.seed, cli.seeds) {
        (Some(seed), _) => replay(seed, cli.steps),
        (None, Some(seeds)) => search_for_failures(seeds, cli.steps),
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

fn replay(seed: u64, steps_max: Option<u64>) -> ExitCode {
    let (report, verdict) = toy::run(seed, steps_max, toy::Bugs::default());
    print!("{}", report.trace);
    println!("seed {seed}: {} steps, digest {:016x}", report.steps, report.digest);
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seed {seed} FAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn search_for_failures(seeds: Range<u64>, steps_max: Option<u64>) -> ExitCode {
    let count = seeds.end - seeds.start;
    let failed = search::search(seeds, |seed| toy::run(seed, steps_max, toy::Bugs::default()).1);
    for (seed, reason) in &failed {
        eprintln!("seed {seed} FAILED: {reason}\n  replay it: cargo xtask sim --seed {seed}");
    }
    println!("{count} seeds, {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
