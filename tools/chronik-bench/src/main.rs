//! chronik-bench: measures a Kafka broker, honestly, and any broker by the same ruler.
//!
//! Owns: the command line's way to a run or a sweep, and the exit status.
//! Map: `options` -> `run` (or `sweep`, many runs) -> `topic` (over `wire`) -> `client` (librdkafka or raw), which asks `load` when to
//!   send and tells `figures` what came -> `audit` -> `report`, `plot`.
//! Not here: anything of our own broker. This tool knows Kafka's protocol and nothing else.

mod audit;
mod client;
mod clock;
mod figures;
mod load;
mod options;
mod payload;
mod plot;
mod report;
mod run;
mod sweep;
mod sys;
mod topic;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use crate::options::Options;
use crate::report::Output;

/// The run could not be made.
const EXIT_UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    match measure(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chronik-bench: {error:#}");
            ExitCode::from(EXIT_UNUSABLE)
        }
    }
}

/// Whether everything went well.
fn measure(options: &Options) -> Result<bool> {
    if let Some(sweep) = &options.sweep {
        return sweep::run(sweep, options, &std::env::args().collect::<Vec<_>>());
    }
    options.check()?;
    let mut output = Output::open(options)?;
    let (options, figures) = run::run(options)?;
    output.show(&options, &figures)?;
    Ok(figures.is_clean())
}
