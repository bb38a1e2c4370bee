//! The time index.

use super::{ENTRIES_MAX, IndexError, entries, relative};

/// The largest timestamp up to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeEntry {
    /// Milliseconds since the Unix epoch; no record up to `offset` is later.
    pub timestamp: i64,
    /// The last offset of the first batch that is as late.
    pub offset: i64,
}

/// Timestamps along a segment, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeIndex {
    base_offset: i64,
    /// (timestamp, offset less the base offset).
    entries: Vec<(i64, u32)>,
}

impl TimeIndex {
    /// Without entries.
    pub fn new(base_offset: i64) -> TimeIndex {
        TimeIndex { base_offset, entries: Vec::new() }
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = TimeEntry> + ExactSizeIterator + '_ {
        self.entries.iter().map(|&entry| self.entry(entry))
    }

    fn entry(&self, (timestamp, offset): (i64, u32)) -> TimeEntry {
        TimeEntry { timestamp, offset: self.base_offset.saturating_add(i64::from(offset)) }
    }

    /// Adds the next entry. False: it has no room for it, or it is not later than the last; nothing is changed.
    pub fn append(&mut self, entry: TimeEntry) -> bool {
        let Some(offset) = relative(self.base_offset, entry.offset) else { return false };
        let rises = self.entries.last().is_none_or(|last| last.0 < entry.timestamp && last.1 <= offset);
        let has_room = self.entries.len() < ENTRIES_MAX;
        if rises && has_room {
            self.entries.push((entry.timestamp, offset));
        }
        rises && has_room
    }

    /// The offset from which on to look for the first record at or after `timestamp`: all records of earlier batches are
    /// older. `None`: look from the segment's beginning.
    pub fn lookup(&self, timestamp: i64) -> Option<i64> {
        let after = self.entries.partition_point(|entry| entry.0 <= timestamp);
        after.checked_sub(1).map(|index| self.entry(self.entries[index]).offset)
    }

    /// The largest timestamp, which a sealed segment's index ends with.
    pub fn newest(&self) -> Option<TimeEntry> {
        self.entries.last().map(|&entry| self.entry(entry))
    }

    /// The segment was cut: batches that end at or beyond `end_offset` are gone.
    pub fn truncate_to(&mut self, end_offset: i64) {
        let kept = self.entries.partition_point(|&entry| self.entry(entry).offset < end_offset);
        self.entries.truncate(kept);
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * 12);
        for (timestamp, offset) in &self.entries {
            out.extend(timestamp.to_be_bytes());
            out.extend(offset.to_be_bytes());
        }
        out
    }

    /// Reads the bytes of the file of a segment that begins at `base_offset` and ends before `end_offset`.
    pub fn from_bytes(base_offset: i64, end_offset: i64, bytes: &[u8]) -> Result<TimeIndex, IndexError> {
        let mut index = TimeIndex::new(base_offset);
        let encoded = entries::<12>(bytes)?;
        index.entries.reserve_exact(encoded.len());
        for (number, [timestamp @ .., a, b, c, d]) in encoded.iter().enumerate() {
            let offset = u32::from_be_bytes([*a, *b, *c, *d]);
            let is_inside = offset <= i32::MAX as u32
                && base_offset.checked_add(i64::from(offset)).is_some_and(|offset| offset < end_offset);
            if !is_inside {
                return Err(IndexError::Outside(number));
            }
            if !index.append(index.entry((i64::from_be_bytes(*timestamp), offset))) {
                return Err(IndexError::NotRising(number));
            }
        }
        Ok(index)
    }
}
