//! Opening a log: what is there, what of it counts, and what had to be done about the rest.
//!
//! *Which core*: the log's; many logs of a shard open side by side.
//! *Invariants*: nothing below the recovery point is read but to find it; a log that is open has nothing but zeros after its
//! tail, and `flushed_end_offset == log_end_offset`.
//! *Not here*: the scan's rules (recover), which partitions there should be (data_dir).

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::file::{PREPARED_NAME, parse_segment_name};
use super::prewrite::Ahead;
use super::recover::Recovery;
use super::retain::Retention;
use super::settle::EPOCHS_NAME;
use super::tail::Tail;
use super::{Log, LogConfig, ReadCache};
use crate::data_dir::TEMPORARY_SUFFIX;
use crate::disk::{DirEntry, Disk, DiskError};
use crate::epoch_journal::EpochChange;
use crate::ids::LeaderEpoch;

/// What the last checkpoint and the epoch journal say of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPoints {
    /// Below it everything is durable: log, producers, epochs.
    pub recovery_point: i64,
    /// Below it everything was acknowledged.
    pub high_watermark: i64,
    /// First offset that there is.
    pub log_start_offset: i64,
    /// The newest leader epoch that there is: no batch can be of a later one. `None`: not known.
    pub newest_epoch: Option<LeaderEpoch>,
    /// Changes of its leader epochs since its own `leader-epoch-checkpoint` was written, from the epoch journal.
    pub epoch_changes: Vec<EpochChange>,
}

/// An open log.
pub struct Opened {
    /// It.
    pub log: Log,
    /// What was found.
    pub report: RecoveryReport,
}

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Batches above the recovery point.
    pub batches: u64,
    /// Bytes of batches that were read.
    pub scanned_bytes: u64,
    /// Bytes after the last batch that were not zeros, and are now.
    pub cut_bytes: u64,
    /// The log goes on in `prepared.log`: the crash fell between a roll and its rename.
    pub took_prepared: bool,
    /// Why the log ends where it ends, if not in zeros or with the file.
    pub torn: Option<String>,
}

/// Why a log can't be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Records that were durable are gone or damaged. Nothing was changed.
    #[error("{path} is corrupt at byte {position}: {reason}", path = path.display())]
    Corrupt {
        /// The segment file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}

/// The files of a log's directory that matter.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// (base offset, bytes), ascending.
    pub(super) segments: Vec<(i64, u64)>,
    /// Is there a `prepared.log`?
    pub(super) has_prepared: bool,
    /// Offsets of producer snapshots, ascending.
    pub(super) snapshots: Vec<i64>,
    /// Base offsets with an offset index, ascending.
    pub(super) indexes: Vec<i64>,
    /// Is there a `leader-epoch-checkpoint`?
    pub(super) has_epochs: bool,
    /// What replacements left that never came about.
    pub(super) leftovers: Vec<String>,
}

impl Found {
    fn new(entries: &[DirEntry]) -> Found {
        let mut found = Found::default();
        for entry in entries.iter().filter(|entry| !entry.is_dir) {
            if let Some(base_offset) = parse_segment_name(&entry.name, "log") {
                found.segments.push((base_offset, entry.bytes));
            } else if let Some(offset) = parse_segment_name(&entry.name, "snapshot") {
                found.snapshots.push(offset);
            } else if let Some(base_offset) = parse_segment_name(&entry.name, "index") {
                found.indexes.push(base_offset);
            } else if entry.name == PREPARED_NAME {
                found.has_prepared = true;
            } else if entry.name == EPOCHS_NAME {
                found.has_epochs = true;
            } else if entry.name.ends_with(TEMPORARY_SUFFIX) {
                found.leftovers.push(entry.name.clone());
            }
        }
        // An index without its segment: the crash fell between their removals.
        for entry in entries {
            let base_offset = ["index", "timeindex"].iter().find_map(|kind| parse_segment_name(&entry.name, kind));
            if base_offset.is_some_and(|base| found.segments.iter().all(|(known, _)| *known != base)) {
                found.leftovers.push(entry.name.clone());
            }
        }
        found.segments.sort_unstable();
        found.snapshots.sort_unstable();
        found.indexes.sort_unstable();
        found
    }
}

impl Log {
    /// Opens the log in `dir`, which exists; an empty directory gives an empty log at `known.log_start_offset`. Recovers what a
    /// crash left: see design 5.
    pub async fn open(
        disk: &Disk,
        cache: &ReadCache,
        dir: &Path,
        config: LogConfig,
        known: KnownPoints,
        now_ms: i64,
    ) -> Result<Opened, OpenError> {
        let dir: Rc<Path> = dir.into();
        let found = Found::new(&disk.list(&dir).await?);
        let mut recovery = Recovery::new(disk, &dir, &config, &known, found, now_ms);
        recovery.run().await?;
        // A process that was killed may have made files whose names no flush has reached: what is appended to them now would be
        // flushed, acknowledged, and gone with the name at a power cut.
        disk.sync_dir(&dir).await?;
        let Recovery { segments, settled, producers, epochs, end_offset, last_block, report, .. } = recovery;
        let first_offset = segments.front().map_or(end_offset, |segment| segment.base_offset);
        let log = Log {
            disk: disk.clone(),
            cache: cache.clone(),
            dir,
            segments,
            prepared: None,
            settled,
            retention: Retention::default(),
            cursors: VecDeque::new(),
            tail: Tail::new(last_block),
            // A crash amid a cut below the log start leaves a checkpoint that is behind.
            log_start_offset: known.log_start_offset.min(end_offset).max(first_offset),
            flushed_end_offset: end_offset,
            log_end_offset: end_offset,
            producers,
            epochs,
            offline: None,
            no_space: false,
            no_space_until_ms: None,
            last_used_ms: now_ms,
            recovery_point: known.recovery_point.max(first_offset),
            has_chores: true,
            flush_in_flight: false,
            maintenance_in_flight: false,
            truncating_to: None,
            ahead: Ahead::new(),
            config,
        };
        log.assert_ladder();
        Ok(Opened { log, report })
    }
}
