//! What a log is told: its limits, all of which may change while it runs.
//!
//! *Which core*: the log's.
//! *Invariants*: a changed limit acts from the next append or maintenance on; nothing is rewritten.
//! *Not here*: Kafka's names and defaults (the server's config).

/// The limits of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment that would grow beyond this is rolled (`segment.bytes`).
    pub segment_bytes: u64,
    /// A segment whose first record is older than this is rolled (`segment.ms`).
    pub segment_ms: i64,
    /// Bytes between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u64,
    /// How long records are kept; `None`: for ever (`retention.ms`).
    pub retention_ms: Option<i64>,
    /// How many bytes are kept; `None`: all (`retention.bytes`).
    pub retention_bytes: Option<u64>,
    /// The largest batch that may be appended (`max.message.bytes`).
    pub max_batch_bytes: usize,
    /// How long an idle producer is remembered (`producer.id.expiration.ms`).
    pub producer_expiration_ms: i64,
    /// How much of the tail may stay in memory after it was flushed, at most: see [`super::Log::shrink_tail`].
    pub tail_cache_bytes: usize,
    /// Faults to find; all off but in the simulator's own tests.
    pub bugs: Bugs,
}

impl Default for LogConfig {
    /// Kafka's defaults, and 4 MiB of tail.
    fn default() -> LogConfig {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * 24 * 3_600_000),
            retention_bytes: None,
            max_batch_bytes: 1_048_588,
            producer_expiration_ms: 24 * 3_600_000,
            tail_cache_bytes: 4 << 20,
            bugs: Bugs::default(),
        }
    }
}

/// Deliberate faults, for the simulator to find. A server never turns one on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bugs {
    /// Truncation leaves the cut bytes on disk.
    pub keep_tail_on_truncation: bool,
    /// Recovery leaves on disk what a torn write left behind its cut.
    pub keep_torn_tail: bool,
    /// A flush is reported done when its write is.
    pub acknowledge_early: bool,
    /// Recovery begins with an empty producer table.
    pub forget_producers: bool,
}
