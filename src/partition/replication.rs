//! What the leader and a follower of a partition say to one another.
//!
//! *Which core*: made on one replica's shard, read on the other's. *Not here*: frames and their checksums (`net`), the bytes.
//!
//! ```text
//! follower  OpeningRequest: my log ends here, its last record is of this epoch
//! leader    OpeningAnswer: agreed, or cut to there and ask again
//! leader    Data: batches from your end on; my high watermark; my log's start
//! follower  ReplicaAck: in this opening, flushed up to here
//! ```

use crate::model::LeaderEpoch;

/// A follower wants to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningRequest {
    /// The reign that it believes in.
    pub leader_epoch: LeaderEpoch,
    /// The follower's count of openings; it only grows.
    pub opening: u32,
    /// Where its log ends.
    pub end_offset: i64,
    /// The epoch of the record before; `None`: the log is empty.
    pub last_epoch: Option<LeaderEpoch>,
}

/// What the leader says to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningAnswer {
    /// The follower's log is a prefix of the leader's: data follows.
    Agreed,
    /// It is not. The newest epoch in the leader's log that is not above the follower's last, and its end there (KIP-279).
    Diverging {
        /// That epoch.
        leader_epoch: LeaderEpoch,
        /// One past its last record.
        end_offset: i64,
    },
    /// The logs have nothing in common: the follower begins anew, where the leader's log begins.
    BeginAt(i64),
    /// The leader does not know of this reign, or this replica, yet.
    NotYet,
    /// The follower is behind in metadata, or this is a late word of an earlier incarnation.
    Fenced,
}

/// A batch in a [`Data`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchSpan {
    /// Its first offset.
    pub base_offset: i64,
    /// One past its last.
    pub end_offset: i64,
    /// The leader that wrote it.
    pub leader_epoch: LeaderEpoch,
}

/// What a leader sends: batches, or none where only the offsets moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The sender's reign.
    pub leader_epoch: LeaderEpoch,
    /// The opening that it belongs to.
    pub opening: u32,
    /// The leader's high watermark.
    pub high_watermark: i64,
    /// Where the leader's log begins.
    pub log_start_offset: i64,
    /// The batches, in order.
    pub batches: &'a [BatchSpan],
}

/// How far a follower has flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaAck {
    /// The reign that it follows.
    pub leader_epoch: LeaderEpoch,
    /// The opening in which it got what it has.
    pub opening: u32,
    /// First offset that is not durable there.
    pub flushed_end_offset: i64,
}
