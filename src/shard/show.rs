//! What operators see of a shard's partitions and memory.
//!
//! *Invariants*: what changes with every record is a store; what takes a walk over the partitions waits for the housekeeping.

use crate::limits;
use crate::shard::{Hosted, Shard, State};

impl Hosted {
    /// Shows where its log stands.
    pub(crate) fn show(&self) {
        let (ladder, counters) = (self.role.ladder(), &self.metrics.counters);
        counters.log_start_offset.set(ladder.log_start().0);
        counters.high_watermark.set(ladder.high_watermark().0);
        counters.log_end_offset.set(ladder.log_end().0);
    }
}

impl Shard {
    /// A partition was opened or closed.
    pub(crate) fn on_partitions_changed(&self, state: &State) {
        self.metrics.set_partitions_open(state.partitions.len());
        self.partitions_changed.set(true);
    }

    /// Shows what is looked over now and then.
    pub(crate) fn show(&self) {
        self.metrics.set_cache_memory(self.read_cache.bytes(), limits::READ_CACHE_BYTES_PER_SHARD);
        if self.partitions_changed.replace(false) {
            let state = self.state.borrow();
            self.metrics.partitions.put(state.partitions.values().map(|hosted| hosted.metrics.clone()).collect());
        }
    }
}
