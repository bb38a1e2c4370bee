//! The offset index.

use super::{ENTRIES_MAX, IndexError, entries, relative};

/// A batch, by its last offset, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Its last offset.
    pub offset: i64,
    /// Its first byte in the segment.
    pub position: u64,
}

/// Entries of some of a segment's batches, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetIndex {
    base_offset: i64,
    /// (offset less the base offset, position).
    entries: Vec<(u32, u32)>,
}

impl OffsetIndex {
    /// Without entries.
    pub fn new(base_offset: i64) -> OffsetIndex {
        OffsetIndex { base_offset, entries: Vec::new() }
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
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = OffsetEntry> + ExactSizeIterator + '_ {
        self.entries.iter().map(|&entry| self.entry(entry))
    }

    fn entry(&self, (offset, position): (u32, u32)) -> OffsetEntry {
        OffsetEntry { offset: self.base_offset.saturating_add(i64::from(offset)), position: u64::from(position) }
    }

    /// Adds the next entry. False: it has no room for it, or the entry does not lie beyond the last; nothing is changed.
    pub fn append(&mut self, entry: OffsetEntry) -> bool {
        let Some(offset) = relative(self.base_offset, entry.offset) else { return false };
        let Ok(position) = i32::try_from(entry.position) else { return false };
        let position = position as u32;
        let rises = self.entries.last().is_none_or(|last| last.0 < offset && last.1 < position);
        let has_room = self.entries.len() < ENTRIES_MAX;
        if rises && has_room {
            self.entries.push((offset, position));
        }
        rises && has_room
    }

    /// Where to begin to look for `offset`: the start of a batch at or before the one that holds it. 0 without an entry.
    pub fn lookup(&self, offset: i64) -> u64 {
        let after = self.entries.partition_point(|&entry| self.entry(entry).offset <= offset);
        after.checked_sub(1).map_or(0, |index| u64::from(self.entries[index].1))
    }

    /// The segment was cut: batches that end at or beyond `end_offset` are gone.
    pub fn truncate_to(&mut self, end_offset: i64) {
        let kept = self.entries.partition_point(|&entry| self.entry(entry).offset < end_offset);
        self.entries.truncate(kept);
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.entries
            .iter()
            .flat_map(|(offset, position)| [offset.to_be_bytes(), position.to_be_bytes()])
            .flatten()
            .collect()
    }

    /// Reads the bytes of the file of a segment that begins at `base_offset` and has `segment_bytes`.
    pub fn from_bytes(base_offset: i64, segment_bytes: u64, bytes: &[u8]) -> Result<OffsetIndex, IndexError> {
        let mut index = OffsetIndex::new(base_offset);
        let encoded = entries::<8>(bytes)?;
        index.entries.reserve_exact(encoded.len());
        for (number, [a, b, c, d, position @ ..]) in encoded.iter().enumerate() {
            let offset = u32::from_be_bytes([*a, *b, *c, *d]);
            let position = u32::from_be_bytes(*position);
            let is_inside =
                u64::from(position) < segment_bytes && offset <= i32::MAX as u32 && position <= i32::MAX as u32;
            if !is_inside || base_offset.checked_add(i64::from(offset)).is_none() {
                return Err(IndexError::Outside(number));
            }
            if !index.append(index.entry((offset, position))) {
                return Err(IndexError::NotRising(number));
            }
        }
        Ok(index)
    }
}
