//! What the metadata core counts, under the names that the product's dashboards have.
//!
//! *Which core*: written by the metadata executor alone.

use super::instrument::{ByNode, Counter, Gauge, LatencyMs};
use super::table::metric_set;

metric_set! {
    /// Counters of the metadata core. Only its executor writes them.
    #[repr(align(128))]
    pub struct MetadataMetrics {
        /// From a metadata change's proposal here until it is committed.
        raft_commit_latency: LatencyMs = "chronik_raft_commit_latency_ms";
        /// Elections of a metadata leader that this node has seen since its start.
        raft_election_count: Counter = "chronik_raft_election_count";
        /// Partitions that each node leads.
        raft_leader_count: ByNode = "chronik_raft_leader_count";
        /// 1 while this node decides over the cluster's metadata.
        raft_active_controller: Gauge = "chronik_raft_active_controller";
        /// The term of the metadata group.
        raft_term: Gauge = "chronik_raft_term";
        /// The last metadata entry that was applied here.
        raft_applied_index: Gauge = "chronik_raft_applied_index";
        /// Topics of the cluster.
        topics: Gauge = "chronik_topics";
        /// Partitions of the cluster.
        partitions: Gauge = "chronik_partitions";
    }
}
