//! Rolling: the next segment, ready before it is needed.
//!
//! *Which core*: the log's.
//! *Invariants*: a roll waits for nothing; the next segment lies in `prepared.log`, for its name is not known before, or else is
//! made by its first flush, under its own name.
//! *Not here*: when a segment is full (append), the rename (name), what becomes of the one before (seal).

use std::rc::Rc;

use super::file::{Place, SegmentFile};
use super::maintenance::StepError;
use super::prewrite::Prewrite;
use super::segment::Segment;
use super::{Log, next_key};
use crate::disk::{BLOCK_BYTES, OpenMode};

/// The base offset of a file that is no segment yet.
const NO_OFFSET: i64 = -1;

/// Making `prepared.log`.
pub(super) struct Prepare {
    file: Rc<SegmentFile>,
    bytes: u64,
}

impl Prepare {
    pub(super) async fn execute(&self) -> Result<(), StepError> {
        let (disk, path) = (&self.file.disk, self.file.path());
        // One may be left of an attempt that found no space.
        super::small::remove(disk, &path).await?;
        disk.open(&path, OpenMode::CreateNew).await?.close().await?;
        Prewrite::new(&self.file, 0, self.bytes).execute().await?;
        disk.sync_dir(&self.file.dir).await.map_err(StepError::Flush)?;
        self.file.close();
        Ok(())
    }
}

impl Log {
    /// Begins a new segment at the log's end.
    pub(super) fn roll(&mut self) {
        let file = match self.prepared.take() {
            Some(file) => {
                file.base_offset.set(self.log_end_offset);
                file
            }
            None => SegmentFile::new(&self.disk, &self.dir, next_key(), self.log_end_offset, Place::Missing),
        };
        self.segments.push_back(Segment::empty(file, self.config.index_interval_bytes));
        self.has_chores = true;
    }

    /// The next segment, if there is none yet and the active one is half full. An idle log has none.
    pub(super) fn prepare_due(&self) -> Option<Prepare> {
        let active = self.active();
        let is_near = active.begun.is_some() && active.bytes >= self.config.segment_bytes / 2;
        if !is_near || self.prepared.is_some() {
            return None;
        }
        if self.segments.iter().any(|segment| segment.file.place.get() == Place::Prepared) {
            return None;
        }
        let file = SegmentFile::new(&self.disk, &self.dir, next_key(), NO_OFFSET, Place::Prepared);
        let bytes = self.ahead.step_bytes().min(self.config.segment_bytes).next_multiple_of(BLOCK_BYTES as u64);
        Some(Prepare { file, bytes })
    }
    pub(super) fn on_prepared(&mut self, prepared: &Prepare) {
        prepared.file.on_ready(prepared.bytes);
        self.prepared = Some(Rc::clone(&prepared.file));
    }
}
