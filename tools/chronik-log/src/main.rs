//! chronik-log: looks into the files of a partition, offline, and changes nothing.
//!
//! Owns: the command line and the exit status.
//! Map: `options` -> `partition` (which files) -> `mapped` (their bytes) -> `walk` (their batches, and the first that is none), with
//!   `companions` (what lies beside a segment) -> `dump`, `verify`, `stats` -> `print`.
//! Invariants: files are only ever opened for reading; no bytes panic it.
//! Not here: repair. What is bad is restored from a replica.

mod companions;
mod dump;
mod mapped;
mod options;
mod partition;
mod print;
mod stats;
#[cfg(test)]
mod tests;
mod verify;
mod walk;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use options::{Command, Options};

/// Something could not be read, or was not understood.
const EXIT_UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let options = Options::parse();
    let mut out = BufWriter::new(io::stdout().lock());
    let outcome = run(&options, &mut out).and_then(|is_good| Ok(out.flush().map(|()| is_good)?));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Somebody who reads only the first lines, as `head` does.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _nobody_listens = out.flush();
            eprintln!("chronik-log: {error:#}");
            ExitCode::from(EXIT_UNUSABLE)
        }
    }
}

/// Whether everything that was looked at is in order.
fn run(options: &Options, out: &mut impl Write) -> Result<bool> {
    let json = options.json;
    match &options.command {
        Command::Dump(dump) => dump::run(dump, json, out),
        Command::Verify(verify) => verify::run(verify, json, out),
        Command::Stats(stats) => stats::run(stats, json, out),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}
