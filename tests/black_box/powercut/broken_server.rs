//! The broker, but it acknowledges before the flush: what `cargo xtask powercut --broken` must find out.
//!
//! Not here: anything that a server could be told to do. The fault can be turned on by a program that is linked with it only.

use std::process::ExitCode;

use chronik::cli::{self, Action};

fn main() -> ExitCode {
    match cli::parse(std::env::args_os(), std::env::vars_os(), &cli::machine()) {
        Ok(Action::Run(mut config)) => {
            config.bugs.acknowledge_early = true;
            let _log = cli::log::start(&config.process.log_level);
            chronik::rt::block_stop_signals();
            chronik::server::run(*config)
        }
        Ok(Action::Print(_)) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("broken-server: {error}");
            ExitCode::FAILURE
        }
    }
}
