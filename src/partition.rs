//! One replica of one partition, as pure logic: what may be acknowledged, what may be served, and who waits for it.
//!
//! *Which core*: the shard that owns the partition.
//! *Invariants*: `log_start_offset <= high_watermark <= flushed_end_offset (of every ISR member) <= log_end_offset`,
//! asserted after every input; the high watermark never falls within a leader epoch.
//! *Not here*: bytes, files, sockets, clocks, tasks. Inputs are `on_*` methods; what must happen comes out as [`Effect`]s.
//! *Why* pure: one seed can run a whole cluster of these on one thread, and a transcript is a test.

pub mod fetch_waiters;
pub mod isr;
pub mod ladder;
pub mod leader;
pub mod produce_waiters;

#[cfg(test)]
mod model;
#[cfg(test)]
mod transcripts;

pub use fetch_waiters::FetchTicket;
pub use leader::Leader;
pub use produce_waiters::{Acks, ProduceTicket};

/// What the shard must do after an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer this produce.
    Answer {
        /// Whose.
        ticket: ProduceTicket,
        /// Acknowledged, or why not.
        outcome: Result<Acknowledged, AckError>,
    },
    /// Something this fetch waits for has moved: look again.
    Wake(FetchTicket),
}

/// Effects, in the order in which they must happen.
pub type Effects = Vec<Effect>;

/// An acknowledgement: the batch is as durable as its producer asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Offset of the batch's first record.
    pub base_offset: i64,
    /// Where the log begins, for the client's information.
    pub log_start_offset: i64,
}

/// Why an appended batch is not acknowledged. The record may survive all the same: the client must find out by retrying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// Appended, but the in-sync replicas have become fewer than `min.insync.replicas`.
    #[error("appended, but too few replicas are in sync")]
    NotEnoughReplicasAfterAppend,
    /// The time-out that the request named has passed.
    #[error("not replicated within the request's time-out")]
    TimedOut,
    /// This replica leads no longer.
    #[error("leadership was lost")]
    NotLeader,
    /// The log's disk has failed.
    #[error("the log is offline")]
    Offline,
}
