//! Where in a segment which offset lies, and up to which time: every so many bytes one entry.
//!
//! *Which core*: the log's.
//! *Invariants*: offsets and positions rise strictly, and so do times; at most [`ENTRIES_MAX`] entries of each kind.
//! *Not here*: the files' bytes (`index`), and who loads and writes them (seal, cache).
//! *Why* thinning: a partition's share of memory must not grow with its segments, and a reader that starts some 100 KiB early
//! pays less than one disk access. *Why* last offsets: Kafka's files hold them, and its tools check them.

use crate::index::{OffsetEntry, OffsetIndex, TimeEntry, TimeIndex};

/// Beyond this every other entry goes.
const ENTRIES_MAX: usize = 8192;

/// A batch that an index names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its last offset.
    pub(super) last_offset: i64,
    /// Where it begins.
    pub(super) position: u64,
}

/// The index of one segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SparseIndex {
    places: Vec<Place>,
    /// (largest timestamp so far, last offset of the first batch that has it).
    times: Vec<(i64, i64)>,
    interval_bytes: u64,
    next_position: u64,
    /// Largest timestamp so far and whose; maybe not yet among `times`.
    newest: Option<(i64, i64)>,
}

impl SparseIndex {
    pub(super) fn new(interval_bytes: u64) -> SparseIndex {
        SparseIndex { interval_bytes: interval_bytes.max(1), ..SparseIndex::default() }
    }

    /// A batch lies at `position`; in order.
    pub(super) fn add(&mut self, last_offset: i64, position: u64, max_timestamp: i64) {
        if self.newest.is_none_or(|(newest, _)| max_timestamp > newest) {
            self.newest = Some((max_timestamp, last_offset));
        }
        if position < self.next_position {
            return;
        }
        self.places.push(Place { last_offset, position });
        self.note_time();
        if self.places.len() > ENTRIES_MAX {
            self.thin();
        }
        self.next_position = position + self.interval_bytes;
    }
    fn note_time(&mut self) {
        if let Some(newest) = self.newest
            && self.times.last().is_none_or(|(time, _)| newest.0 > *time)
        {
            self.times.push(newest);
        }
    }
    /// Every other entry goes. Of the times the newest stays; one that is dropped is only looked for a little earlier.
    fn thin(&mut self) {
        let mut number = 0;
        self.places.retain(|_| {
            number += 1;
            number % 2 == 1
        });
        let (mut number, last) = (0, self.times.len());
        self.times.retain(|_| {
            number += 1;
            number % 2 == 0 || number == last
        });
        self.interval_bytes *= 2;
    }
    /// Thins until at most so many entries of a kind are left, and gives their memory back.
    pub(super) fn shrink(&mut self, entries_max: usize) {
        while self.places.len().max(self.times.len()) > entries_max {
            self.thin();
        }
        self.places.shrink_to_fit();
        self.times.shrink_to_fit();
    }
    /// Memory that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>() + self.times.capacity() * size_of::<(i64, i64)>()
    }

    /// The nearest known batch whose last offset is at or below `offset`: the batch that holds `offset` is that one or comes later.
    pub(super) fn lookup(&self, offset: i64) -> Option<Place> {
        let after = self.places.partition_point(|place| place.last_offset <= offset);
        after.checked_sub(1).map(|index| self.places[index])
    }
    /// Largest timestamp of any batch, and the last offset of the first that has it.
    pub(super) fn newest(&self) -> Option<(i64, i64)> {
        self.newest
    }
    /// The offset from which on to look for the first record at or after `timestamp`: nothing earlier is as late.
    pub(super) fn lookup_time(&self, timestamp: i64) -> Option<i64> {
        let after = self.times.partition_point(|(time, _)| *time <= timestamp);
        after.checked_sub(1).map(|index| self.times[index].1)
    }
    /// The segment is to be gone through again from `place` on: later places go, times as they are stay.
    pub(super) fn restart_at(&mut self, place: Place) {
        self.places.retain(|known| known.position <= place.position);
        self.next_position = place.position + self.interval_bytes;
    }
    /// The segment is cut somewhere after `place`: what comes later goes, and what of it stays is to be added again.
    pub(super) fn truncate(&mut self, place: Place) {
        self.restart_at(place);
        self.times.retain(|(_, offset)| *offset <= place.last_offset);
        self.newest = self.times.last().copied();
    }

    /// As the files hold it, of a segment that begins at `base_offset`.
    pub(super) fn to_files(&self, base_offset: i64) -> (OffsetIndex, TimeIndex) {
        let (mut offsets, mut times) = (OffsetIndex::new(base_offset), TimeIndex::new(base_offset));
        for place in &self.places {
            offsets.append(OffsetEntry { offset: place.last_offset, position: place.position });
        }
        // What does not fit into an index is left out of it: -1, for "no timestamp", at its beginning.
        for (timestamp, offset) in self.times.iter().copied().chain(self.newest).filter(|(time, _)| *time >= 0) {
            times.append(TimeEntry { timestamp, offset });
        }
        (offsets, times)
    }
    /// What the files hold.
    pub(super) fn from_files(offsets: &OffsetIndex, times: &TimeIndex, interval_bytes: u64) -> SparseIndex {
        let mut read = SparseIndex::new(interval_bytes);
        read.places.extend(offsets.iter().map(|entry| Place { last_offset: entry.offset, position: entry.position }));
        read.times.extend(times.iter().map(|entry| (entry.timestamp, entry.offset)));
        while read.places.len().max(read.times.len()) > ENTRIES_MAX {
            read.thin();
        }
        read.newest = read.times.last().copied();
        read.next_position = read.places.last().map_or(0, |last| last.position + read.interval_bytes);
        read
    }
}
