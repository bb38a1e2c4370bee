//! The broker as a whole. Not written yet: for now it starts the admin listener and waits to be stopped.
//!
//! *Which core*: the main thread.

use std::process::ExitCode;
use std::sync::Arc;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::{admin, rt};

/// Runs until SIGTERM or SIGINT.
pub fn run(config: Config) -> ExitCode {
    let metrics = Arc::new(Metrics::new(config.process.shards));
    let admin = match admin::start(&config, metrics.clone()) {
        Ok(admin) => admin,
        Err(error) => {
            eprintln!("FATAL: {error}");
            return ExitCode::FAILURE;
        }
    };
    let signal = rt::wait_for_stop_signal();
    tracing::info!(?signal, "stopping");
    metrics.process.set_ready(false);
    admin.stop();
    ExitCode::SUCCESS
}
