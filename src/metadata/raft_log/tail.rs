//! The log's tail in memory: what raft reads.
//!
//! *Which core*: metadata.
//! *Invariants*: entries follow `truncated` without a gap; everything above the applied index is here; below it, at most
//! [`TAIL_BYTES_MAX`] are kept for followers that are a little behind, [`TAIL_BYTES_FOR_SLOW_MAX`] for those that are slow, and nothing above the last snapshot is ever missing both
//! here and in it.
//! *Not here*: disk. *Why* everything raft reads is in memory: its reads are synchronous, and metadata is small.

use std::cell::Cell;
use std::collections::VecDeque;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// Bytes of applied entries that stay in memory.
pub const TAIL_BYTES_MAX: usize = 4 << 20;
/// The same while a follower that is heard still needs them: a snapshot would cost it more.
pub const TAIL_BYTES_FOR_SLOW_MAX: usize = 32 << 20;

/// A snapshot as followers get it.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotImage {
    /// Index of the last entry in it.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The group's members as of it.
    pub conf_state: ConfState,
    /// The image's bytes.
    pub image: Bytes,
}

/// See the module.
pub struct Tail {
    hard_state: HardState,
    conf_state: ConfState,
    truncated: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: usize,
    snapshot: Option<SnapshotImage>,
    snapshot_wanted: Cell<bool>,
}

impl Tail {
    /// A tail that begins after `truncated` (index, term), without entries.
    pub fn new(hard_state: HardState, conf_state: ConfState, truncated: (u64, u64)) -> Tail {
        let (entries, snapshot, snapshot_wanted) = (VecDeque::new(), None, Cell::new(false));
        Tail { hard_state, conf_state, truncated, entries, bytes: 0, snapshot, snapshot_wanted }
    }

    /// Term, vote and commit index.
    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    /// Sets them.
    pub fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    /// The group's members.
    pub fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    /// Index of the last entry; of the entry before the first where there is none.
    pub fn last_index(&self) -> u64 {
        self.truncated.0 + self.entries.len() as u64
    }

    /// Term of the last entry.
    pub fn last_term(&self) -> u64 {
        self.entries.back().map_or(self.truncated.1, |entry| entry.term)
    }

    /// Appends consecutive entries, in place of all that were at or above the first one's index.
    ///
    /// # Errors
    /// Entries that would leave a gap, reach below `truncated`, or whose terms fall.
    pub fn append(&mut self, entries: impl IntoIterator<Item = Entry>) -> Result<(), String> {
        for entry in entries {
            let (index, term) = (entry.index, entry.term);
            if index <= self.truncated.0 || index > self.last_index() + 1 {
                return Err(format!("entry {index} after entries {} to {}", self.truncated.0 + 1, self.last_index()));
            }
            while self.last_index() >= index {
                self.bytes -= self.entries.pop_back().as_ref().map_or(0, entry_bytes);
            }
            if term < self.last_term() {
                return Err(format!("entry {index} of term {term} after one of term {}", self.last_term()));
            }
            self.bytes += entry_bytes(&entry);
            self.entries.push_back(entry);
        }
        Ok(())
    }

    /// The entries above `index`.
    pub fn entries_above(&self, index: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.index > index).cloned().collect()
    }

    /// The term of an entry, if it is known here.
    pub fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.truncated.0 {
            return Some(self.truncated.1);
        }
        let slot = index.checked_sub(self.truncated.0 + 1)?;
        self.entries.get(usize::try_from(slot).ok()?).map(|entry| entry.term)
    }

    /// Forgets entries up to `index`, the oldest first, as long as more than `bytes_max` are kept.
    pub fn trim(&mut self, index: u64, bytes_max: usize) {
        while self.bytes > bytes_max && self.truncated.0 < index {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry_bytes(&entry);
            self.truncated = (entry.index, entry.term);
        }
    }

    /// Forgets all entries: a snapshot from the leader takes their place.
    pub fn restart_at(&mut self, snapshot: SnapshotImage) {
        self.entries.clear();
        self.bytes = 0;
        self.truncated = (snapshot.index, snapshot.term);
        self.conf_state = snapshot.conf_state.clone();
        self.hard_state.commit = self.hard_state.commit.max(snapshot.index);
        self.hard_state.term = self.hard_state.term.max(snapshot.term);
        self.snapshot = Some(snapshot);
    }

    /// The last snapshot, for followers.
    pub fn snapshot_image(&self) -> Option<&SnapshotImage> {
        self.snapshot.as_ref()
    }

    /// There is a newer snapshot.
    pub fn set_snapshot(&mut self, snapshot: SnapshotImage) {
        self.snapshot = Some(snapshot);
    }

    /// Did a follower need a snapshot that is not there?
    pub fn snapshot_is_wanted(&self) -> bool {
        self.snapshot_wanted.get()
    }

    /// As [`Tail::snapshot_is_wanted`]; asking takes it back.
    pub fn take_snapshot_wanted(&self) -> bool {
        self.snapshot_wanted.take()
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.data.len() + entry.context.len()
}

impl Storage for Tail {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last_index() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let slot = |index: u64| usize::try_from(index - self.truncated.0 - 1).unwrap_or(usize::MAX);
        let mut room = max_size.into().map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut taken = Vec::new();
        for entry in self.entries.range(slot(low)..slot(high)) {
            let bytes = entry_bytes(entry);
            if bytes > room && !taken.is_empty() {
                break;
            }
            room = room.saturating_sub(bytes);
            taken.push(entry.clone());
        }
        Ok(taken)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let missing = if index < self.truncated.0 { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_of(index).ok_or_else(|| missing.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(Tail::last_index(self))
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        // One that ends before the first entry kept would be followed by a gap.
        let needed = request_index.max(self.truncated.0);
        let Some(held) = self.snapshot.as_ref().filter(|held| held.index >= needed) else {
            self.snapshot_wanted.set(true);
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        };
        let mut snapshot = Snapshot { data: held.image.clone(), ..Snapshot::default() };
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (held.index, held.term);
        *metadata.mut_conf_state() = held.conf_state.clone();
        Ok(snapshot)
    }
}
