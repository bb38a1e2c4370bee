//! The ids that bytes at rest carry.
//!
//! *Why* newtypes: an id is made once, where it enters (wire, disk, metadata), and cannot be mixed up afterwards.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A topic's id: for ever, where its name may be used again after a deletion (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId(pub uuid::Uuid);

/// A partition of a topic that may have many: the name of one log in this process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId {
    /// The topic.
    pub topic_id: TopicId,
    /// The index within the topic, from 0.
    pub partition: i32,
}

/// The number of a leader's reign over one partition; grows with every election (KIP-101).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaderEpoch(pub i32);

/// An idempotent producer (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProducerId(pub i64);

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic_id.0, self.partition)
    }
}
