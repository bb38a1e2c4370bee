//! Chronik's simulator: machines, network, disks and time on one thread, from one seed.
//!
//! Owns: the command line. `world` is what there is, `nemesis` what goes wrong, `trace` what is told of it, `search` runs many
//! seeds; a scenario (`broker`, `cluster`, and `toy` in tests) says what runs in the world and what must hold.

mod broker;
mod bugs;
mod check;
mod client;
mod cluster;
mod consume;
#[cfg(test)]
mod founding;
mod nemesis;
mod process;
mod produce;
mod replicas;
mod scenario;
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

use bugs::Bugs;
use scenario::Scenario;

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
    /// Plants every fault there is, one after the other: each must be found within so many seeds.
    #[arg(long, group = "which", value_name = "SEEDS")]
    find_planted: Option<u64>,
    /// Ends a run after this many moves of time.
    #[arg(long, value_name = "N")]
    steps: Option<u64>,
    /// A cluster, where otherwise it is one broker.
    #[arg(long)]
    cluster: bool,
    /// Plants a fault that must be found.
    #[arg(long, value_name = "NAME", value_parser = planted)]
    bug: Option<Bugs>,
}

fn planted(name: &str) -> Result<Bugs> {
    Bugs::planted(name).context("there is no such bug")
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
    let scenario = if cli.cluster { scenario::CLUSTER } else { scenario::BROKER };
    match (cli.seed, cli.seeds, cli.find_planted) {
        (Some(seed), _, _) => replay(&scenario, seed, cli.steps, bugs),
        (None, Some(seeds), _) => search_for_failures(&scenario, seeds, cli.steps, bugs),
        (None, None, Some(seeds_max)) => find_planted(&scenario, seeds_max),
        (None, None, None) => unreachable!("clap asks for one of them"),
    }
}

fn replay(scenario: &Scenario, seed: u64, steps_max: Option<u64>, bugs: Bugs) -> ExitCode {
    let (report, verdict) = (scenario.run)(seed, steps_max, bugs);
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

fn find_planted(scenario: &Scenario, seeds_max: u64) -> ExitCode {
    // A fault may be found by an assertion of the broker's own: the search says so, no need for the hook to.
    std::panic::set_hook(Box::new(|_| {}));
    let mut all_found = true;
    for name in scenario.planted {
        let bugs = Bugs::planted(name).expect("it is one of them");
        match search::first_failure(1..seeds_max + 1, |seed| (scenario.run)(seed, None, bugs).1) {
            Some((seed, reason)) => println!("{name} is found by seed {seed}: {reason}"),
            None => {
                eprintln!("{name} is NOT FOUND by {seeds_max} seeds");
                all_found = false;
            }
        }
    }
    if all_found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn search_for_failures(scenario: &Scenario, seeds: Range<u64>, steps_max: Option<u64>, bugs: Bugs) -> ExitCode {
    let count = seeds.end - seeds.start;
    let failed = search::search(seeds, |seed| (scenario.run)(seed, steps_max, bugs).1);
    for (seed, reason) in &failed {
        eprintln!("seed {seed} FAILED: {reason}\n  replay it: cargo xtask sim {}--seed {seed}", scenario.flag);
    }
    println!("{count} seeds, {} failed", failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
