//! Recovery: which batches count, and where the log ends.
//!
//! *Which core*: the log's.
//! *Invariants*: a file is scanned only once all writes to it have landed, those of a killed process too. Nothing that was durable
//! is ever cut: a bad batch below the recovery point or the high watermark, and a good
//! one further than one write past the first bad, are corruption. It ends with a flush, for what is visible may not be durable.
//! *Not here*: what lies after the end (cut).

use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use super::cut::{self, Rest};
use super::file::{PREPARED_NAME, Place, SegmentFile, segment_name};
use super::index_files::skip_to;
use super::maintenance::StepError;
use super::open::{Found, KnownPoints, OpenError, RecoveryReport};
use super::scan::{Scanned, Scanner, Stop};
use super::segment::Segment;
use super::settle::{EPOCHS_NAME, Settled};
use super::sparse::SparseIndex;
use super::tail::{Chunk, FLUSH_BYTES_MAX};
use super::{LogConfig, next_key, small};
use crate::batch::BatchHeader;
use crate::disk::{BLOCK_BYTES, Disk, DiskError, IoBuffer};
use crate::epochs::EpochCache;
use crate::producers::ProducerTable;

/// A recovery under way, and in the end what it found.
pub(super) struct Recovery<'a> {
    disk: &'a Disk,
    dir: &'a Rc<Path>,
    config: &'a LogConfig,
    known: &'a KnownPoints,
    found: Found,
    now_ms: i64,
    /// Snapshots that are damaged, or speak of batches that are not there. With one of them and no other it is known that there
    /// were producers, but not which.
    useless_snapshots: Vec<i64>,
    /// From which offset on batches count for the producer table.
    producers_from: i64,
    pub(super) segments: VecDeque<Segment>,
    pub(super) settled: Settled,
    pub(super) producers: ProducerTable,
    pub(super) epochs: EpochCache,
    pub(super) end_offset: i64,
    pub(super) last_block: Option<Chunk>,
    pub(super) report: RecoveryReport,
}

impl<'a> Recovery<'a> {
    pub(super) fn new(
        disk: &'a Disk,
        dir: &'a Rc<Path>,
        config: &'a LogConfig,
        known: &'a KnownPoints,
        found: Found,
        now_ms: i64,
    ) -> Recovery<'a> {
        Recovery {
            disk,
            dir,
            config,
            known,
            found,
            now_ms,
            useless_snapshots: Vec::new(),
            producers_from: 0,
            segments: VecDeque::new(),
            settled: Settled::default(),
            producers: ProducerTable::default(),
            epochs: EpochCache::default(),
            end_offset: 0,
            last_block: None,
            report: RecoveryReport::default(),
        }
    }

    pub(super) async fn run(&mut self) -> Result<(), OpenError> {
        loop {
            self.begin().await?;
            self.scan_all().await?;
            // A snapshot beyond the end speaks of batches that are not there: its log was being truncated.
            match self.found.snapshots.pop_if(|offset| *offset > self.end_offset) {
                Some(offset) => self.useless_snapshots.push(offset),
                None => break,
            }
        }
        self.epochs.truncate_from_end(self.end_offset + 1);
        self.settled.snapshots = std::mem::take(&mut self.found.snapshots);
        self.settled.bytes_since = self.report.scanned_bytes;
        self.finish().await?;
        self.replace_epochs().await?;
        self.replace_snapshots().await
    }

    /// Puts what need not be scanned into place: older segments, the producers' newest snapshot.
    async fn begin(&mut self) -> Result<(), OpenError> {
        self.report = RecoveryReport::default();
        self.epochs = self.known_epochs().await?;
        self.segments.clear();
        let first_offset = self.found.segments.first().map_or(self.known.log_start_offset, |(base, _)| *base);
        let recovery_point = self.known.recovery_point.max(first_offset);
        // No snapshot at all: there was no producer at the recovery point, else there would be one.
        self.producers = ProducerTable::default();
        self.producers_from = if self.useless_snapshots.is_empty() { recovery_point } else { first_offset };
        while let Some(offset) = self.found.snapshots.last().copied().filter(|_| !self.config.bugs.forget_producers) {
            let bytes = self.disk.read_small(&self.dir.join(segment_name(offset, "snapshot"))).await?;
            match ProducerTable::from_bytes(&bytes) {
                Ok(table) => {
                    (self.producers, self.producers_from) = (table, offset);
                    break;
                }
                Err(_) => {
                    // Damaged: everything since the one before it, or from the beginning, is read instead.
                    self.found.snapshots.pop();
                    self.useless_snapshots.push(offset);
                    self.producers_from = first_offset;
                }
            }
        }
        // Without a segment there is nothing at all, and that must be right.
        let is_empty = self.found.segments.is_empty();
        self.end_offset =
            if is_empty { first_offset } else { recovery_point.min(self.producers_from).max(first_offset) };
        Ok(())
    }

    /// Scans from the last segment that begins at or below where the scan is to begin, to the end.
    async fn scan_all(&mut self) -> Result<(), OpenError> {
        let from_offset = self.end_offset;
        let (listed, mut has_prepared) = (self.found.segments.clone(), self.found.has_prepared);
        let first = listed.partition_point(|(base, _)| *base <= from_offset).saturating_sub(1);
        for (base_offset, bytes) in &listed[..first.min(listed.len())] {
            let has_files = self.found.indexes.binary_search(base_offset).is_ok();
            let file = self.file(*base_offset, Place::Named);
            file.is_sealed.set(true);
            let empty = Segment::empty(file, 0);
            let (bytes, flushed_bytes) = (*bytes, *bytes);
            self.segments.push_back(Segment {
                bytes,
                flushed_bytes,
                index: None,
                has_files,
                max_timestamp: None,
                ..empty
            });
        }
        let mut rest = listed[first.min(listed.len())..].iter().copied().peekable();
        if let Some((base_offset, _)) = rest.peek() {
            self.end_offset = *base_offset;
        }
        let mut stop = None;
        loop {
            if let Some((base_offset, _)) = rest.next_if(|(base_offset, _)| *base_offset == self.end_offset) {
                stop = Some(self.scan_segment(self.file(base_offset, Place::Named), from_offset).await?);
            } else if std::mem::take(&mut has_prepared) && self.prepared_continues().await? {
                self.report.took_prepared = true;
                stop = Some(self.scan_segment(self.file(self.end_offset, Place::Prepared), from_offset).await?);
                self.found.has_prepared = false;
            } else {
                break;
            }
        }
        if let Some((base_offset, _)) = rest.next() {
            let reason = format!("the log ends at offset {}, but a segment begins at {base_offset}", self.end_offset);
            return Err(self.corrupt(reason));
        }
        self.refuse_to_lose(stop.as_ref())?;
        if let Some(Stop::Bad(reason)) = stop {
            self.report.torn = Some(reason);
        }
        Ok(())
    }

    async fn scan_segment(&mut self, file: Rc<SegmentFile>, from_offset: i64) -> Result<Stop, OpenError> {
        let base_offset = file.base_offset.get();
        let handle = file.take_over().await?;
        let file_bytes = handle.size().await?;
        let mut scanner = Scanner::new(handle, file_bytes, 0, base_offset);
        let mut segment = Segment::empty(Rc::clone(&file), self.config.index_interval_bytes);
        if from_offset > base_offset && self.found.indexes.binary_search(&base_offset).is_ok() {
            // The batch that an index names just below, if it is there, is where the scan begins.
            if let Some(mut index) = SparseIndex::read(&file, file_bytes, self.config.index_interval_bytes).await?
                && let Some(place) = index.lookup(from_offset - 1)
            {
                index.restart_at(place);
                skip_to(&mut segment, &mut scanner, index, place).await?;
            }
        }
        self.segments.push_back(segment);
        self.end_offset = scanner.expected;
        scanner.newest_epoch = self.known.newest_epoch;
        scanner.epoch = self.epochs.epoch_at(scanner.expected - 1).filter(|_| scanner.expected > 0);
        let scanned_from = scanner.position;
        loop {
            match scanner.next().await? {
                Scanned::Batch(header) => self.on_batch(&header),
                Scanned::Stop(stop) => {
                    self.report.scanned_bytes += scanner.position - scanned_from;
                    return Ok(stop);
                }
            }
        }
    }
    fn on_batch(&mut self, header: &BatchHeader) {
        self.segments.back_mut().expect("it lies in a segment").grow(header);
        self.epochs.assign(header.leader_epoch, header.base_offset);
        if header.base_offset >= self.producers_from && !self.config.bugs.forget_producers {
            self.producers.advance(header, self.now_ms);
        }
        self.end_offset = header.end_offset();
        self.report.batches += u64::from(header.base_offset >= self.known.recovery_point);
    }

    /// Does `prepared.log` begin with the batch that comes next? What else may be in it is the end of a torn write, or nothing.
    async fn prepared_continues(&mut self) -> Result<bool, OpenError> {
        let file = self.file(self.end_offset, Place::Prepared);
        let handle = file.take_over().await?;
        let bytes = handle.size().await?;
        let mut scanner = Scanner::new(handle, bytes, 0, self.end_offset);
        scanner.newest_epoch = self.known.newest_epoch;
        scanner.epoch = self.epochs.epoch_at(self.end_offset - 1).filter(|_| self.end_offset > 0);
        let Scanned::Stop(_) = scanner.next().await? else { return Ok(true) };
        // All older segments are durable before anything is written here: a good batch that comes later shows a loss.
        let rest = Rest::examine(&mut scanner, FLUSH_BYTES_MAX as u64, Some(0)).await?;
        match rest.stray {
            Some(position) => {
                let reason = format!("a batch that is not the one at offset {}, which comes next", self.end_offset);
                Err(OpenError::Corrupt { path: file.path(), position, reason })
            }
            None => Ok(false),
        }
    }

    /// What is durable, or was acknowledged, must be there.
    fn refuse_to_lose(&self, stop: Option<&Stop>) -> Result<(), OpenError> {
        let points = [("recovery point", self.known.recovery_point), ("high watermark", self.known.high_watermark)];
        for (name, point) in points {
            if self.end_offset < point {
                let why = match stop {
                    Some(Stop::Bad(reason)) => reason.as_str(),
                    Some(Stop::Zeros) => "zeros where a batch should be",
                    Some(Stop::EndOfFile) => "the file ends",
                    None => "there is no segment",
                };
                let reason = format!("{why}: the log ends at offset {}, below its {name} {point}", self.end_offset);
                return Err(self.corrupt(reason));
            }
        }
        Ok(())
    }
    /// An error at the end of what was scanned.
    fn corrupt(&self, reason: String) -> OpenError {
        match self.segments.back() {
            Some(last) => OpenError::Corrupt { path: last.file.path(), position: last.bytes, reason },
            None => OpenError::Corrupt { path: self.dir.to_path_buf(), position: 0, reason },
        }
    }

    /// Clears what lies after the end, flushes what was scanned, reads the partial last block.
    async fn finish(&mut self) -> Result<(), OpenError> {
        if self.found.has_prepared {
            self.remove(PREPARED_NAME).await?;
        }
        for name in std::mem::take(&mut self.found.leftovers) {
            self.remove(&name).await?;
        }
        let Some(last) = self.segments.back() else {
            let file = self.file(self.end_offset, Place::Missing);
            self.segments.push_back(Segment::empty(file, self.config.index_interval_bytes));
            return Ok(());
        };
        let (file, end_position) = (Rc::clone(&last.file), last.bytes);
        let handle = file.open().await?;
        let mut scanner = Scanner::new(handle.clone(), handle.size().await?, end_position, self.end_offset);
        scanner.newest_epoch = self.known.newest_epoch;
        scanner.epoch = self.epochs.epoch_at(self.end_offset - 1).filter(|_| self.end_offset > 0);
        // A torn write reaches from before the first bad byte no further than its own length.
        let write_bytes = FLUSH_BYTES_MAX.max(self.config.max_batch_bytes) + BLOCK_BYTES;
        let rest = Rest::examine(&mut scanner, write_bytes as u64, None).await?;
        if let Some(position) = rest.stray {
            let reason = format!("the log would end at byte {end_position}, but here is a good batch that came later");
            return Err(OpenError::Corrupt { path: file.path(), position, reason });
        }
        let block = read_block(&file, end_position).await?;
        self.report.cut_bytes = rest.nonzero_end.saturating_sub(end_position);
        if self.report.cut_bytes > 0 && !self.config.bugs.keep_torn_tail {
            cut::zero(&handle, block.as_deref(), end_position, rest.nonzero_end).await?;
        }
        // With nothing above the recovery point, everything that counts is durable already.
        let flushes = self.report.batches > 0 || self.report.cut_bytes > 0;
        for segment in self.segments.iter_mut().filter(|segment| segment.file.is_open()) {
            if flushes {
                segment.file.open().await?.flush().await?;
            }
            segment.file.close();
            segment.flushed_bytes = segment.bytes;
        }
        // What the file has beyond its last block may be a hole that a crash left: it is written again before it is trusted.
        let file_end = handle.size().await?;
        let ready_end = end_position.next_multiple_of(BLOCK_BYTES as u64).min(file_end - file_end % BLOCK_BYTES as u64);
        file.on_ready(ready_end);
        self.last_block = block.map(|block| Chunk::partial(&file, block, end_position, self.end_offset));
        Ok(())
    }

    /// The epochs of the log's own checkpoint and the journal's changes since. One that is damaged is as good as none: what is
    /// scanned shows its epochs, and what is not keeps those of the journal.
    async fn known_epochs(&mut self) -> Result<EpochCache, OpenError> {
        let mut epochs = EpochCache::default();
        if self.found.has_epochs {
            let text = self.disk.read_small(&self.dir.join(EPOCHS_NAME)).await?;
            match EpochCache::from_text(&text) {
                Ok(known) => epochs = known,
                Err(error) => tracing::warn!("{}/{EPOCHS_NAME}: {error}", self.dir.display()),
            }
            self.settled.epochs = Some(epochs.clone());
        }
        self.known.epoch_changes.iter().for_each(|change| change.apply(&mut epochs));
        Ok(epochs)
    }
    /// Epochs in the log's checkpoint that began beyond its end are gone, and must not come back once it has grown over them again.
    async fn replace_epochs(&mut self) -> Result<(), OpenError> {
        let known = self.settled.epochs.as_ref().map(EpochCache::entries).unwrap_or_default();
        if known.last().is_some_and(|(_, start_offset)| *start_offset > self.end_offset) {
            let text = (EPOCHS_NAME.to_owned(), self.epochs.to_text().into_bytes());
            small::replace(self.disk, self.dir, vec![text]).await.map_err(StepError::into_disk_error)?;
            self.settled.epochs = Some(self.epochs.clone());
        }
        Ok(())
    }
    /// Removes the snapshots that are of no use. One that is comes first: without any it would look as if there never was a producer.
    async fn replace_snapshots(&mut self) -> Result<(), OpenError> {
        if self.useless_snapshots.is_empty() {
            return Ok(());
        }
        let snapshot = (segment_name(self.end_offset, "snapshot"), self.producers.to_bytes());
        small::replace(self.disk, self.dir, vec![snapshot]).await.map_err(StepError::into_disk_error)?;
        self.settled.snapshots.retain(|offset| *offset < self.end_offset);
        self.settled.snapshots.push(self.end_offset);
        for offset in self.useless_snapshots.iter().filter(|offset| **offset != self.end_offset) {
            self.remove(&segment_name(*offset, "snapshot")).await?;
        }
        // One that came back would be believed once the log has grown over its offset again.
        Ok(self.disk.sync_dir(self.dir).await?)
    }

    fn file(&self, base_offset: i64, place: Place) -> Rc<SegmentFile> {
        SegmentFile::new(self.disk, self.dir, next_key(), base_offset, place)
    }
    async fn remove(&self, name: &str) -> Result<(), DiskError> {
        small::remove(self.disk, &self.dir.join(name)).await
    }
}

/// The partial last block of a segment that ends at `end_position`, zeros after it; `None` if the last block is full.
pub(super) async fn read_block(file: &Rc<SegmentFile>, end_position: u64) -> Result<Option<IoBuffer>, DiskError> {
    let used = (end_position % BLOCK_BYTES as u64) as usize;
    if used == 0 {
        return Ok(None);
    }
    let read = file.open().await?.read_at(end_position - used as u64, BLOCK_BYTES).await?;
    let mut block = IoBuffer::zeroed(BLOCK_BYTES);
    block[..used].copy_from_slice(&read[..used]);
    Ok(Some(block))
}
