//! The searches that can run for a minute or a night: simulation seeds, fuzz targets, rounds of kill -9, faults of a cluster.
//!
//! Not here: the searches themselves. The simulator is tools/sim, a fuzz target is any test named
//! `fuzz_*` in a test file named `fuzz*`, the crash rounds and the campaign are black-box tests.
//! Why: a target that is a test runs on stable, compiles with everything else, and runs briefly in every `cargo test`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{cargo, output, run};
use crate::workspace;

/// Seeds of the gate.
const GATE_SEEDS: &str = "1..200";

/// Seeds of a cluster.
const GATE_CLUSTER_SEEDS: &str = "1..201";

/// Of so many seeds one must find each planted fault.
const GATE_SEEDS_TO_FIND: &str = "4000";

/// Arguments of `cargo xtask sim`.
#[derive(Args)]
pub struct SimOptions {
    /// Handed on, e.g. `--seed 7` to replay or `--seeds 1..10000` to search.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<String>,
}

/// Arguments of `cargo xtask fuzz`.
#[derive(Args)]
pub struct FuzzOptions {
    /// For all targets together.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Arguments of `cargo xtask crash`.
#[derive(Args)]
pub struct CrashOptions {
    /// How many times the broker is killed.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
}

/// Arguments of `cargo xtask campaign`.
#[derive(Args)]
pub struct CampaignOptions {
    /// Fourteen faults each.
    #[arg(long, default_value_t = 10)]
    hands: u32,
}

/// Runs the simulator with these arguments.
pub fn sim(options: &SimOptions) -> Result<()> {
    // Not `--package sim`: dependencies would have other features than in the gate's build, and everything be compiled again.
    let mut simulate = cargo(["run", "--quiet", "--release", "--bin", "sim", "--"]);
    run(simulate.args(&options.arguments))
}

/// The seeds that every change must pass, and the faults that they must be able to find.
pub fn sim_in_the_gate() -> Result<()> {
    let searches: [&[&str]; 4] = [
        &["--seeds", GATE_SEEDS],
        &["--find-planted", GATE_SEEDS_TO_FIND],
        &["--cluster", "--seeds", GATE_CLUSTER_SEEDS],
        &["--cluster", "--find-planted", GATE_SEEDS_TO_FIND],
    ];
    for arguments in searches {
        sim(&SimOptions { arguments: arguments.iter().copied().map(Into::into).collect() })?;
    }
    Ok(())
}

/// Runs every fuzz target for its share of the time.
pub fn fuzz(options: &FuzzOptions) -> Result<()> {
    fuzz_for(Duration::from_secs(options.seconds))
}

/// Every test named `fuzz_*` of a test file named `fuzz*`, one after the other, each for an equal share of `time`.
pub fn fuzz_for(time: Duration) -> Result<()> {
    let tests = |arguments: &[&str]| {
        let mut tests = cargo(["test", "--quiet", "--release", "--workspace", "--test", "fuzz*", "--", "fuzz_"]);
        tests.args(arguments);
        tests
    };
    let listed = output(&mut tests(&["--list"]))?;
    let targets = listed.lines().filter(|line| line.ends_with(": test")).count();
    ensure!(targets > 0, "there is no fuzz target");
    let share = time / u32::try_from(targets).context("too many fuzz targets")?;
    println!("{targets} fuzz targets, {:.1} s each", share.as_secs_f64());
    run(tests(&["--test-threads=1", "--show-output"]).env("CHRONIK_FUZZ_MS", share.as_millis().to_string()))
}

/// Rounds of kill -9 under load.
pub fn crash(options: &CrashOptions) -> Result<()> {
    rounds("crash::", "CHRONIK_CRASH_ROUNDS", options.rounds)
}

/// Faults of a loaded cluster's brokers, and of the network between them.
pub fn campaign(options: &CampaignOptions) -> Result<()> {
    rounds("campaign::", "CHRONIK_CAMPAIGN_HANDS", options.hands)?;
    rounds("cuts::", "CHRONIK_CAMPAIGN_HANDS", options.hands)
}

/// A black-box test for longer than in the gate, against the release build.
fn rounds(test: &str, variable: &str, count: u32) -> Result<()> {
    run(&mut cargo(["build", "--quiet", "--release", "--bin", "chronik-server"]))?;
    let mut rounds = cargo(["test", "--package", "chronik", "--test", "black_box", test, "--", "--nocapture"]);
    rounds.env("CHRONIK_TEST_SERVER", workspace::release_binary("chronik-server"));
    run(rounds.env(variable, count.to_string()))
}
