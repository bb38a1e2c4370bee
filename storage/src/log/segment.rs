//! A segment as the log knows it: its file, how much of it is data, and what is known of its records.
//!
//! *Which core*: the log's.
//! *Invariants*: segments are contiguous: each begins at the offset at which the one before it ends.
//! *Not here*: the list of them, and rolling (roll).

use std::rc::Rc;

use super::file::SegmentFile;
use super::sparse::SparseIndex;
use crate::batch::BatchHeader;

/// A segment.
pub(super) struct Segment {
    pub(super) file: Rc<SegmentFile>,
    pub(super) base_offset: i64,
    /// Bytes of batches; what the file has beyond is zeros.
    pub(super) bytes: u64,
    /// So many of them are flushed.
    pub(super) flushed_bytes: u64,
    /// Its index, all of it; `None` once it is in its files only.
    pub(super) index: Option<SparseIndex>,
    /// Are its index files there, and its file cut to its bytes?
    pub(super) has_files: bool,
    /// Largest timestamp of its records, once that is known; -1 if they have none.
    pub(super) max_timestamp: Option<i64>,
    /// When the first batch was appended, and that batch's largest timestamp; of a segment that this process began.
    pub(super) begun: Option<Begun>,
}

/// The beginning of a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) at_ms: i64,
    pub(super) max_timestamp: i64,
}

impl Segment {
    /// One without a batch.
    pub(super) fn empty(file: Rc<SegmentFile>, index_interval_bytes: u64) -> Segment {
        Segment {
            base_offset: file.base_offset.get(),
            file,
            bytes: 0,
            flushed_bytes: 0,
            index: Some(SparseIndex::new(index_interval_bytes)),
            has_files: false,
            max_timestamp: Some(-1),
            begun: None,
        }
    }
    /// A batch was put at its end.
    pub(super) fn grow(&mut self, header: &BatchHeader) {
        if let Some(index) = &mut self.index {
            index.add(header.last_offset(), self.bytes, header.max_timestamp);
        }
        self.max_timestamp = self.max_timestamp.map(|max| max.max(header.max_timestamp));
        self.bytes += header.batch_bytes as u64;
    }
}
