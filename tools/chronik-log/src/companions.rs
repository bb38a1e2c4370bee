//! The small files beside the segments: do they say what the segments say?
//!
//! Invariants: what may lag behind the log may lag here, too; only what contradicts it is bad. All of these can be made anew from the
//! log, and the broker does so.

use storage::batch::BatchHeader;
use storage::epochs::EpochCache;
use storage::index::{OffsetEntry, OffsetIndex, TimeEntry, TimeIndex};

/// The name of the file that says which epoch wrote from where on.
pub const EPOCHS_NAME: &str = "leader-epoch-checkpoint";

/// A batch, as far as an index speaks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: u64,
    last_offset: i64,
    max_timestamp: i64,
}

/// What there is in a segment, to compare its indexes with.
#[derive(Clone, Debug)]
pub struct Places {
    base_offset: i64,
    places: Vec<Place>,
    end_offset: i64,
    bytes: u64,
}

impl Places {
    /// Of a segment that begins at `base_offset`.
    pub fn new(base_offset: i64) -> Places {
        Places { base_offset, places: Vec::new(), end_offset: base_offset, bytes: 0 }
    }

    /// Its next batch.
    pub fn add(&mut self, position: usize, header: &BatchHeader) {
        let (position, last_offset, max_timestamp) = (position as u64, header.last_offset(), header.max_timestamp);
        self.places.push(Place { position, last_offset, max_timestamp });
        self.end_offset = header.end_offset();
        self.bytes = position + header.batch_bytes as u64;
    }

    /// What is wrong with the bytes of its `.index`.
    pub fn check_offsets(&self, bytes: &[u8]) -> Result<(), String> {
        let index = OffsetIndex::from_bytes(self.base_offset, self.bytes, bytes).map_err(|error| error.to_string())?;
        let is_right = |entry: &OffsetEntry| {
            let found = self.places.binary_search_by_key(&entry.position, |place| place.position);
            found.is_ok_and(|found| self.places[found].last_offset == entry.offset)
        };
        match index.iter().enumerate().find(|(_, entry)| !is_right(entry)) {
            Some((number, OffsetEntry { offset, position })) => {
                Err(format!("entry {number}: no batch that ends with offset {offset} begins at byte {position}"))
            }
            None => Ok(()),
        }
    }

    /// What is wrong with the bytes of its `.timeindex`.
    pub fn check_times(&self, bytes: &[u8]) -> Result<(), String> {
        let index =
            TimeIndex::from_bytes(self.base_offset, self.end_offset, bytes).map_err(|error| error.to_string())?;
        let is_right = |entry: &TimeEntry| {
            let found = self.places.binary_search_by_key(&entry.offset, |place| place.last_offset);
            found.is_ok_and(|found| self.places[found].max_timestamp == entry.timestamp)
        };
        match index.iter().enumerate().find(|(_, entry)| !is_right(entry)) {
            Some((number, TimeEntry { timestamp, offset })) => {
                Err(format!("entry {number}: no batch with timestamp {timestamp} ends with offset {offset}"))
            }
            None => Ok(()),
        }
    }
}

/// What is wrong with a batch by what the epochs' file says. That is written after the log and may know less, but a batch cannot be
/// older than it says.
pub fn check_epoch(epochs: &EpochCache, header: &BatchHeader) -> Result<(), String> {
    match epochs.epoch_at(header.base_offset) {
        Some(said) if said > header.leader_epoch => {
            let (offset, found) = (header.base_offset, header.leader_epoch.0);
            Err(format!("epoch {} wrote offset {offset}, it says; the batch there has epoch {found}", said.0))
        }
        _ => Ok(()),
    }
}
