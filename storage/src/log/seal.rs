//! Sealing: a segment that is full gets its index files and its exact size, and is never written again.
//!
//! *Which core*: the log's, in the background.
//! *Invariants*: only when all of it is flushed and it has its own name; the recovery point never passes one that is not sealed.
//! *Not here*: the roll.

use std::rc::Rc;

use super::Log;
use super::file::{Place, SegmentFile, segment_name};
use super::maintenance::StepError;
use super::scan::{Scanned, Scanner};
use super::small;
use super::sparse::SparseIndex;

/// Sealing one segment.
pub(super) struct Seal {
    file: Rc<SegmentFile>,
    bytes: u64,
    end_offset: i64,
    interval_bytes: u64,
    /// What is in memory of its index, if that is all of it.
    index: Option<SparseIndex>,
}

impl Seal {
    /// Returns the segment's largest timestamp.
    pub(super) async fn execute(&self) -> Result<i64, StepError> {
        let rebuilt = match &self.index {
            Some(_) => None,
            None => Some(self.rebuild().await?),
        };
        let index = self.index.as_ref().or(rebuilt.as_ref()).expect("one of the two is there");
        let base_offset = self.file.base_offset.get();
        let (offsets, times) = index.to_files(base_offset);
        let files = vec![
            (segment_name(base_offset, "index"), offsets.to_bytes()),
            (segment_name(base_offset, "timeindex"), times.to_bytes()),
        ];
        small::replace(&self.file.disk, &self.file.dir, files).await?;
        let file = self.file.open().await?;
        if file.size().await? > self.bytes {
            file.set_size(self.bytes).await?;
        }
        file.flush().await.map_err(StepError::Flush)?;
        self.file.close();
        Ok(index.newest().map_or(-1, |(timestamp, _)| timestamp))
    }

    /// Reads the segment for its index. Damage ends it early; readers will meet the damage, and say so.
    async fn rebuild(&self) -> Result<SparseIndex, StepError> {
        let mut index = SparseIndex::new(self.interval_bytes);
        let base_offset = self.file.base_offset.get();
        let mut scanner = Scanner::new(self.file.open().await?, self.bytes, 0, base_offset);
        loop {
            let position = scanner.position;
            match scanner.next().await? {
                Scanned::Batch(header) => index.add(header.last_offset(), position, header.max_timestamp),
                Scanned::Stop(_) => break,
            }
        }
        if scanner.expected != self.end_offset {
            tracing::warn!(
                "{} is damaged at byte {}, before offset {}",
                self.file.path().display(),
                scanner.position,
                self.end_offset
            );
        }
        Ok(index)
    }
}

impl Log {
    /// The oldest segment that is to be sealed.
    pub(super) fn seal_due(&mut self) -> Option<Seal> {
        let closed = self.segments.len() - 1;
        let index = self.segments.iter().take(closed).position(|segment| !segment.has_files)?;
        let end_offset = self.segment_end_offset(index);
        let segment = &self.segments[index];
        if end_offset > self.flushed_end_offset || segment.file.place.get() != Place::Named {
            return None;
        }
        Some(Seal {
            file: Rc::clone(&segment.file),
            bytes: segment.bytes,
            end_offset,
            interval_bytes: self.config.index_interval_bytes,
            index: segment.index.clone(),
        })
    }
    pub(super) fn on_sealed(&mut self, sealed: &Seal, max_timestamp: i64) {
        let mut segments = self.segments.iter_mut();
        if let Some(segment) = segments.find(|segment| Rc::ptr_eq(&segment.file, &sealed.file)) {
            segment.has_files = true;
            segment.file.is_sealed.set(true);
            segment.index = None;
            segment.max_timestamp = Some(max_timestamp);
        }
    }
}
