//! What the node counts.
//!
//! *Which core*: counted and read on the metadata executor.
//! *Not here*: names and text of metrics.

use std::cell::Cell;

use super::machine::Machine;

/// Upper bounds of the commit latency's buckets, in microseconds; one more bucket holds what is above.
pub const COMMIT_LATENCY_BOUNDS_US: [u64; 14] =
    [100, 200, 350, 500, 750, 1_000, 2_000, 3_500, 5_000, 10_000, 25_000, 50_000, 250_000, 1_000_000];

/// Counters since the start, and where the node stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStats {
    /// Changes committed that were proposed here.
    pub commit_count: u64,
    /// From request to applied, summed up, in ns.
    pub commit_latency_ns_sum: u64,
    /// The longest.
    pub commit_latency_ns_max: u64,
    /// How many fell into each bucket of [`COMMIT_LATENCY_BOUNDS_US`], and above.
    pub commit_latency_buckets: [u64; COMMIT_LATENCY_BOUNDS_US.len() + 1],
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

#[derive(Default)]
pub(super) struct Stats {
    commit_count: Cell<u64>,
    commit_latency_ns_sum: Cell<u64>,
    commit_latency_ns_max: Cell<u64>,
    commit_latency_buckets: Cell<[u64; COMMIT_LATENCY_BOUNDS_US.len() + 1]>,
    pub(super) flush_count: Cell<u64>,
    pub(super) record_count: Cell<u64>,
    pub(super) log_bytes: Cell<u64>,
    pub(super) snapshot_count: Cell<u64>,
}

impl Stats {
    /// Changes were committed, with these latencies in ns.
    pub(super) fn on_output(&self, latencies_ns: &[u64]) {
        let mut buckets = self.commit_latency_buckets.get();
        for latency in latencies_ns {
            buckets[COMMIT_LATENCY_BOUNDS_US.partition_point(|bound| bound * 1_000 < *latency)] += 1;
            add(&self.commit_latency_ns_sum, *latency);
            self.commit_latency_ns_max.set(self.commit_latency_ns_max.get().max(*latency));
        }
        self.commit_latency_buckets.set(buckets);
        add(&self.commit_count, latencies_ns.len() as u64);
    }

    pub(super) fn read(&self, machine: &Machine) -> NodeStats {
        let state = machine.raft_state();
        NodeStats {
            commit_count: self.commit_count.get(),
            commit_latency_ns_sum: self.commit_latency_ns_sum.get(),
            commit_latency_ns_max: self.commit_latency_ns_max.get(),
            commit_latency_buckets: self.commit_latency_buckets.get(),
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
