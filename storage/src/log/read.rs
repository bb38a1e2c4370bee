//! Reading: from memory at once, from disk by a plan.
//!
//! *Which core*: the log's; a plan runs beside it.
//! *Invariants*: whole batches, contiguous, never one that ends beyond the limit; from disk only what is flushed.
//! *Not here*: the high watermark (the caller's limit), checking what the disk brings (read_disk).

use std::cell::Cell;
use std::path::PathBuf;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Log;
use super::cache::Source;
use super::read_disk::{DiskRead, ReadAhead, Start};
use crate::disk::DiskError;
use crate::ids::LeaderEpoch;

/// Places remembered of readers that go on where they stopped.
const CURSORS_MAX: usize = 8;

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Below the log's start, or above its end.
    #[error("the offset is out of range")]
    OutOfRange,
    /// A write failed before: what the log holds is in doubt.
    #[error("the log is offline")]
    Offline,
    /// What the disk brought is not what was written.
    #[error("{path} is corrupt at byte {position}: {reason}", path = path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// What is wrong.
        reason: String,
    },
    /// The disk failed to read.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

/// A read; it owns what it needs.
pub struct ReadPlan {
    kind: Kind,
}

enum Kind {
    Done(ReadDone),
    Disk(DiskRead),
}

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct ReadDone {
    /// Whole batches. The first holds the offset that was asked for, so it may begin before it. Empty if there was none below the
    /// limit, or none small enough.
    pub records: Bytes,
    /// Where the next read goes on.
    pub next_offset: i64,
    /// If the reader goes through the log: what it will want next. To be executed beside what is done with the records, or dropped.
    pub ahead: Option<ReadAhead>,
    pub(super) cursor: Option<Cursor>,
    /// A segment whose index files are missing or wrong.
    pub(super) wants_index: Option<u64>,
}

/// The place after a read of older records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) key: u64,
    pub(super) offset: i64,
    pub(super) position: u64,
}

impl ReadPlan {
    /// Reads. What is in memory was copied when the plan was made, and comes at once.
    pub async fn execute(self) -> Result<ReadDone, ReadError> {
        match self.kind {
            Kind::Done(done) => Ok(done),
            Kind::Disk(read) => read.execute().await,
        }
    }
    /// Does it come from memory?
    pub fn is_ready(&self) -> bool {
        matches!(self.kind, Kind::Done(_))
    }
}

impl Log {
    /// A read from the batch that holds `from_offset` on, of batches below `limit_end_offset` (the high watermark for a consumer,
    /// the log's end for a follower), at most `bytes_max` of them, but the first whatever its size if `at_least_one`. Ends at the
    /// latest where a segment or what is on disk does: the next read goes on.
    pub fn read_plan(
        &mut self,
        from_offset: i64,
        limit_end_offset: i64,
        bytes_max: usize,
        at_least_one: bool,
    ) -> Result<ReadPlan, ReadError> {
        if self.offline.is_some() {
            return Err(ReadError::Offline);
        }
        if from_offset < self.log_start_offset || from_offset > self.log_end_offset {
            return Err(ReadError::OutOfRange);
        }
        let end_offset = self.truncating_to.unwrap_or(self.log_end_offset);
        let limit_end = limit_end_offset.min(end_offset);
        let kind = if from_offset >= limit_end {
            Kind::Done(ReadDone { next_offset: from_offset, ..ReadDone::default() })
        } else if from_offset >= self.tail.start_offset(self.log_end_offset) {
            let mut records = Vec::new();
            let next_offset = self.tail.read(from_offset, limit_end, bytes_max, at_least_one, &mut records);
            Kind::Done(ReadDone { records: records.into(), next_offset, ..ReadDone::default() })
        } else {
            Kind::Disk(self.disk_read(from_offset, limit_end, bytes_max, at_least_one))
        };
        Ok(ReadPlan { kind })
    }

    /// Is everything from `offset` on in memory?
    pub fn holds_in_memory(&self, offset: i64) -> bool {
        let is_whole = self.offline.is_none() && self.truncating_to.is_none();
        is_whole && offset >= self.tail.start_offset(self.log_end_offset) && offset <= self.log_end_offset
    }
    /// As a [`Log::read_plan`] to the log's end of what is in memory ([`Log::holds_in_memory`]): appends to `out`, at once and
    /// without memory of its own, at most `bytes_max` but one batch at least. Returns where the next read goes on.
    pub fn read_memory(&self, from_offset: i64, bytes_max: usize, out: &mut Vec<u8>) -> i64 {
        assert!(self.holds_in_memory(from_offset), "{}: {from_offset} is not in memory", self.dir.display());
        self.tail.read(from_offset, self.log_end_offset, bytes_max, true, out)
    }

    /// A plan has been executed: the next read may go on from there.
    pub fn apply_read(&mut self, done: &ReadDone) {
        if let Some(key) = done.wants_index
            && let Some(segment) = self.segments.iter_mut().find(|segment| segment.file.key.get() == key)
        {
            // It is sealed again.
            segment.has_files = false;
            self.has_chores = true;
        }
        let Some(cursor) = done.cursor else { return };
        self.cursors.retain(|known| (known.key, known.offset) != (cursor.key, cursor.offset));
        if self.cursors.len() == CURSORS_MAX {
            self.cursors.pop_front();
        }
        self.cursors.push_back(cursor);
    }

    /// Bytes of batches from the one that holds `from_offset` on, below `limit_end_offset`: exact near the tail, else about.
    pub fn readable_bytes(&self, from_offset: i64, limit_end_offset: i64) -> usize {
        let limit_end = limit_end_offset.min(self.log_end_offset);
        if from_offset >= limit_end {
            return 0;
        }
        if from_offset >= self.tail.start_offset(self.log_end_offset) {
            return self.tail.bytes_between(from_offset, limit_end);
        }
        let (first, last) = (self.segment_of(from_offset), self.segment_of(limit_end - 1));
        let whole: u64 = self.segments.range(first..last).map(|segment| segment.bytes).sum();
        let within = |index: usize, offset: i64| {
            let segment = &self.segments[index];
            segment.index.as_ref().and_then(|index| index.lookup(offset)).map_or(0, |place| place.position)
        };
        let end = if limit_end == self.segment_end_offset(last) {
            self.segments[last].bytes
        } else {
            within(last, limit_end)
        };
        // Something is there, whatever the index does not know.
        ((whole + end).saturating_sub(within(first, from_offset)) as usize).max(1)
    }

    fn disk_read(&self, from_offset: i64, limit_end: i64, bytes_max: usize, at_least_one: bool) -> DiskRead {
        let in_memory = self.tail.start_offset(self.log_end_offset);
        DiskRead { bytes_max, at_least_one, ..self.flushed_read(from_offset, limit_end.min(in_memory)) }
    }
    /// A read of what is on disk from `from_offset` to `limit_end`, which is flushed, or the end of its segment.
    pub(super) fn flushed_read(&self, from_offset: i64, limit_end: i64) -> DiskRead {
        let index = self.segment_of(from_offset);
        let segment = &self.segments[index];
        let cursor =
            self.cursors.iter().find(|cursor| cursor.key == segment.file.key.get() && cursor.offset == from_offset);
        let start = match (cursor, &segment.index) {
            (Some(cursor), _) => Start::At { base_offset: cursor.offset, position: cursor.position },
            (None, Some(index)) => index.lookup(from_offset).map_or(Start::Beginning, Start::Indexed),
            (None, None) => Start::IndexFile,
        };
        let end_offset = self.segment_end_offset(index);
        DiskRead {
            cache: self.cache.clone(),
            source: Source::new(&segment.file, segment.flushed_bytes),
            start,
            from_offset,
            limit_end: limit_end.min(end_offset),
            bytes_max: usize::MAX,
            at_least_one: false,
            epochs: self.epochs_between(segment.base_offset, end_offset),
            wants_index: Cell::new(false),
        }
    }

    /// The epochs that wrote offsets of a range, as far as they are known.
    fn epochs_between(&self, start_offset: i64, end_offset: i64) -> SmallVec<[(LeaderEpoch, i64); 2]> {
        let epochs = self.epochs.entries();
        let first = epochs.partition_point(|(_, start)| *start <= start_offset).saturating_sub(1);
        epochs[first..].iter().copied().take_while(|(_, start)| *start < end_offset).collect()
    }
}
