//! `chronik-server`: reads the command line and runs a broker.
//!
//! *Which core*: the main thread. *Invariants*: signals are blocked before the first thread starts, since threads inherit that.
//! *Not here*: anything that runs while the broker runs (`server`).

use std::io::Write;
use std::process::ExitCode;

use chronik::cli::{self, Action, CliError};
use chronik::config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// For a command line or settings that are not accepted, as clap has it.
const USAGE_EXIT_CODE: u8 = 2;

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), std::env::vars_os(), &cli::machine()) {
        Ok(Action::Run(config)) => run(*config),
        Ok(Action::Print(text)) => {
            // Whoever reads may have read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        // Help goes to standard output and is no failure; clap knows.
        Err(CliError::Usage(error)) => error.exit(),
        Err(error) => {
            eprintln!("chronik-server: {error}");
            ExitCode::from(USAGE_EXIT_CODE)
        }
    }
}

fn run(config: Config) -> ExitCode {
    chronik::rt::block_stop_signals();
    let _log = match cli::log::start(&config.process.log_level) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("chronik-server: the log cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    chronik::server::run(config)
}
