//! The foreign programs that the tests drive, brought to where the tests look for them.
//!
//! Owns: `target/kafka-tools` (Kafka's jars), `target/clients` (a Python environment), and Debian packages where we may install them.
//! Invariants: installing twice does nothing the second time; what cannot be installed is named with the one line that a person types.
//! Not here: using them (tests/black_box, `versus`).
//! Why: a clone and a Rust toolchain with a C compiler must be enough to pass the gate.

mod debian;
mod kafka;
mod python;

use anyhow::Result;

pub use debian::{Need, ensure_packages};
pub use kafka::{install as install_kafka, jars as kafka_jars};

/// Everything that the gate needs.
pub fn install_all() -> Result<()> {
    ensure_packages(Need::Build)?;
    ensure_packages(Need::Clients)?;
    kafka::install()?;
    python::install()
}
