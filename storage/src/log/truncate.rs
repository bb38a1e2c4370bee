//! Truncation: a follower's cut of what its new leader does not have.
//!
//! *Which core*: the log's.
//! *Invariants*: in this order, each step durable before the next: the recovery point lowered (by the caller's checkpoint),
//! segments above removed, last first, the rest zeroed, producers and epochs written. Nothing is appended before all of it.
//! *Not here*: where to cut (the partition's epochs), the checkpoint, the epoch journal.

use std::path::Path;
use std::rc::Rc;

use super::file::{Place, SegmentFile, segment_name};
use super::index_files::skip_to;
use super::maintenance::{MaintenanceError, StepError};
use super::recover::read_block;
use super::scan::{Scanned, Scanner};
use super::segment::Segment;
use super::settle::{EPOCHS_NAME, Settled};
use super::sparse::SparseIndex;
use super::tail::{Chunk, FLUSH_BYTES_MAX, Tail};
use super::{Log, LogConfig, cut, next_key, small};
use crate::disk::{BLOCK_BYTES, Disk};
use crate::epochs::EpochCache;
use crate::producers::ProducerTable;

/// Why a log can't be cut now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TruncateError {
    /// Something of it is not flushed, or a flush or a step of maintenance is in flight: to be tried again after that.
    #[error("the log is busy")]
    Busy,
    /// A write failed before.
    #[error("the log is offline")]
    Offline,
}

/// A cut; it owns what it needs. To be executed **only when a checkpoint with [`Log::recovery_point`] is durable**.
pub struct TruncatePlan {
    disk: Disk,
    dir: Rc<Path>,
    config: LogConfig,
    to_offset: i64,
    now_ms: i64,
    /// The segments up to the one that is cut, oldest first, and their bytes.
    kept: Vec<(Rc<SegmentFile>, u64)>,
    /// What is in memory of the index of the one that is cut.
    index: Option<SparseIndex>,
    /// The segments above, oldest first.
    removed: Vec<Rc<SegmentFile>>,
    left: Left,
}

/// What a cut leaves beside the segments.
struct Left {
    producers: ProducerTable,
    epochs: EpochCache,
    snapshots: Vec<i64>,
}

/// A cut that was executed.
pub struct TruncateDone {
    outcome: Result<(Ended, Left), StepError>,
}

/// The segment that was cut.
struct Ended {
    segment: Segment,
    end_offset: i64,
    last_block: Option<Chunk>,
}

impl TruncatePlan {
    /// Cuts.
    pub async fn execute(self) -> TruncateDone {
        TruncateDone { outcome: self.cut().await }
    }

    async fn cut(mut self) -> Result<(Ended, Left), StepError> {
        let mut ended = self.find_end().await?;
        self.remove_segments().await?;
        self.zero_rest(&mut ended).await?;
        self.cut_producers(ended.end_offset).await?;
        self.left.epochs.truncate_from_end(ended.end_offset);
        self.write_small(&ended).await?;
        Ok((ended, self.left))
    }

    /// Where the log will end: a batch that reaches beyond the cut goes whole.
    async fn find_end(&mut self) -> Result<Ended, StepError> {
        let (file, bytes) = self.kept.last().expect("a log has a segment");
        let base_offset = file.base_offset.get();
        let mut segment = Segment::empty(Rc::clone(file), self.config.index_interval_bytes);
        let mut end_offset = base_offset;
        if *bytes > 0 {
            let mut scanner = Scanner::new(file.open().await?, *bytes, 0, base_offset);
            let index = match self.index.take() {
                Some(index) => Some(index),
                None => SparseIndex::read(file, *bytes, self.config.index_interval_bytes).await?,
            };
            if let Some(mut index) = index
                && let Some(place) = index.lookup(self.to_offset - 1)
            {
                index.truncate(place);
                skip_to(&mut segment, &mut scanner, index, place).await?;
                end_offset = scanner.expected;
            }
            while let Scanned::Batch(header) = scanner.next().await?
                && header.end_offset() <= self.to_offset
            {
                segment.grow(&header);
                end_offset = header.end_offset();
            }
        }
        segment.flushed_bytes = segment.bytes;
        Ok(Ended { segment, end_offset, last_block: None })
    }

    /// One by one, so that a crash leaves no gap between those that stay.
    async fn remove_segments(&self) -> Result<(), StepError> {
        for file in self.removed.iter().rev() {
            file.close();
            if file.place.get() == Place::Missing {
                continue;
            }
            small::remove(&self.disk, &file.path()).await?;
            for extension in ["index", "timeindex"] {
                small::remove(&self.disk, &self.dir.join(segment_name(file.base_offset.get(), extension))).await?;
            }
            self.disk.sync_dir(&self.dir).await.map_err(StepError::Flush)?;
        }
        Ok(())
    }

    /// Nothing but zeros may follow the new end: a stale batch could be just the one that comes next.
    async fn zero_rest(&self, ended: &mut Ended) -> Result<(), StepError> {
        let (file, end) = (&ended.segment.file, ended.segment.bytes);
        if file.place.get() == Place::Missing {
            return Ok(());
        }
        let handle = file.open().await?;
        let block = read_block(file, end).await?;
        let mut file_bytes = handle.size().await?;
        if !self.config.bugs.keep_tail_on_truncation {
            if file_bytes > end + FLUSH_BYTES_MAX as u64 {
                // To give the space back is quicker, and what takes its place reads as zeros.
                file_bytes = end.next_multiple_of(BLOCK_BYTES as u64);
                handle.set_size(file_bytes).await?;
            }
            cut::zero(&handle, block.as_deref(), end, file_bytes).await?;
            handle.flush().await.map_err(StepError::Flush)?;
            file_bytes = handle.size().await?;
        }
        file.restart(next_key(), end.next_multiple_of(BLOCK_BYTES as u64), file_bytes);
        ended.last_block = block.map(|block| Chunk::partial(file, block, end, ended.end_offset));
        Ok(())
    }

    async fn cut_producers(&mut self, end_offset: i64) -> Result<(), StepError> {
        if self.left.producers.truncate_to(end_offset) {
            return Ok(());
        }
        let (mut table, mut from) = (ProducerTable::default(), i64::MIN);
        for offset in self.left.snapshots.iter().rev().copied().filter(|offset| *offset <= end_offset) {
            let bytes = self.disk.read_small(&self.dir.join(segment_name(offset, "snapshot"))).await?;
            if let Ok(known) = ProducerTable::from_bytes(&bytes) {
                (table, from) = (known, offset);
                break;
            }
        }
        for (index, (file, bytes)) in self.kept.iter().enumerate() {
            let next_base = self.kept.get(index + 1).map_or(end_offset, |(next, _)| next.base_offset.get());
            if next_base <= from || *bytes == 0 {
                continue;
            }
            let mut scanner = Scanner::new(file.open().await?, *bytes, 0, file.base_offset.get());
            while let Scanned::Batch(header) = scanner.next().await?
                && header.end_offset() <= end_offset
            {
                if header.base_offset >= from {
                    table.advance(&header, self.now_ms);
                }
            }
        }
        self.left.producers = table;
        Ok(())
    }

    /// The snapshot at the new end first: without any, recovery would take it that there was no producer.
    async fn write_small(&mut self, ended: &Ended) -> Result<(), StepError> {
        let (left, end_offset) = (&mut self.left, ended.end_offset);
        let mut files = vec![(EPOCHS_NAME.to_owned(), left.epochs.to_text().into_bytes())];
        if !left.producers.is_empty() || !left.snapshots.is_empty() {
            files.push((segment_name(end_offset, "snapshot"), left.producers.to_bytes()));
        }
        let has_snapshot = files.len() > 1;
        small::replace(&self.disk, &self.dir, files).await?;
        let above = left.snapshots.iter().filter(|offset| **offset > end_offset);
        let mut outdated: Vec<String> = above.map(|offset| segment_name(*offset, "snapshot")).collect();
        let base_offset = ended.segment.base_offset;
        outdated.extend(["index", "timeindex"].map(|extension| segment_name(base_offset, extension)));
        for name in outdated {
            small::remove(&self.disk, &self.dir.join(name)).await?;
        }
        self.disk.sync_dir(&self.dir).await.map_err(StepError::Flush)?;
        left.snapshots.retain(|offset| *offset < end_offset);
        left.snapshots.extend(has_snapshot.then_some(end_offset));
        Ok(())
    }
}

impl Log {
    /// A cut to `to_offset`, or below it if a batch reaches beyond. `None`: the log ends there already, and only an epoch that
    /// wrote nothing is gone (the caller has made that durable: epoch journal). From now on nothing is appended or flushed, and
    /// nothing above is read. Lowers [`Log::recovery_point`], which the caller's checkpoint must hold,
    /// durably, before the plan is executed.
    pub fn truncate_plan(&mut self, to_offset: i64, now_ms: i64) -> Result<Option<TruncatePlan>, TruncateError> {
        if self.offline.is_some() {
            return Err(TruncateError::Offline);
        }
        let is_flushed = self.flushed_end_offset == self.log_end_offset && !self.flush_in_flight;
        if !is_flushed || self.maintenance_in_flight || self.truncating_to.is_some() {
            return Err(TruncateError::Busy);
        }
        if to_offset >= self.log_end_offset {
            self.epochs.truncate_from_end(to_offset);
            return Ok(None);
        }
        let last = self.segment_of(to_offset);
        let index = self.segments[last].index.clone();
        let known = index.as_ref().and_then(|index| index.lookup(to_offset - 1));
        let safe = known.map_or(self.segments[last].base_offset, |place| place.last_offset + 1);
        self.recovery_point = self.recovery_point.min(safe);
        self.truncating_to = Some(to_offset);
        let left = Left {
            producers: self.producers.clone(),
            epochs: self.epochs.clone(),
            snapshots: self.settled.snapshots.clone(),
        };
        Ok(Some(TruncatePlan {
            disk: self.disk.clone(),
            dir: Rc::clone(&self.dir),
            config: self.config.clone(),
            to_offset,
            now_ms,
            kept: self.segments.range(..=last).map(|segment| (Rc::clone(&segment.file), segment.bytes)).collect(),
            index,
            removed: self.segments.range(last + 1..).map(|segment| Rc::clone(&segment.file)).collect(),
            left,
        }))
    }

    /// The cut is done. Returns the new end of the log. An error took the log offline, or must end the process.
    pub fn apply_truncate(&mut self, done: TruncateDone) -> Result<i64, MaintenanceError> {
        assert!(self.truncating_to.is_some(), "a cut ended that had not begun");
        let (ended, left) = match done.outcome {
            Ok(cut) => cut,
            Err(error) => {
                // Not even no space is harmless here: the log is neither what it was nor what it should be.
                return Err(self.on_step_failed(error));
            }
        };
        self.truncating_to = None;
        let kept = self.segments.partition_point(|segment| segment.base_offset < ended.segment.base_offset);
        self.segments.truncate(kept);
        self.segments.push_back(ended.segment);
        self.tail = Tail::new(ended.last_block);
        self.cursors.clear();
        self.log_start_offset = self.log_start_offset.min(ended.end_offset);
        (self.flushed_end_offset, self.log_end_offset) = (ended.end_offset, ended.end_offset);
        self.recovery_point = ended.end_offset;
        self.settled = Settled::at(self.settled.is_closing(), left.snapshots, left.epochs.clone());
        (self.producers, self.epochs) = (left.producers, left.epochs);
        self.assert_ladder();
        Ok(self.log_end_offset)
    }
}
