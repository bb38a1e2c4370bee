//! One replica of one partition, as pure logic: what may be acknowledged, what may be served, and who waits for it.
//!
//! *Which core*: the shard that owns the partition.
//! *Invariants*: `log_start_offset <= high_watermark <= flushed_end_offset (of every ISR member) <= log_end_offset`,
//! asserted after every input; the high watermark never falls within a leader epoch.
//! *Not here*: bytes, files, sockets, clocks, tasks. Inputs are `on_*` methods; what must happen comes out as [`Effect`]s.
//! *Why* pure: one seed can run a whole cluster of these on one thread, and a transcript is a test.

pub mod fetch_waiters;
pub mod follower;
pub mod isr;
pub mod ladder;
pub mod leader;
pub mod log_end_marks;
pub mod opening;
pub mod produce_waiters;
pub mod replica;
pub mod replication;

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod model;
#[cfg(test)]
mod transcripts;

use serde::{Deserialize, Serialize};

use crate::metadata::image::PartitionEpoch;
use crate::model::{LeaderEpoch, PartitionId};

pub use fetch_waiters::FetchTicket;
pub use follower::Follower;
pub use leader::Leader;
pub use produce_waiters::{Acks, ProduceTicket};

/// What the shard must do after an input to a leader.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Ask the controller for another ISR, and give its answer to [`Leader::on_isr_answer`], in any case.
    ProposeIsr(Box<IsrProposal>),
}

/// A change of the in-sync replicas that a leader wants. The controller commits it only if both epochs are the committed ones
/// and every member is alive in the incarnation that is named; the partition epoch then moves, even if the members are the same:
/// a leader rules out by that what it proposed before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrProposal {
    /// Of which partition.
    pub partition: PartitionId,
    /// The leader's reign.
    pub leader_epoch: LeaderEpoch,
    /// The version of the partition's record that it knows.
    pub partition_epoch: PartitionEpoch,
    /// The members, the leader among them.
    pub isr: isr::ProposedIsr,
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
