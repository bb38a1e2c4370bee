//! What travels on a replication stream: entries for many partitions in every frame.
//!
//! *Which core*: a follower's shard on one side, its leader's on the other.
//! *Invariants*: a frame is a run of whole entries; one that is not, or holds a number that cannot be, is refused from there on.
//! The frame's CRC covers all of it, base offsets and leader epochs of batches too, which the batches' own CRCs leave out.
//! *Not here*: length and CRC of a frame (`net::peer_frame`), what the entries mean (`partition::replication`).
//! *Why* many in one: a system call and a wake cost more than a hundred small entries.
//! *Why* no credit: what a leader has sent and no ack has covered is what is under way. It counts that, and waits.
//!
//! ```text
//! entry   kind u8 | topic id, 16 bytes | partition i32 |, and then by kind, integers big-endian:
//! 1 open    leader epoch i32 | opening u32 | log end i64 | epoch of the last record i32, -1: none
//! 2 ack     leader epoch i32 | opening u32 | flushed end i64
//! 3 leave
//! 4 answer  opening u32 | 0 agreed, 1 diverging, 2 begin at, 3 not yet, 4 fenced, u8 | epoch i32 | offset i64
//! 5 data    leader epoch i32 | opening u32 | high watermark i64 | log start i64 | length u32 | batches
//! 6 closed  opening u32
//! ```
//! Kinds 1 to 3 come from followers, the others from leaders. What changes here changes [`super::hello::PEER_FORMAT`].

mod decode;
mod encode;

pub use decode::{BadEntry, Entries};
pub use encode::{DataHead, EntryWriter};

use bytes::Bytes;

use crate::model::{LeaderEpoch, PartitionId};
use crate::partition::replication::{OpeningAnswer, OpeningRequest, ReplicaAck};

/// Bytes of a data entry before its batches.
pub const DATA_HEAD_BYTES: usize = 1 + 20 + 4 + 4 + 8 + 8 + 4;

const OPEN: u8 = 1;
const ACK: u8 = 2;
const LEAVE: u8 = 3;
const ANSWER: u8 = 4;
const DATA: u8 = 5;
const CLOSED: u8 = 6;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of which partition.
    pub partition: PartitionId,
    /// What is said of it.
    pub word: Word,
}

/// What is said of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Follower: I want to follow.
    Open(OpeningRequest),
    /// Follower: so far I have flushed.
    Ack(ReplicaAck),
    /// Follower: send me no more of it.
    Leave,
    /// Leader: to the opening of this number.
    Answer {
        /// The follower's number.
        opening: u32,
        /// What it hears.
        answer: OpeningAnswer,
    },
    /// Leader: batches, or none where only the offsets moved.
    Data(DataEntry),
    /// Leader: no more comes in this opening; open again.
    Closed {
        /// The follower's number.
        opening: u32,
    },
}

/// What a leader sends of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataEntry {
    /// The sender's reign.
    pub leader_epoch: LeaderEpoch,
    /// The opening that it belongs to.
    pub opening: u32,
    /// The leader's high watermark.
    pub high_watermark: i64,
    /// Where the leader's log begins.
    pub log_start_offset: i64,
    /// Whole batches, as they lie in the leader's log.
    pub records: Bytes,
}

#[cfg(test)]
mod tests;
