//! What is counted of one partition. Topics' totals are always shown, single partitions only if the operator asks.
//!
//! *Which core*: written by the partition's shard alone. *Invariants*: a partition's counters go with it when it is closed.
//! *Why totals by adding up*: a topic's partitions live on many shards, and none of them may wait for another.

use std::sync::Arc;

use super::instrument::{Counter, Gauge};
use super::table::metric_set;

/// What the names of totals begin with.
pub(super) const TOPIC: &str = "chronik_topic_";

metric_set! {
    /// Counters of one partition.
    pub struct PartitionCounters {
        /// Records appended for producers of a topic.
        records_in: Counter = "chronik_topic_in_records_total";
        /// Bytes of record batches appended for producers of a topic.
        bytes_in: Counter = "chronik_topic_in_bytes_total";
        /// Bytes of record batches read for consumers of a topic.
        bytes_out: Counter = "chronik_topic_out_bytes_total";
        /// The first offset that is kept.
        log_start_offset: Gauge = "chronik_partition_log_start_offset";
        /// The end of what consumers may read.
        high_watermark: Gauge = "chronik_partition_high_watermark";
        /// The end of what was appended.
        log_end_offset: Gauge = "chronik_partition_log_end_offset";
    }
}

/// One partition's counters and its name.
pub struct PartitionMetrics {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// Its counters.
    pub counters: PartitionCounters,
}

impl PartitionMetrics {
    /// Counters at zero.
    pub fn new(topic: Arc<str>, partition: i32) -> PartitionMetrics {
        PartitionMetrics { topic, partition, counters: PartitionCounters::default() }
    }
}
