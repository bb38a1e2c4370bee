//! Checkpoints: how far each partition's log is known to be good, written every few seconds.
//!
//! *Which core*: one file per shard; [`load`] once, by the executor that starts the process.
//! *Invariants*: a file is replaced whole or not at all; a start reads the files of every earlier one and keeps them until each
//! shard has written what is now its own, so neither a changed shard count nor a full disk loses anything.
//! *Not here*: deciding the values (log, partition), nor the time between saves.
//! *Why* the newest entry of a partition wins whole, and not field by field: a recovery point may be lowered, durably, before its
//! log is cut, and a larger one from an older file would then vouch for bytes that are gone. Too low a value is always safe: a
//! recovery point only makes more be scanned, a high watermark is learnt again from the leader, a log start from the segments.

mod file;
#[cfg(test)]
mod tests;

use crate::data_dir::generations::{self, FileNumber};
use crate::disk::{Disk, DiskError};
use crate::ids::PartitionId;
use futures_util::lock::Mutex;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Partitions that a file may hold.
pub const PARTITIONS_MAX: usize = 1 << 20;

/// What is known of one partition's log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Log, index, epochs and producer snapshot are all flushed up to this offset: recovery need not look below.
    pub recovery_point: i64,
    /// The high watermark.
    pub high_watermark: i64,
    /// The first offset that is still to be served.
    pub log_start_offset: i64,
}

/// What earlier starts left.
#[derive(Debug)]
pub struct Loaded {
    /// The newest checkpoint of each partition.
    pub checkpoints: BTreeMap<PartitionId, Checkpoint>,
    /// For this start's files.
    pub generation: u64,
    /// Files that are damaged, each with a sentence: their partitions are to be recovered from their beginning.
    pub damage: Vec<String>,
}

/// Reads the files of every earlier start, whatever its number of shards.
pub async fn load(disk: &Disk, data_dir: &Path) -> Result<Loaded, DiskError> {
    let dir = dir_of(data_dir);
    let files = generations::list(disk, &dir).await?;
    let mut loaded = Loaded { checkpoints: BTreeMap::new(), generation: generations::next(&files), damage: vec![] };
    // Oldest generation first, and within one each partition is in one file: what comes later is newer.
    for number in files {
        let path = number.path(&dir);
        match file::decode(&disk.read_small(&path).await?) {
            Ok(entries) => loaded.checkpoints.extend(entries),
            Err(what) => loaded.damage.push(format!("{}: {what}", path.display())),
        }
    }
    Ok(loaded)
}

/// Removes the files that [`load`] read, once every shard has made its own of `generation`.
pub async fn remove_loaded(disk: &Disk, data_dir: &Path, generation: u64) -> Result<(), DiskError> {
    generations::remove_before(disk, &dir_of(data_dir), generation).await
}

/// A shard's checkpoints.
pub struct Checkpoints {
    disk: Disk,
    path: PathBuf,
    state: RefCell<State>,
    /// Held by the one that saves.
    saving: Mutex<()>,
}

struct State {
    checkpoints: BTreeMap<PartitionId, Checkpoint>,
    /// Counts changes.
    changed_to: u64,
    saved_to: u64,
    writing: bool,
}

impl Checkpoints {
    /// Those of a shard, with what is its of what [`load`] read; the first [`Checkpoints::save`] makes the file. The numbers of
    /// one generation differ.
    pub fn new(
        disk: &Disk,
        data_dir: &Path,
        generation: u64,
        number: u32,
        carried: BTreeMap<PartitionId, Checkpoint>,
    ) -> Checkpoints {
        let path = FileNumber { generation, number }.path(&dir_of(data_dir));
        let state = State { checkpoints: carried, changed_to: 1, saved_to: 0, writing: false };
        Checkpoints { disk: disk.clone(), path, state: RefCell::new(state), saving: Mutex::new(()) }
    }
    /// What is known of a partition.
    pub fn get(&self, id: PartitionId) -> Option<Checkpoint> {
        self.state.borrow().checkpoints.get(&id).copied()
    }
    /// Notes a checkpoint; durable after the next [`Checkpoints::save`]. One that is noted already costs no save.
    pub fn set(&self, id: PartitionId, checkpoint: Checkpoint) {
        assert!(checkpoint.is_valid(), "{id:?}: {checkpoint:?}");
        let state = &mut *self.state.borrow_mut();
        if state.checkpoints.insert(id, checkpoint) != Some(checkpoint) {
            state.changed_to += 1;
        }
        assert!(state.checkpoints.len() <= PARTITIONS_MAX, "more than {PARTITIONS_MAX} partitions on a shard");
    }
    /// Forgets a partition whose replica here is gone.
    pub fn forget(&self, id: PartitionId) {
        let state = &mut *self.state.borrow_mut();
        if state.checkpoints.remove(&id).is_some() {
            state.changed_to += 1;
        }
    }
    /// Makes everything noted so far durable; calls that come meanwhile share the next write. Not to be dropped unfinished.
    /// After an error the old file is still there, and what was noted is still to be saved.
    pub async fn save(&self) -> Result<(), DiskError> {
        let wanted = self.state.borrow().changed_to;
        let _one_at_a_time = self.saving.lock().await;
        let (contents, upto) = {
            let mut state = self.state.borrow_mut();
            if state.saved_to >= wanted {
                return Ok(());
            }
            let writing = std::mem::replace(&mut state.writing, true);
            assert!(!writing, "an earlier save of {} was dropped: it may yet come after this", self.path.display());
            (file::encode(&state.checkpoints), state.changed_to)
        };
        let outcome = self.disk.replace_small(&self.path, &contents).await;
        let mut state = self.state.borrow_mut();
        state.writing = false;
        if outcome.is_ok() {
            state.saved_to = upto;
        }
        outcome
    }
}

impl Checkpoint {
    fn is_valid(self) -> bool {
        self.recovery_point >= 0 && self.high_watermark >= 0 && self.log_start_offset >= 0
    }
}

fn dir_of(data_dir: &Path) -> PathBuf {
    data_dir.join("checkpoints")
}
