//! The epoch journal: leader epochs of many partitions, durable in one small write before any of them is used.
//!
//! *Which core*: one journal per shard; [`replay`] once, by the executor that starts the process.
//! *Invariants*: a change is answered only when its record is flushed; what follows the tail is zeros; one write at a time; a
//! partition's changes are in order, and the file holds every one since some moment before its last checkpoint. Until the file
//! is made, those of earlier starts hold them.
//! *Not here*: the epochs of a log (epochs), its `leader-epoch-checkpoint` file (log, in the background).
//! *Why*: after a failover a thousand partitions begin an epoch at once; a flush for each would take seconds. And why a
//! generation per process start: see data_dir/generations.

mod file;
mod record;
#[cfg(test)]
mod tests;

pub use record::EpochChange;

use crate::data_dir::generations::{self, FileNumber};
use crate::disk::{Disk, DiskError, DiskErrorReason, OpenMode};
use crate::epochs::EpochCache;
use crate::ids::PartitionId;
use file::Tail;
use futures_util::lock::Mutex;
use record::{RECORD_BYTES, encode};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

/// Records in one write: 64 KiB. What a torn write may leave behind reaches no further.
const RECORDS_PER_WRITE_MAX: usize = (64 << 10) / RECORD_BYTES;

/// Changes by partition, oldest first.
pub type EpochChanges = BTreeMap<PartitionId, Vec<EpochChange>>;

/// How far a journal's changes go; marks rise in the order of [`EpochJournal::queue`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// What earlier starts left.
#[derive(Debug)]
pub struct Replayed {
    /// To be applied, in order, to what each partition's own checkpoint says. Then what [`undone`] finds is to be queued.
    pub changes: EpochChanges,
    /// For this start's journals.
    pub generation: u64,
    /// Files that are damaged, each with a sentence: epochs may be missing, and must be learnt from the batches.
    pub damage: Vec<String>,
}

/// Reads the journals of every earlier start, whatever its number of shards.
pub async fn replay(disk: &Disk, data_dir: &Path) -> Result<Replayed, DiskError> {
    let dir = dir_of(data_dir);
    let files = generations::list(disk, &dir).await?;
    let mut replayed = Replayed { changes: EpochChanges::new(), generation: generations::next(&files), damage: vec![] };
    for number in files {
        let path = number.path(&dir);
        disk.open(&path, OpenMode::TakeOver).await?.close().await?;
        let read = file::read(&disk.read_small(&path).await?);
        for (id, change) in read.records {
            change.append_to(replayed.changes.entry(id).or_default());
        }
        replayed.damage.extend(read.damage.map(|what| format!("{}: {what}", path.display())));
    }
    replayed.changes.retain(|_, changes| !changes.is_empty());
    Ok(replayed)
}

/// What has to be recorded besides `changes`, which are carried over, once a log is open and has these epochs: a cut of which a crash
/// has kept the log was recorded, and at the next start would take away what this one has read again.
pub fn undone(changes: &[EpochChange], epochs: &EpochCache) -> Vec<EpochChange> {
    let mut next = epochs.clone();
    changes.iter().for_each(|change| change.apply(&mut next));
    let missing = epochs.entries().iter().skip_while(|entry| next.entries().contains(entry));
    missing.map(|&(epoch, start_offset)| EpochChange::Begin { epoch, start_offset }).collect()
}

/// Removes the journals that [`replay`] read, once every shard has made its own of `generation` with the changes that are its.
pub async fn remove_replayed(disk: &Disk, data_dir: &Path, generation: u64) -> Result<(), DiskError> {
    generations::remove_before(disk, &dir_of(data_dir), generation).await
}

/// A shard's journal.
pub struct EpochJournal {
    disk: Disk,
    path: PathBuf,
    number: FileNumber,
    bytes: u64,
    state: RefCell<State>,
    /// Held by the one that writes. `None`: there is no file yet.
    tail: Mutex<Option<Tail>>,
}

#[derive(Default)]
struct State {
    /// Changes that no checkpoint holds yet, with their marks.
    live: BTreeMap<PartitionId, Vec<(Mark, EpochChange)>>,
    /// Changes that are not durable yet.
    queued: VecDeque<(PartitionId, EpochChange)>,
    queued_to: Mark,
    durable_to: Mark,
    failed: Option<DiskError>,
    writing: bool,
}

impl EpochJournal {
    /// A journal of `bytes` with what is carried over from those that [`replay`] read. Its file is made when something must be
    /// durable, or by [`EpochJournal::make_file`]. The numbers of one generation differ.
    pub fn new(
        disk: &Disk,
        data_dir: &Path,
        generation: u64,
        number: u32,
        bytes: u64,
        carried: EpochChanges,
    ) -> EpochJournal {
        let number = FileNumber { generation, number };
        let mut state = State::default();
        for (id, changes) in carried {
            changes.into_iter().for_each(|change| state.keep(id, change));
        }
        state.durable_to = state.queued_to;
        let (disk, path) = (disk.clone(), number.path(&dir_of(data_dir)));
        EpochJournal { disk, path, number, bytes, state: RefCell::new(state), tail: Mutex::new(None) }
    }

    /// Makes the file, unless it is there: with it, durably, everything that is carried over. Errors as of
    /// [`EpochJournal::durable`].
    pub async fn make_file(&self) -> Result<(), DiskError> {
        let mut tail = self.tail.lock().await;
        if tail.is_none() { self.write_queued(&mut tail).await } else { Ok(()) }
    }

    /// Queues changes: call it where the log's own epochs change, and use them only after [`EpochJournal::durable`]. One that is
    /// the partition's last already takes no second place.
    pub fn queue(&self, changes: impl IntoIterator<Item = (PartitionId, EpochChange)>) -> Mark {
        let state = &mut *self.state.borrow_mut();
        for (id, change) in changes {
            change.check();
            if state.live.get(&id).and_then(|changes| changes.last()).is_some_and(|(_, last)| *last == change) {
                continue;
            }
            state.keep(id, change);
            state.queued.push_back((id, change));
        }
        state.queued_to
    }
    /// Everything queued so far: take it in the same breath as the epochs that go into a partition's checkpoint.
    pub fn mark(&self) -> Mark {
        self.state.borrow().queued_to
    }
    /// Waits until everything up to `mark` is durable, in as few writes as can be. Not to be dropped unfinished. An error is
    /// final, but for [`DiskErrorReason::NoSpace`]: then it may be tried again.
    pub async fn durable(&self, mark: Mark) -> Result<(), DiskError> {
        assert!(mark <= self.mark(), "a mark of another journal");
        let done = || {
            let state = self.state.borrow();
            state.failed.clone().map(Err).or_else(|| (state.durable_to >= mark).then_some(Ok(())))
        };
        while done().is_none() {
            let mut tail = self.tail.lock().await;
            if done().is_none() {
                self.write_queued(&mut tail).await?;
            }
        }
        done().expect("the loop ended because it is done")
    }
    /// A partition's own checkpoint now durably holds its changes up to `mark`.
    pub fn checkpointed(&self, id: PartitionId, mark: Mark) {
        let live = &mut self.state.borrow_mut().live;
        if let Some(changes) = live.get_mut(&id) {
            changes.retain(|(at, _)| *at > mark);
            if changes.is_empty() {
                live.remove(&id);
            }
        }
    }
    /// Nothing of this partition matters any more: its replica here is gone.
    pub fn forget(&self, id: PartitionId) {
        self.state.borrow_mut().live.remove(&id);
    }
    /// Partitions whose changes no checkpoint holds yet: what to checkpoint next.
    pub fn live_partitions(&self) -> Vec<PartitionId> {
        self.state.borrow().live.keys().copied().collect()
    }

    async fn write_queued(&self, tail: &mut Option<Tail>) -> Result<(), DiskError> {
        let (records, writing) = {
            let mut state = self.state.borrow_mut();
            if let Some(error) = &state.failed {
                return Err(error.clone());
            }
            let records: Vec<_> = state.queued.iter().take(RECORDS_PER_WRITE_MAX).copied().collect();
            (records, std::mem::replace(&mut state.writing, true))
        };
        assert!(
            !writing,
            "an earlier write to {} was dropped: nobody knows whether it is durable",
            self.path.display()
        );
        let outcome = match tail {
            Some(tail) if tail.has_room(records.len()) => tail.append(&encode(&records)).await.map(|()| records.len()),
            Some(_) | None => self.rewrite(tail).await,
        };
        let mut state = self.state.borrow_mut();
        state.writing = false;
        match outcome {
            Ok(count) => {
                state.queued.drain(..count);
                state.durable_to.0 += count as u64;
                Ok(())
            }
            Err(error) => {
                if error.reason != DiskErrorReason::NoSpace {
                    state.failed = Some(error.clone());
                }
                Err(error)
            }
        }
    }
    /// Replaces a full file, or none, by one with the live changes only, the queued ones among them. Returns how many were queued.
    async fn rewrite(&self, tail: &mut Option<Tail>) -> Result<usize, DiskError> {
        let (records, queued_count) = {
            let state = self.state.borrow();
            (state.live_records(), state.queued.len())
        };
        *tail = Some(file::create(&self.disk, &self.path, self.number, self.bytes, &records).await?);
        Ok(queued_count)
    }
}

impl State {
    fn keep(&mut self, id: PartitionId, change: EpochChange) {
        self.queued_to.0 += 1;
        let changes = self.live.entry(id).or_default();
        changes.retain(|(_, earlier)| !change.replaces(earlier));
        changes.push((self.queued_to, change));
    }
    fn live_records(&self) -> Vec<(PartitionId, EpochChange)> {
        let by_partition = self.live.iter();
        by_partition.flat_map(|(id, changes)| changes.iter().map(|(_, change)| (*id, *change))).collect()
    }
}

fn dir_of(data_dir: &Path) -> PathBuf {
    data_dir.join("epochs")
}
