//! The front of the log: which records are given up, and removing their files.
//!
//! *Which core*: the log's.
//! *Invariants*: the log start never falls, and never passes the high watermark; the last segment stays, and is durable under its
//! own name before any other goes: its name is what the next offset is known by after a restart.
//! *Not here*: writing the new log start down (checkpoints).

use std::rc::Rc;

use super::Log;
use super::file::{Place, SegmentFile, segment_name};
use super::maintenance::StepError;
use super::small;
use super::sparse::SparseIndex;

/// Removing a segment's files.
pub(super) struct Remove {
    file: Rc<SegmentFile>,
}

impl Remove {
    pub(super) async fn execute(&self) -> Result<(), StepError> {
        let (disk, dir) = (&self.file.disk, &self.file.dir);
        for extension in ["log", "index", "timeindex"] {
            small::remove(disk, &dir.join(segment_name(self.file.base_offset.get(), extension))).await?;
        }
        // A late reader may have opened it again, and an open file keeps its space.
        self.file.close();
        disk.sync_dir(dir).await.map_err(StepError::Flush)
    }
}

/// Making the file of a segment that has no batch yet.
pub(super) struct Plant {
    file: Rc<SegmentFile>,
}

impl Plant {
    pub(super) async fn execute(&self) -> Result<(), StepError> {
        let handle = self.file.open().await?;
        handle.flush().await.map_err(StepError::Flush)?;
        self.file.disk.sync_dir(&self.file.dir).await.map_err(StepError::Flush)?;
        self.file.dir_dirty.set(false);
        Ok(())
    }
}

/// Finding out how new a sealed segment's newest record is.
pub(super) struct Date {
    file: Rc<SegmentFile>,
    bytes: u64,
}

impl Date {
    /// `None`: its index files are to be made anew.
    pub(super) async fn execute(&self) -> Result<Option<i64>, StepError> {
        let index = SparseIndex::read(&self.file, self.bytes, 1).await?;
        Ok(index.map(|index| index.newest().map_or(-1, |(timestamp, _)| timestamp)))
    }
}

/// What retention has found out since the last look.
#[derive(Default)]
pub(super) struct Retention {
    /// Segments that end at or below this may be given up.
    limit_offset: i64,
    /// As of this time.
    now_ms: i64,
    /// Those whose files are to be removed, oldest first; they are not part of the log any more.
    outdated: Vec<Rc<SegmentFile>>,
    /// Must the last segment have its file, though it has no batch?
    wants_plant: bool,
}

impl Log {
    /// What time alone brings about: rolls by age, retention, forgotten producers, rest for an idle log. To be called every few
    /// minutes with the high watermark, above which nothing is given up. Afterwards ask for [`Log::maintenance_plan`].
    pub fn look_over(&mut self, now_ms: i64, high_watermark: i64) {
        self.producers.expire(now_ms, self.config.producer_expiration_ms);
        self.retention.limit_offset = high_watermark.min(self.flushed_end_offset);
        self.retention.now_ms = now_ms;
        self.has_chores = true;
        self.roll_if_due(now_ms);
        self.rest_if_idle(now_ms);
    }

    /// Rolls an active segment that is too old, or whose records have all outlived their retention. What comes next begins
    /// another one.
    pub fn roll_if_due(&mut self, now_ms: i64) {
        let active = self.active();
        let age_ms = active.begun.map_or(0, |begun| now_ms.saturating_sub(begun.at_ms));
        let is_over = active.max_timestamp.is_some_and(|max| self.is_expired(max));
        let is_quiet = self.flushed_end_offset == self.log_end_offset && !self.flush_in_flight;
        let may_go = is_over && self.retention.limit_offset >= self.log_end_offset;
        if active.bytes > 0 && is_quiet && self.truncating_to.is_none() && (age_ms > self.config.segment_ms || may_go) {
            self.roll();
        }
    }

    /// Records below `to_offset` (at most the high watermark) are not served any more; their files go in the background. Durable
    /// once the caller's checkpoint says so.
    pub fn trim(&mut self, to_offset: i64) {
        assert!(to_offset <= self.flushed_end_offset, "only what is durable can be given up");
        self.log_start_offset = self.log_start_offset.max(to_offset);
        self.epochs.truncate_from_start(self.log_start_offset);
        self.retention.limit_offset = self.retention.limit_offset.max(self.log_start_offset);
        self.has_chores = true;
        self.assert_ladder();
    }

    /// Gives up the oldest segments that may go.
    fn give_up_segments(&mut self) {
        while self.segments.len() > 1 && self.may_give_up_oldest() {
            let next = &self.segments[1];
            if next.base_offset > self.recovery_point {
                // The producers of its batches are not written down yet.
                return;
            }
            if next.file.place.get() != Place::Named || next.file.dir_dirty.get() {
                // Without it nobody would know where the log goes on.
                self.retention.wants_plant = self.segments.len() == 2 && next.file.place.get() == Place::Missing;
                return;
            }
            let next_base_offset = next.base_offset;
            let oldest = self.segments.pop_front().expect("there is more than one");
            oldest.file.close();
            self.retention.outdated.push(oldest.file);
            self.trim(next_base_offset.max(self.log_start_offset));
        }
    }
    pub(super) fn may_give_up_oldest(&self) -> bool {
        let (oldest, end_offset) = (&self.segments[0], self.segments[1].base_offset);
        if end_offset <= self.log_start_offset {
            return true;
        }
        let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let is_too_much = self.config.retention_bytes.is_some_and(|max| bytes - oldest.bytes >= max);
        let is_too_old = oldest.max_timestamp.is_some_and(|max| self.is_expired(max));
        end_offset <= self.retention.limit_offset && (is_too_much || is_too_old)
    }
    /// Have records of this age outlived their retention? Those without a timestamp never do.
    fn is_expired(&self, max_timestamp: i64) -> bool {
        let age_ms = self.retention.now_ms.saturating_sub(max_timestamp);
        max_timestamp >= 0 && self.config.retention_ms.is_some_and(|max| age_ms > max)
    }

    pub(super) fn remove_due(&mut self) -> Option<Remove> {
        if self.retention.outdated.is_empty() {
            self.give_up_segments();
        }
        self.retention.outdated.first().map(|file| Remove { file: Rc::clone(file) })
    }
    pub(super) fn on_removed(&mut self, removed: &Remove) {
        self.retention.outdated.retain(|file| !Rc::ptr_eq(file, &removed.file));
    }
    pub(super) fn plant_due(&self) -> Option<Plant> {
        let active = self.active();
        let is_due = self.retention.wants_plant && active.file.place.get() == Place::Missing;
        is_due.then(|| Plant { file: Rc::clone(&active.file) })
    }
    pub(super) fn on_planted(&mut self) {
        self.retention.wants_plant = false;
    }
    /// The oldest segment, if its age matters and is not known.
    pub(super) fn date_due(&self) -> Option<Date> {
        let oldest = self.segments.front().expect("a log has a segment");
        let matters = self.config.retention_ms.is_some() && self.segments.len() > 1 && oldest.has_files;
        let may_go = self.segments.len() > 1 && self.segments[1].base_offset <= self.retention.limit_offset;
        let is_due = matters && may_go && oldest.max_timestamp.is_none();
        is_due.then(|| Date { file: Rc::clone(&oldest.file), bytes: oldest.bytes })
    }
    pub(super) fn on_dated(&mut self, date: &Date, max_timestamp: Option<i64>) {
        let mut segments = self.segments.iter_mut();
        if let Some(segment) = segments.find(|segment| Rc::ptr_eq(&segment.file, &date.file)) {
            segment.max_timestamp = max_timestamp;
            segment.has_files &= max_timestamp.is_some();
        }
    }
}
