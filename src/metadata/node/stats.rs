//! What the node counts.
//!
//! *Which core*: counted on the metadata executor; the shared counters are read elsewhere.
//! *Not here*: names and text of metrics (`metrics`).

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::machine::Machine;
use crate::metadata::image::Image;
use crate::metrics::MetadataMetrics;

/// Counters since the start, and where the node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Changes committed that were proposed here.
    pub commit_count: u64,
    /// Writes to the raft log, each with one flush.
    pub flush_count: u64,
    /// Records in them.
    pub record_count: u64,
    /// Bytes of the raft log now.
    pub log_bytes: u64,
    /// Snapshots taken.
    pub snapshot_count: u64,
    /// Elections won.
    pub election_count: u64,
    /// The current term.
    pub term: u64,
    /// Index of the last committed entry.
    pub committed_index: u64,
    /// Index of the last applied entry.
    pub applied_index: u64,
    /// Does this node decide?
    pub am_controller: bool,
    /// Requests that wait.
    pub waiting_requests: usize,
}

pub(super) struct Stats {
    metrics: Arc<MetadataMetrics>,
    term: Cell<u64>,
    commit_count: Cell<u64>,
    pub(super) flush_count: Cell<u64>,
    pub(super) record_count: Cell<u64>,
    pub(super) log_bytes: Cell<u64>,
    pub(super) snapshot_count: Cell<u64>,
}

impl Stats {
    pub(super) fn new(metrics: Arc<MetadataMetrics>) -> Stats {
        Stats {
            metrics,
            term: Cell::new(0),
            commit_count: Cell::new(0),
            flush_count: Cell::new(0),
            record_count: Cell::new(0),
            log_bytes: Cell::new(0),
            snapshot_count: Cell::new(0),
        }
    }

    /// Changes were committed, this long after they were asked for.
    pub(super) fn on_committed(&self, latencies: &[Duration]) {
        latencies.iter().for_each(|latency| self.metrics.raft_commit_latency.observe(*latency));
        add(&self.commit_count, latencies.len() as u64);
    }

    /// A leader is known in a term: an election was seen.
    pub(super) fn on_leader(&self, term: u64) {
        if self.term.replace(term) < term {
            self.metrics.raft_election_count.add(1);
            self.metrics.raft_term.set(signed(term));
        }
    }

    /// There is a new image, or another controller.
    pub(super) fn on_image(&self, image: &Image, am_controller: bool) {
        self.metrics.raft_active_controller.set(i64::from(am_controller));
        self.metrics.raft_applied_index.set(signed(image.version()));
        self.metrics.topics.set_size(image.topic_count());
        self.metrics.partitions.set_size(image.partition_count());
        let leads = |id| image.leader_counts().get(id).map_or(0, |count| signed(*count as u64));
        self.metrics.raft_leader_count.set(image.brokers().keys().map(|id| (id.0, leads(id))));
    }

    pub(super) fn read(&self, machine: &Machine) -> NodeStats {
        let state = machine.raft_state();
        NodeStats {
            commit_count: self.commit_count.get(),
            flush_count: self.flush_count.get(),
            record_count: self.record_count.get(),
            log_bytes: self.log_bytes.get(),
            snapshot_count: self.snapshot_count.get(),
            election_count: state.elections,
            term: state.term,
            committed_index: state.committed_index,
            applied_index: state.applied_index,
            am_controller: state.am_controller,
            waiting_requests: state.waiting,
        }
    }
}

/// Adds to a counter.
pub(super) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().saturating_add(more));
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
