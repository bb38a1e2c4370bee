//! Rest: what an idle log lets go, so that thousands of them cost next to nothing.
//!
//! *Which core*: the log's.
//! *Invariants*: everything that is let go comes back by itself with the next use; an idle log holds the partial last block of its
//! tail and little else, and no open file.
//! *Not here*: when a log is looked at (the shard).

use super::Log;
use super::prewrite::Ahead;
use super::settle::IDLE_MS;

/// Index entries that an idle log keeps in memory.
const INDEX_ENTRIES_IDLE_MAX: usize = 256;

impl Log {
    pub(super) fn rest_if_idle(&mut self, now_ms: i64) {
        let is_flushed = self.flushed_end_offset == self.log_end_offset && !self.flush_in_flight;
        let is_idle = now_ms.saturating_sub(self.last_used_ms) >= IDLE_MS;
        if !is_flushed || !is_idle || self.maintenance_in_flight || self.truncating_to.is_some() {
            return;
        }
        self.tail.shrink();
        self.cursors = Default::default();
        self.ahead = Ahead::new();
        for segment in &mut self.segments {
            segment.file.close();
            if let Some(index) = &mut segment.index {
                index.shrink(INDEX_ENTRIES_IDLE_MAX);
            }
        }
    }
    /// Files that it holds open; those of sealed segments may be the read cache's.
    pub fn open_files(&self) -> usize {
        self.segments.iter().filter(|segment| segment.file.is_open()).count()
    }
    /// Memory that it holds, about, in bytes.
    pub fn memory_bytes(&self) -> usize {
        let indexes: usize = self.segments.iter().filter_map(|segment| segment.index.as_ref()).map(|i| i.bytes()).sum();
        size_of::<Log>() + self.tail.bytes() + indexes + self.segments.len() * size_of::<super::segment::Segment>()
    }
}
