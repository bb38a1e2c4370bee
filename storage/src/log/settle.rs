//! Settling: producers and epochs written down, so that recovery need not look below.
//!
//! *Which core*: the log's, in the background.
//! *Invariants*: a snapshot is on disk only once the log is flushed up to it, so every one that recovery finds below the log's
//! end is right; none at all means that no producer was known at the recovery point; the recovery point moves last.
//! *Not here*: writing the recovery point down (checkpoints), the epochs' own durability (epoch journal).

use std::path::Path;
use std::rc::Rc;

use super::Log;
use super::file::{Place, segment_name};
use super::maintenance::StepError;
use super::small::{self, Replacement};
use crate::disk::Disk;
use crate::epochs::EpochCache;

/// Bytes that recovery may have to scan before it is worth a settling, and the time between two.
const SETTLE_BYTES: u64 = 32 << 20;
const SETTLE_INTERVAL_MS: i64 = 5_000;
/// A log that has not been appended to for this long is idle.
pub(super) const IDLE_MS: i64 = 10_000;
/// An active segment up to this size is scanned whole as fast as its index is read.
const INDEX_WORTH_BYTES: u64 = 1 << 20;
/// Producer snapshots that are kept.
const SNAPSHOTS_KEPT: usize = 2;
pub(super) const EPOCHS_NAME: &str = "leader-epoch-checkpoint";

/// What is known as of one offset, taken when that was the log's end, to be written when it is flushed.
pub(super) struct Taken {
    offset: i64,
    position: u64,
    at_ms: i64,
    files: Vec<Replacement>,
    has_snapshot: bool,
    /// The epochs among the files, if they changed.
    epochs: Option<EpochCache>,
}

/// How far a log is settled.
#[derive(Default)]
pub(super) struct Settled {
    /// Bytes appended since.
    pub(super) bytes_since: u64,
    at_ms: i64,
    /// Offsets of the snapshots on disk, ascending.
    pub(super) snapshots: Vec<i64>,
    /// The epochs as they were written.
    pub(super) epochs: Option<EpochCache>,
    taken: Option<Taken>,
    is_closing: bool,
}

/// Writing what was taken.
pub(super) struct Settle {
    disk: Disk,
    dir: Rc<Path>,
    taken: Taken,
    outdated: Vec<String>,
}

impl Settled {
    /// Just settled.
    pub(super) fn at(is_closing: bool, snapshots: Vec<i64>, epochs: EpochCache) -> Settled {
        Settled { snapshots, epochs: Some(epochs), is_closing, ..Settled::default() }
    }
    pub(super) fn is_closing(&self) -> bool {
        self.is_closing
    }
}

impl Settle {
    pub(super) async fn execute(&mut self) -> Result<(), StepError> {
        small::replace(&self.disk, &self.dir, std::mem::take(&mut self.taken.files)).await?;
        for name in &self.outdated {
            small::remove(&self.disk, &self.dir.join(name)).await?;
        }
        Ok(())
    }
}

impl Log {
    /// The log is to be closed: settle it whatever that costs. When [`Log::needs_flush`] is false and
    /// [`Log::maintenance_plan`] gives nothing more, [`Log::recovery_point`] is the log's end.
    pub fn start_closing(&mut self) {
        self.settled.is_closing = true;
    }

    pub(super) fn settle_due(&mut self, now_ms: i64) -> Option<Settle> {
        if self.settled.taken.is_none() && self.is_worth_settling(now_ms) {
            self.settled.taken = Some(self.take_settled(now_ms));
        }
        if self.settled.taken.as_ref().is_some_and(|taken| taken.offset > self.flushed_end_offset) {
            return None;
        }
        let taken = self.settled.taken.take()?;
        let kept = SNAPSHOTS_KEPT - usize::from(taken.has_snapshot);
        let outdated_count = self.settled.snapshots.len().saturating_sub(kept);
        let outdated = self.settled.snapshots.iter().take(outdated_count).filter(|offset| **offset != taken.offset);
        Some(Settle {
            disk: self.disk.clone(),
            dir: Rc::clone(&self.dir),
            outdated: outdated.map(|offset| segment_name(*offset, "snapshot")).collect(),
            taken,
        })
    }

    fn is_worth_settling(&self, now_ms: i64) -> bool {
        if self.recovery_point >= self.log_end_offset {
            return false;
        }
        let has_rolled = self.recovery_point < self.active().base_offset;
        let is_due = (has_rolled || self.settled.bytes_since >= SETTLE_BYTES)
            && now_ms.saturating_sub(self.settled.at_ms) >= SETTLE_INTERVAL_MS;
        let is_idle = now_ms.saturating_sub(self.last_used_ms) >= IDLE_MS;
        let mut closed = self.segments.iter().take(self.segments.len() - 1);
        (is_due || is_idle || self.settled.is_closing)
            && self.active().file.place.get() != Place::Prepared
            && closed.all(|segment| segment.has_files)
    }

    fn take_settled(&self, now_ms: i64) -> Taken {
        let (offset, active) = (self.log_end_offset, self.active());
        let mut files = Vec::new();
        // Where there are older ones, none would mean that theirs is the state.
        let has_snapshot = !self.producers.is_empty() || !self.settled.snapshots.is_empty();
        if has_snapshot {
            files.push((segment_name(offset, "snapshot"), self.producers.to_bytes()));
        }
        let epochs = (self.settled.epochs.as_ref() != Some(&self.epochs)).then(|| self.epochs.clone());
        if let Some(epochs) = &epochs {
            files.push((EPOCHS_NAME.to_owned(), epochs.to_text().into_bytes()));
        }
        if let Some(index) = active.index.as_ref().filter(|_| active.bytes >= INDEX_WORTH_BYTES) {
            let (offsets, times) = index.to_files(active.base_offset);
            files.push((segment_name(active.base_offset, "index"), offsets.to_bytes()));
            files.push((segment_name(active.base_offset, "timeindex"), times.to_bytes()));
        }
        Taken { offset, position: active.bytes, at_ms: now_ms, files, has_snapshot, epochs }
    }

    pub(super) fn on_settled(&mut self, settle: Settle) {
        let taken = settle.taken;
        self.recovery_point = self.recovery_point.max(taken.offset);
        self.settled.at_ms = taken.at_ms;
        self.settled.bytes_since = self.active().bytes.saturating_sub(taken.position);
        self.settled.snapshots.retain(|offset| !settle.outdated.contains(&segment_name(*offset, "snapshot")));
        if taken.has_snapshot && self.settled.snapshots.last() != Some(&taken.offset) {
            self.settled.snapshots.push(taken.offset);
        }
        if taken.epochs.is_some() {
            self.settled.epochs = taken.epochs;
        }
    }
}
