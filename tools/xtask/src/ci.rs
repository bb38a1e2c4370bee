//! The gate: its steps, in order, each named and timed.
//!
//! Invariants: a step that fails ends the gate; every test of the workspace runs in exactly one step.
//! Not here: what a step does beyond calling cargo (see `tidy`, `tools`, `search`).
//! Why: one list, the same at home and in CI. Black-box tests get a step of their own, because they need foreign clients and the
//! release build, and their count is the gate's last word.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::command::{cargo, run as run_command, watched};
use crate::{search, tidy, tools, workspace};

/// Arguments of `cargo xtask ci`.
#[derive(Args)]
pub struct Options {
    /// Run only this step (may be repeated).
    #[arg(long, value_name = "STEP")]
    only: Vec<Step>,
}

/// One step of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Debian packages, jars and Python clients are there.
    Tools,
    /// rustfmt changes nothing.
    Fmt,
    /// The house rules.
    Tidy,
    /// No lint anywhere.
    Clippy,
    /// Unit tests, and the examples in the docs.
    Test,
    /// The docs build without a warning.
    Doc,
    /// Real brokers, real clients: every test in a tests/ folder, against the release build.
    BlackBox,
    /// Simulation seeds.
    Sim,
    /// A minute of fuzzing.
    Fuzz,
}

const ALL: [Step; 9] =
    [Step::Fmt, Step::Tidy, Step::Tools, Step::Clippy, Step::Test, Step::Doc, Step::BlackBox, Step::Sim, Step::Fuzz];

/// Tests passed and failed, as cargo's harness counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

/// Runs the gate, or the steps asked for.
pub fn run(options: &Options) -> Result<()> {
    let mut took = Vec::new();
    let mut black_box = None;
    for step in ALL.into_iter().filter(|step| options.only.is_empty() || options.only.contains(step)) {
        println!("\n== {}", name(step));
        let started = Instant::now();
        let outcome = execute(step, &mut black_box);
        let time = started.elapsed();
        println!("== {}: {} in {}", name(step), if outcome.is_ok() { "ok" } else { "FAILED" }, seconds(time));
        took.push((step, time));
        if let Err(error) = outcome {
            print_tally(black_box);
            return Err(error.context(format!("the step {} failed", name(step))));
        }
    }
    println!();
    for (step, time) in &took {
        println!("{:<10} {:>8}", name(*step), seconds(*time));
    }
    println!("{:<10} {:>8}", "all", seconds(took.iter().map(|(_, time)| *time).sum()));
    print_tally(black_box);
    Ok(())
}

fn execute(step: Step, black_box: &mut Option<Tally>) -> Result<()> {
    match step {
        Step::Fmt => run_command(&mut cargo(["fmt", "--all", "--check"])),
        Step::Tidy => tidy::run(),
        Step::Tools => tools::install_all(),
        Step::Clippy => {
            run_command(&mut cargo(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]))
        }
        Step::Test => {
            run_command(&mut cargo(["test", "--quiet", "--workspace", "--lib", "--bins", "--examples"]))?;
            run_command(&mut cargo(["test", "--quiet", "--workspace", "--doc"]))
        }
        Step::Doc => {
            let mut doc = cargo(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]);
            run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
        }
        Step::BlackBox => {
            tools::install_all()?;
            run_command(&mut cargo(["build", "--quiet", "--release", "--workspace", "--bins"]))?;
            run_black_box(black_box)
        }
        Step::Sim => search::sim_in_the_gate(),
        Step::Fuzz => search::fuzz_for(Duration::from_secs(60)),
    }
}

/// Every test in a tests/ folder. The clients must be there: a missing one is a failure here, where a plain `cargo test` skips it.
fn run_black_box(black_box: &mut Option<Tally>) -> Result<()> {
    let mut tests = cargo(["test", "--workspace", "--test", "*", "--no-fail-fast"]);
    tests.env("CHRONIK_TEST_SERVER", workspace::release_binary("chronik-server"));
    tests.env("CHRONIK_TEST_CLIENTS", "required");
    let (succeeded, lines) = watched(&mut tests)?;
    let sum = tally(lines.iter().map(String::as_str)).context("cargo test printed no result")?;
    *black_box = Some(sum);
    ensure!(succeeded && sum.failed == 0, "{} black-box tests failed", sum.failed);
    ensure!(sum.passed > 0, "no black-box test ran");
    Ok(())
}

/// Sums the `test result:` lines; `None` where there is none.
fn tally<'a>(lines: impl Iterator<Item = &'a str>) -> Option<Tally> {
    let mut sum = None;
    for result in lines.filter_map(|line| line.strip_prefix("test result:")) {
        let sum: &mut Tally = sum.get_or_insert_default();
        sum.passed += count_before(result, " passed");
        sum.failed += count_before(result, " failed");
    }
    sum
}

fn count_before(text: &str, word: &str) -> u64 {
    let digits = text.split(word).next().and_then(|before| before.rsplit(' ').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

fn print_tally(black_box: Option<Tally>) {
    if let Some(Tally { passed, failed }) = black_box {
        println!("{passed} passed, {failed} failed");
    }
}

fn name(step: Step) -> String {
    step.to_possible_value().expect("no step is hidden").get_name().to_owned()
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tally_is_the_sum_over_all_test_binaries() {
        let lines = [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 4.00s",
        ];
        assert_eq!(tally(lines.into_iter()), Some(Tally { passed: 13, failed: 2 }));
        assert_eq!(tally(["no such line"].into_iter()), None);
    }

    #[test]
    fn every_step_is_in_the_list_once() {
        for step in Step::value_variants() {
            assert_eq!(ALL.iter().filter(|listed| *listed == step).count(), 1, "{step:?}");
        }
    }
}
