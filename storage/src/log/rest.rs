//! What a log lets go of its memory: an idle one nearly all, so that thousands cost next to nothing; a busy one what is too much.
//!
//! *Which core*: the log's.
//! *Invariants*: everything that is let go comes back by itself with the next use; an idle log holds the partial last block of its
//! tail and little else, and no open file.
//! *Not here*: when a log is looked at, and how much memory all logs together may take (the shard).

use super::Log;
use super::prewrite::Ahead;
use super::settle::IDLE_MS;
use crate::disk::BLOCK_BYTES;

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
    /// Lets go of the oldest part of the tail that is flushed, beyond `bytes_max`; of all of it but the last block if it must.
    pub fn shrink_tail(&mut self, bytes_max: usize) {
        self.tail.evict(self.flushed_end_offset, bytes_max);
        if self.tail.bytes() > bytes_max && self.flushed_end_offset == self.log_end_offset {
            self.tail.shrink();
        }
    }
    /// Memory that the tail takes beyond the one block that it may always need, in bytes.
    pub fn tail_bytes(&self) -> usize {
        self.tail.bytes().saturating_sub(BLOCK_BYTES)
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
