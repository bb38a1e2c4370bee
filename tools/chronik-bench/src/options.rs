//! The command line: every flag, its default, what goes with what.
//!
//! Owns: parsing and cross-checks, and the text of `--help`.
//! Invariants: what leaves [`Options::check`] can be run; a flag that would do nothing is refused, never ignored.
//! Not here: the spelling of single values (`values`).
//! Why: a later flag overrides an earlier one, so that a sweep is the same command line with one flag said again.

mod values;

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use clap::{ArgAction, Parser, ValueEnum};
use serde::Serialize;
pub use values::{Acks, Pair, SizeRange, Sweep};

/// Partitions of a topic that has to be created, where `--partitions` says nothing.
pub const PARTITIONS_DEFAULT: i32 = 4;
/// Records outstanding in a closed loop, where `--concurrency` says nothing.
pub const CONCURRENCY_DEFAULT: u64 = 128;
/// Unmeasured seconds at the start of a produce run.
const WARM_UP_DEFAULT: Duration = Duration::from_secs(2);
/// Largest record batch that the raw client builds.
const RAW_BATCH_BYTES_MAX: u64 = 64 << 20;

const ABOUT: &str =
    "Measures a Kafka broker: how fast, how late, and whether everything it acknowledged is really there.";

const LONG_ABOUT: &str = "\
Measures a Kafka broker: how fast, how late, and whether everything it acknowledged is really there.

Works on any broker that speaks Kafka's protocol. Without further flags it produces for 30 seconds with acks=all, \
128 records outstanding, each acknowledgement sending the next (a closed loop, like 128 tasks that each await their own), \
to the topic `chronik-bench`, which is created if it is missing.";

const EXAMPLES: &str = "\
Examples:
  128 callers that each await their own record of 256 bytes, acks=all, for 30 seconds
    chronik-bench --bootstrap-servers localhost:9092 --duration 30s --concurrency 128 --message-size 256

  Latency at a fixed rate. Each record has an intended send time; its latency counts from then, so a broker
  that stalls is charged for every record that had to wait (no coordinated omission)
    chronik-bench --bootstrap-servers localhost:9092 --rate 20000 --duration 60s

  Is everything that was acknowledged really there, once, in order?
    chronik-bench --bootstrap-servers localhost:9092 --audit --idempotence

  What the broker can do when the client costs next to nothing: 1 MiB batches, 4 connections, 4 requests each
    chronik-bench --bootstrap-servers localhost:9092 --client raw --batch-records 3900 --connections 4 --in-flight 4

  What a durable write adds to an empty request on the same connection
    chronik-bench --bootstrap-servers localhost:9092 --client raw --concurrency 1 --probe

  How throughput and latency move with concurrency, as a table and a picture
    chronik-bench --bootstrap-servers localhost:9092 --duration 10s --sweep concurrency=1,8,64,256 --svg sweep.svg

  Fill a topic, then see how fast the backlog can be read
    chronik-bench --bootstrap-servers localhost:9092 --topic backlog --records 5000000 --linger-ms 5 --concurrency 100000
    chronik-bench --bootstrap-servers localhost:9092 --topic backlog --mode consume

  For scripts: one line of JSON with configuration and figures on standard output, the report on standard error
    chronik-bench --bootstrap-servers localhost:9092 --json -

What the figures mean:
  messages, msg/s, MB/s   acknowledged (or received) within the measured time, over that time; MB = 1,000,000 bytes of values
  latency                 of every record due in the measured time, however late its answer came.
                          Closed loop: from the send. Open loop (--rate): from the intended send time.
                          End-to-end: until the consumer had it
  failed                  records that ended in an error, by error code, warm-up included
  unsent                  open loop: records that were due and were never sent, because broker or client did not keep up

Exit status: 0 all well; 1 records failed, or the audit found a fault, or nothing was measured; 2 the run could not be made.";

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Send records and await their acknowledgements.
    Produce,
    /// Read what the topic holds, from its start to the end it has now.
    Consume,
    /// Send records, read them at once; latency until received.
    EndToEnd,
}

/// Who speaks to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientKind {
    /// The client library that most languages use; costs CPU as real clients do.
    Librdkafka,
    /// Batches encoded once, sent over plain sockets; costs next to nothing.
    Raw,
}

/// Compression of record batches, by librdkafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// No compression.
    None,
    /// gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// As typed, and as librdkafka calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// One run's settings, as typed and checked.
#[derive(Clone, Debug, Parser, Serialize)]
#[command(name = "chronik-bench", version, about = ABOUT, long_about = LONG_ABOUT, after_long_help = EXAMPLES)]
#[command(args_override_self = true, max_term_width = 120)]
pub struct Options {
    /// Brokers to start from, host:port, comma-separated
    #[arg(long, value_name = "HOST:PORT,..")]
    pub bootstrap_servers: String,

    /// What to do
    #[arg(long, value_enum, default_value = "produce", help_heading = "What to run")]
    pub mode: Mode,
    /// Who speaks to the broker; `raw` is named in every output, for its figures are not those of a real client
    #[arg(long, value_enum, default_value = "librdkafka", help_heading = "What to run")]
    pub client: ClientKind,
    /// Measured time (30s, 500ms, 2m)
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s", help_heading = "What to run")]
    #[serde(rename = "duration_s", serialize_with = "values::seconds")]
    pub duration: Duration,
    /// Stop after this many measured records instead of after a time
    #[arg(long, value_name = "COUNT", help_heading = "What to run")]
    pub records: Option<u64>,
    /// Time before, left out of the figures [default: 2s; consume: 0s]
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "What to run")]
    #[serde(rename = "warm_up_s", serialize_with = "values::optional_seconds")]
    pub warm_up: Option<Duration>,
    /// Closed loop: records outstanding; each answer sends the next [default: 128]
    #[arg(long, value_name = "RECORDS", conflicts_with = "rate", help_heading = "What to run")]
    pub concurrency: Option<u64>,
    /// Open loop instead: this many records per second on a fixed schedule, whatever the broker does
    #[arg(long, value_name = "RECORDS/S", value_parser = values::rate, help_heading = "What to run")]
    pub rate: Option<f64>,
    /// Client threads, each with its own producer (or consumer, or raw connections)
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), help_heading = "What to run")]
    pub threads: u32,
    /// Read everything back afterwards: every acknowledged record at its offset, none twice, none missing, in order
    #[arg(long, help_heading = "What to run")]
    pub audit: bool,

    /// Topic; created if missing
    #[arg(long, default_value = "chronik-bench", help_heading = "Topic")]
    pub topic: String,
    /// Partitions; of a topic that exists they are checked [default: 4 when created]
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=100_000), help_heading = "Topic")]
    pub partitions: Option<i32>,
    /// Replicas of each partition; -1 leaves it to the broker
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, default_value_t = -1, help_heading = "Topic")]
    pub replication_factor: i16,
    /// Topic configuration used on creation, e.g. min.insync.replicas=2 (repeatable)
    #[arg(long, value_name = "NAME=VALUE", action = ArgAction::Append, help_heading = "Topic")]
    pub topic_config: Vec<Pair>,
    /// Delete the topic after the run
    #[arg(long, help_heading = "Topic")]
    pub delete_topic: bool,

    /// Bytes of each value: 256, 4KiB, or a range 100-1000 (uniform)
    #[arg(long, value_name = "BYTES", default_value = "256", help_heading = "Records and batches")]
    pub message_size: SizeRange,
    /// Whose acknowledgement to await: all (= -1), 1 (the leader) or 0 (nobody)
    #[arg(long, default_value = "all", allow_negative_numbers = true, help_heading = "Records and batches")]
    pub acks: Acks,
    /// How long librdkafka waits for a batch to fill
    #[arg(long, value_name = "MS", default_value_t = 0.0, help_heading = "Records and batches")]
    pub linger_ms: f64,
    /// Largest batch that librdkafka builds [default: its own, 1000000]
    #[arg(long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Records and batches")]
    pub batch_bytes: Option<u64>,
    /// Compression by librdkafka
    #[arg(long, value_enum, default_value = "none", help_heading = "Records and batches")]
    pub compression: Compression,
    /// Idempotent producer: retries write no duplicate and keep the order
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = ArgAction::Set, help_heading = "Records and batches")]
    pub idempotence: bool,
    /// Requests in flight per connection [default: raw: no bound but the concurrency; librdkafka: its own]
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Records and batches")]
    pub in_flight: Option<u32>,
    /// How long a record may wait for its acknowledgement before it counts as failed
    #[arg(long, value_name = "TIME", value_parser = values::duration, default_value = "30s", help_heading = "Records and batches")]
    #[serde(rename = "timeout_s", serialize_with = "values::seconds")]
    pub timeout: Duration,
    /// Any other librdkafka setting (repeatable)
    #[arg(long, value_name = "NAME=VALUE", action = ArgAction::Append, help_heading = "Records and batches")]
    pub property: Vec<Pair>,
    /// Seed of the values' contents
    #[arg(long, default_value_t = 1, help_heading = "Records and batches")]
    pub seed: u64,

    /// Connections to each broker, per thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000), help_heading = "Raw client")]
    pub connections: u32,
    /// Records in each batch; 1 = single records
    #[arg(long, value_name = "RECORDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000_000), help_heading = "Raw client")]
    pub batch_records: u32,
    /// Partitions in each request, one batch for each
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Raw client")]
    pub partitions_per_request: u32,
    /// After each produce send an empty request (ApiVersions) on the same connection, and say what the produce cost beyond it
    #[arg(long, help_heading = "Raw client")]
    pub probe: bool,

    /// Write one line of JSON with configuration and figures to this file, or to standard output (-)
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    #[serde(skip)]
    pub json: Option<String>,
    /// Run once for each value of one flag: --sweep concurrency=1,8,64,256
    #[arg(long, value_name = "FLAG=V1,V2,..", help_heading = "Output")]
    #[serde(skip)]
    pub sweep: Option<Sweep>,
    /// Draw the sweep
    #[arg(long, value_name = "FILE", requires = "sweep", help_heading = "Output")]
    #[serde(skip)]
    pub svg: Option<String>,
    /// No progress line each second
    #[arg(long, help_heading = "Output")]
    #[serde(skip)]
    pub quiet: bool,
}

impl Options {
    /// Refuses what cannot be run, with the reason.
    pub fn check(&self) -> Result<()> {
        ensure!(self.concurrency != Some(0), "--concurrency must be at least 1");
        ensure!(self.records != Some(0), "--records must be at least 1");
        ensure!(self.linger_ms >= 0.0 && self.linger_ms <= 900_000.0, "--linger-ms must be between 0 and 900000");
        ensure!(!self.topic.is_empty() && self.topic.len() <= 249, "--topic must have 1 to 249 characters");
        ensure!(self.timeout.as_secs_f64() * 1e3 > self.linger_ms, "--timeout must be longer than --linger-ms");
        if self.carries_identity() {
            let least = crate::payload::IDENTITY_BYTES as u32;
            ensure!(
                self.message_size.min >= least,
                "--audit and --mode end-to-end mark every record: --message-size must be at least {least}"
            );
        }
        if self.audit {
            ensure!(self.mode != Mode::Consume, "--audit needs a run that produces");
            ensure!(self.acks != Acks::None, "--audit needs acknowledgements: --acks all or 1");
        }
        ensure!(!self.idempotence || self.acks == Acks::All, "--idempotence needs --acks all");
        match self.mode {
            Mode::Consume => self.check_consume()?,
            Mode::EndToEnd => {
                ensure!(self.client == ClientKind::Librdkafka, "--mode end-to-end needs --client librdkafka");
                ensure!(self.acks != Acks::None, "--mode end-to-end needs acknowledgements: --acks all or 1");
            }
            Mode::Produce => {}
        }
        match self.client {
            ClientKind::Raw => self.check_raw(),
            ClientKind::Librdkafka => self.check_librdkafka(),
        }
    }

    fn check_consume(&self) -> Result<()> {
        ensure!(self.client == ClientKind::Librdkafka, "--mode consume needs --client librdkafka");
        ensure!(
            self.concurrency.is_none() && self.rate.is_none(),
            "--mode consume has neither --concurrency nor --rate"
        );
        Ok(())
    }

    fn check_raw(&self) -> Result<()> {
        ensure!(self.compression == Compression::None, "--client raw sends its batches as they are: no --compression");
        ensure!(!self.idempotence, "--client raw has no producer id: no --idempotence");
        ensure!(self.linger_ms == 0.0, "--client raw does not wait for batches to fill: no --linger-ms");
        ensure!(self.batch_bytes.is_none(), "--client raw: say --batch-records instead of --batch-bytes");
        ensure!(self.property.is_empty(), "--property is for --client librdkafka");
        let batch_bytes = u64::from(self.batch_records) * (u64::from(self.message_size.max) + 20);
        ensure!(
            batch_bytes <= RAW_BATCH_BYTES_MAX,
            "a batch of {batch_bytes} bytes is more than {RAW_BATCH_BYTES_MAX}"
        );
        if self.probe {
            let one = self.rate.is_none() && self.concurrency() == 1 && self.connections == 1 && self.threads == 1;
            ensure!(one, "--probe needs --concurrency 1, one connection and one thread");
            ensure!(self.acks != Acks::None, "--probe needs acknowledgements: --acks all or 1");
        }
        Ok(())
    }

    fn check_librdkafka(&self) -> Result<()> {
        let raw_only = [
            (self.connections != 1, "connections"),
            (self.batch_records != 1, "batch-records"),
            (self.partitions_per_request != 1, "partitions-per-request"),
            (self.probe, "probe"),
        ];
        for (given, flag) in raw_only {
            if given {
                bail!("--{flag} is for --client raw");
            }
        }
        Ok(())
    }

    /// Whether each record must say who it is.
    pub fn carries_identity(&self) -> bool {
        self.audit || self.mode == Mode::EndToEnd
    }

    /// Records outstanding in a closed loop. A raw run whose window is told in requests has as many as fill it on one broker.
    pub fn concurrency(&self) -> u64 {
        match (self.concurrency, self.client, self.in_flight) {
            (Some(records), _, _) => records,
            (None, ClientKind::Raw, Some(requests)) => {
                let windows = u64::from(self.threads) * u64::from(self.connections) * u64::from(requests);
                windows * self.records_per_request()
            }
            (None, _, _) => CONCURRENCY_DEFAULT,
        }
    }

    /// Records that one raw request carries.
    pub fn records_per_request(&self) -> u64 {
        u64::from(self.batch_records) * u64::from(self.partitions_per_request)
    }

    /// The unmeasured time at the start.
    pub fn warm_up(&self) -> Duration {
        let default = if self.mode == Mode::Consume { Duration::ZERO } else { WARM_UP_DEFAULT };
        self.warm_up.unwrap_or(default)
    }
}

#[cfg(test)]
mod tests;
