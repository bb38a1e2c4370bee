//! Where in a segment which offset lies, and up to which time: Kafka's `.index` and `.timeindex`.
//!
//! *Which core*: the log's; tools.
//! *Invariants*: offsets and positions rise strictly along an offset index, timestamps strictly and offsets at least never fall
//! along a time index; both are bounded. Bytes from a file that break this are refused whole: an index can always be rebuilt.
//! *Not here*: when to write the files, and what is kept in memory of the active segment (`log`).
//! *Why* a batch's *last* offset stands in an entry, beside the position at which the batch begins: it is what Kafka's own tools
//! compare with. A look-up is still right: an entry at or below an offset lies at or before the batch that holds it.
//!
//! ```text
//! .index      offset less the segment's base offset u32 | position u32                big-endian, 8 bytes an entry
//! .timeindex  timestamp i64 | offset less the segment's base offset u32               big-endian, 12 bytes an entry
//! ```

mod offsets;
mod times;

pub use offsets::{OffsetEntry, OffsetIndex};
pub use times::{TimeEntry, TimeIndex};

use crate::batch::BatchHeader;

/// Kafka's default of `index.interval.bytes`.
pub const INTERVAL_BYTES: u64 = 4096;
/// Entries of one index at most: Kafka's default of `segment.index.bytes`, 10 MiB, in offset entries.
pub const ENTRIES_MAX: usize = (10 << 20) / 8;

/// Why bytes are no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The file ends within an entry.
    #[error("{bytes} bytes are no whole number of entries of {entry_bytes}")]
    Partial {
        /// Bytes of the file.
        bytes: usize,
        /// Bytes of an entry.
        entry_bytes: usize,
    },
    /// More than [`ENTRIES_MAX`].
    #[error("{0} entries are more than any index has")]
    TooMany(usize),
    /// An entry that does not lie beyond the one before it.
    #[error("entry {0} does not lie beyond the one before it")]
    NotRising(usize),
    /// An offset or a position that no segment has.
    #[error("entry {0} lies outside the segment")]
    Outside(usize),
}

/// Builds both indexes of a segment while its batches go by, as Kafka does: one entry each after every so many bytes.
#[derive(Clone, Debug)]
pub struct IndexBuilder {
    interval_bytes: u64,
    bytes_since_entry: u64,
    newest: Option<TimeEntry>,
    offsets: OffsetIndex,
    times: TimeIndex,
}

impl IndexBuilder {
    /// For the segment that begins at `base_offset`.
    pub fn new(base_offset: i64, interval_bytes: u64) -> IndexBuilder {
        IndexBuilder {
            interval_bytes,
            bytes_since_entry: 0,
            newest: None,
            offsets: OffsetIndex::new(base_offset),
            times: TimeIndex::new(base_offset),
        }
    }

    /// The next batch of the segment, which begins at byte `position`. What has no room in an index is left out of it, which
    /// costs a reader more scanning and nothing else.
    pub fn add(&mut self, batch: &BatchHeader, position: u64) {
        let offset = batch.last_offset();
        if self.newest.is_none_or(|newest| batch.max_timestamp > newest.timestamp) {
            self.newest = Some(TimeEntry { timestamp: batch.max_timestamp, offset });
        }
        if self.bytes_since_entry > self.interval_bytes {
            self.offsets.append(OffsetEntry { offset, position });
            self.append_newest();
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += batch.batch_bytes as u64;
    }

    fn append_newest(&mut self) {
        // -1 is "no timestamp".
        if let Some(newest) = self.newest.filter(|newest| newest.timestamp >= 0) {
            self.times.append(newest);
        }
    }

    /// The segment is complete: its indexes. The time index ends with its largest timestamp.
    pub fn finish(mut self) -> (OffsetIndex, TimeIndex) {
        self.append_newest();
        (self.offsets, self.times)
    }
}

/// An offset as an index keeps it, if it has room for it: less the segment's base offset, and as Kafka below 2^31.
fn relative(base_offset: i64, offset: i64) -> Option<u32> {
    offset
        .checked_sub(base_offset)
        .and_then(|relative| i32::try_from(relative).ok())
        .and_then(|r| u32::try_from(r).ok())
}

/// The entries of a file, after the checks that both kinds share.
fn entries<const N: usize>(bytes: &[u8]) -> Result<&[[u8; N]], IndexError> {
    let (entries, rest) = bytes.as_chunks::<N>();
    if !rest.is_empty() {
        return Err(IndexError::Partial { bytes: bytes.len(), entry_bytes: N });
    }
    if entries.len() > ENTRIES_MAX {
        return Err(IndexError::TooMany(entries.len()));
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
