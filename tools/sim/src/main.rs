//! Chronik's simulator: machines, network, disks and time on one thread, from one seed.
//!
//! Owns: the command line. `world` is what there is, `nemesis` what goes wrong, `trace` what is told of it, `search` runs many
//! seeds; a scenario (`broker`, and `toy` in tests) says what runs in the world and what must hold.

mod broker;
mod check;
mod consume;
mod nemesis;
mod produce;
mod search;
#[cfg(test)]
mod toy;
mod trace;
mod wire;
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
    /// Plants a fault that must be found.
    #[arg(long, value_name = "NAME", value_parser = planted)]
    bug: Option<broker::Bugs>,
}

fn planted(name: &str) -> Result<broker::Bugs> {
    let mut bugs = broker::Bugs::default();
    let bug = match name {
        "skip-flush" => &mut bugs.skip_flush,
        "forget-barrier" => &mut bugs.forget_barrier,
        "acknowledge-early" => &mut bugs.log.acknowledge_early,
        "keep-tail-on-truncation" => &mut bugs.log.keep_tail_on_truncation,
        "forget-producers" => &mut bugs.log.forget_producers,
        _ => anyhow::bail!("there is no such bug"),
    };
    *bug = true;
    Ok(bugs)
}

fn range(text: &str) -> Result<Range<u64>> {
    let (start, end) = text.split_once("..").context("write it as 1..200")?;
    let range = start.trim().parse()?..end.trim().parse()?;
    ensure!(!range.is_empty(), "there is no seed in {text}");
    Ok(range)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let bugs = cli.bug.unwrap_or_default();
    match (cli.seed, cli.seeds) {
        (Some(seed), _) => replay(seed, cli.steps, bugs),
        (None, Some(seeds)) => search_for_failures(seeds, cli.steps, bugs),
        (None, None) => unreachable!("clap asks for one of them"),
    }
}

fn replay(seed: u64, steps_max: Option<u64>, bugs: broker::Bugs) -> ExitCode {
    let (report, verdict) = broker::run(seed, steps_max, bugs);
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

fn search_for_failures(seeds: Range<u64>, steps_max: Option<u64>, bugs: broker::Bugs) -> ExitCode {
    let count = seeds.end - seeds.start;
    let failed = search::search(seeds, |seed| broker::run(seed, steps_max, bugs).1);
    for (seed, reason) in &failed {
        eprintln!("seed {seed} FAILED: {reason}\n  replay it: cargo xtask sim --seed {seed}");
    }
    println!("{count} seeds, {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
