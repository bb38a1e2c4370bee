//! What the broker counts, for operators and their dashboards.
//!
//! *Which core*: each struct is written by one core and read by the admin thread.
//! *Invariants*: counting takes no lock and no locked instruction; a scrape never makes a shard wait; every metric that is
//! documented is rendered, since both come from one list.
//! *Not here*: the HTTP side (`admin`). *Why our own*: a registry with labels looked up by hash costs more than what it measures.

pub mod instrument;
pub mod latest;
mod metadata;
mod names;
mod partition;
mod process;
mod render;
mod shard;
mod system;
pub mod table;

use std::sync::Arc;

pub use metadata::MetadataMetrics;
pub use partition::{PartitionCounters, PartitionMetrics};
pub use process::{Health, ProcessMetrics, State};
pub use render::Renderer;
pub use shard::ShardMetrics;

use instrument::Type;
use table::{Metric, MetricSet};

/// All counters of a process.
pub struct Metrics {
    /// One for each shard, by its number.
    pub shards: Vec<Arc<ShardMetrics>>,
    /// Of the metadata core.
    pub metadata: Arc<MetadataMetrics>,
    /// Of the process as a whole.
    pub process: Arc<ProcessMetrics>,
}

impl Metrics {
    /// Counters at zero for so many shards.
    pub fn new(shards: usize) -> Metrics {
        Metrics {
            shards: (0..shards).map(|_| Arc::default()).collect(),
            metadata: Arc::default(),
            process: Arc::default(),
        }
    }

    /// The counters of a shard.
    pub fn shard(&self, shard: usize) -> &Arc<ShardMetrics> {
        &self.shards[shard]
    }
}

/// What is rendered beside the sets: the process's state and version.
const OF_PROCESS: [Metric; 2] = [
    Metric { name: "chronik_ready", kind: Type::Gauge, help: "1 while clients are served." },
    Metric { name: "chronik_build_info", kind: Type::Gauge, help: "Always 1; the labels say which build this is." },
];

/// Every metric that is rendered, by group: the group's title, the labels that its rows have besides their own, and the rows.
pub fn tables() -> [(&'static str, &'static str, &'static [Metric]); 6] {
    [
        ("Requests, produce, flush, memory", "gauges: `shard`", ShardMetrics::TABLE),
        (
            "Topics and partitions",
            "`topic`; `chronik_partition_*`: `partition`, only with `--partition-metrics`",
            PartitionCounters::TABLE,
        ),
        ("Metadata", "", MetadataMetrics::TABLE),
        ("Connections", "", ProcessMetrics::TABLE),
        ("Process", "", system::TABLE),
        ("State", "", &OF_PROCESS),
    ]
}
