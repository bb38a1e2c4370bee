//! The workshop: `cargo xtask ci` is the whole gate, the other commands are its parts and what is too long for it.
//!
//! Owns: the command line. Each command lives in the module of its name.
//! Not here: anything the broker needs. Nothing in this package is a dependency of the product.
//! Why: it depends on no C library and builds in seconds, because it is what installs everything else's prerequisites.

mod bench;
mod chronik_bench;
mod ci;
mod command;
mod failover;
mod peer;
mod powercut;
mod results;
mod search;
mod statistics;
mod tidy;
mod tools;
mod versus;
mod workspace;

use clap::{Parser, Subcommand};

/// Chronik's development tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// The whole gate: formatting, lints, house rules, tests, docs, real clients, simulation seeds, fuzzing.
    Ci(ci::Options),
    /// The house rules that no compiler checks: floors, file headers, allow-lists.
    Tidy,
    /// Installs the foreign clients and peers that the tests drive (Debian packages, Kafka's jars, Python clients).
    Tools,
    /// Simulates a broker and its clients on one thread from a seed. Arguments go to tools/sim.
    Sim(search::SimOptions),
    /// Runs every fuzz target for its share of the time.
    Fuzz(search::FuzzOptions),
    /// Kills a loaded broker with SIGKILL again and again, and audits what it had acknowledged.
    Crash(search::CrashOptions),
    /// Kills, freezes and restarts the brokers of a loaded cluster, and compares all replicas.
    Campaign(search::CampaignOptions),
    /// Apache Kafka and this broker under the same load, in turns: the ratios.
    Versus(versus::Options),
    /// A named measurement of this broker, kept in bench-results/.
    Bench(bench::Options),
    /// Kills (or stops) the leader of a loaded cluster again and again: how long clients wait.
    Failover(failover::Options),
    /// Cuts the power of a loaded broker in a machine of its own, and looks for what it had acknowledged.
    Powercut(powercut::Options),
    #[command(hide = true)]
    PowercutGuest(powercut::GuestOptions),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Ci(options) => ci::run(&options),
        Task::Tidy => tidy::run(),
        Task::Tools => tools::install_all(),
        Task::Sim(options) => search::sim(&options),
        Task::Fuzz(options) => search::fuzz(&options),
        Task::Crash(options) => search::crash(&options),
        Task::Campaign(options) => search::campaign(&options),
        Task::Versus(options) => versus::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Failover(options) => failover::run(&options),
        Task::Powercut(options) => powercut::run(&options),
        Task::PowercutGuest(options) => powercut::run_guest(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
