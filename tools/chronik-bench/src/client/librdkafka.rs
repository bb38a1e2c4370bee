//! The client library that most languages use, through its Rust binding.
//!
//! Owns: its settings, and what it has to say when something is wrong.
//! Not here: sending (`produce`), receiving (`consume`).

mod consume;
mod produce;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
pub use consume::{Reader, Reading};
pub use produce::Producer;
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::options::Options;
use crate::wire::CLIENT_ID;

/// What librdkafka says is shown this often, then no more.
const COMPLAINTS_MAX: u32 = 20;
static COMPLAINTS: AtomicU32 = AtomicU32::new(0);

/// Settings of any client.
fn config(options: &Options) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.bootstrap_servers);
    config.set("client.id", CLIENT_ID);
    config.set("socket.nagle.disable", "true");
    config.set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// Settings of a producer: linger 0 and the broker's say on everything else, unless told otherwise.
fn producer_config(options: &Options) -> ClientConfig {
    let mut config = config(options);
    // Each outstanding record needs a place in librdkafka's queue; an open loop must have room to fall behind.
    let queue_messages = (options.concurrency() * 2).clamp(1_000_000, 10_000_000);
    config.set("acks", options.acks.code().to_string());
    config.set("linger.ms", options.linger_ms.to_string());
    config.set("message.timeout.ms", options.timeout.as_millis().to_string());
    config.set("request.timeout.ms", options.timeout.as_millis().clamp(1, 900_000).to_string());
    config.set("queue.buffering.max.messages", queue_messages.to_string());
    config.set("queue.buffering.max.kbytes", "1048576");
    config.set("enable.idempotence", options.idempotence.to_string());
    config.set("compression.codec", options.compression.name());
    // librdkafka refuses requests that could not hold the largest message.
    config.set("message.max.bytes", (u64::from(options.message_size.max) + 1_000).max(1_000_000).to_string());
    if let Some(bytes) = options.batch_bytes {
        config.set("batch.size", bytes.to_string());
    }
    if let Some(requests) = options.in_flight {
        config.set("max.in.flight.requests.per.connection", requests.to_string());
    }
    with_properties(config, options)
}

/// Settings of a consumer that is assigned its partitions and commits nothing.
fn consumer_config(options: &Options) -> ClientConfig {
    let mut config = config(options);
    config.set("group.id", CLIENT_ID);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    config.set("isolation.level", "read_uncommitted");
    config.set("auto.offset.reset", "error");
    config.set("check.crcs", "true");
    config.set("fetch.message.max.bytes", (u64::from(options.message_size.max) * 2).max(1_048_576).to_string());
    config
}

/// The user's own settings, which win.
fn with_properties(mut config: ClientConfig, options: &Options) -> ClientConfig {
    for property in &options.property {
        config.set(&property.name, &property.value);
    }
    config
}

/// The name that failures of this kind are counted under.
pub fn error_name(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| format!("{code:?}"))
}

/// Shows what librdkafka has to say, a bounded number of times.
fn complain(what: &str) {
    let said = COMPLAINTS.fetch_add(1, Ordering::Relaxed);
    if said < COMPLAINTS_MAX {
        eprintln!("librdkafka: {what}");
    } else if said == COMPLAINTS_MAX {
        eprintln!("librdkafka: (more of this is not shown)");
    }
}

/// Refuses settings that librdkafka does not know, before anything is measured.
pub fn check_properties(options: &Options) -> Result<()> {
    let config = match options.mode {
        crate::options::Mode::Consume => with_properties(consumer_config(options), options),
        crate::options::Mode::Produce | crate::options::Mode::EndToEnd => producer_config(options),
    };
    config.create_native_config().context("librdkafka refuses a setting")?;
    Ok(())
}
