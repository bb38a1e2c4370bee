//! The words that every floor of the server shares: ids and the clock's units.
//!
//! *Which core*: any. *Not here*: behaviour.

use serde::{Deserialize, Serialize};

pub use storage::ids::{LeaderEpoch, PartitionId, ProducerId, TopicId};

/// A broker: one process, for as long as its data directory lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BrokerId(pub i32);

/// A shard of this process: an executor and the partitions, logs and connections it owns. From 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub usize);
