//! Which shard owns a partition.
//!
//! *Invariants*: a pure function of the partition and the number of shards; no shard number is on disk, so another core count
//! moves no data.

use crate::model::{PartitionId, ShardId};

/// The owner. Consecutive partitions of a topic lie on consecutive shards, and topics begin at different ones.
pub fn shard_of(partition: PartitionId, shards: usize) -> ShardId {
    let (high, low) = partition.topic_id.0.as_u64_pair();
    // Topic ids are random but for a few fixed bits: folding the halves spreads them well enough.
    let start = (high ^ low.rotate_left(32)) % shards as u64;
    ShardId(((start + partition.partition as u64) % shards as u64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;

    #[test]
    fn partitions_of_a_topic_go_round_the_shards() {
        let topic_id = TopicId(uuid::Uuid::from_u128(0x1234_5678_9abc_def0_0fed_cba9_8765_4321));
        let shards: Vec<usize> = (0..8).map(|partition| shard_of(PartitionId { topic_id, partition }, 4).0).collect();
        assert_eq!(shards[..4], shards[4..]);
        let mut distinct = shards[..4].to_vec();
        distinct.sort_unstable();
        assert_eq!(distinct, [0, 1, 2, 3]);
    }
}
