//! A change of a partition's leader epochs, and its 40 bytes.
//!
//! *Which core*: any.
//! *Invariants*: a record counts only if its CRC and its values are right; zeros are none.
//!
//! ```text
//!  0 crc32c u32 (of 4..40)    8 topic id, 16 bytes    28 epoch i32 (a cut: -1)
//!  4 kind u8 (1 begin, 2 cut) 24 partition i32        32 offset i64
//!  5 zeros                                            all big-endian
//! ```

use crate::epochs::EpochCache;
use crate::ids::{LeaderEpoch, PartitionId, TopicId};
use uuid::Uuid;

/// Size of a record.
pub(super) const RECORD_BYTES: usize = 40;

/// A change of one partition's leader epochs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochChange {
    /// The epoch writes from this offset on.
    Begin {
        /// The epoch.
        epoch: LeaderEpoch,
        /// Its first offset.
        start_offset: i64,
    },
    /// The log was cut to this end: epochs that began there or later are gone.
    Cut {
        /// The log's end offset afterwards.
        end_offset: i64,
    },
}

impl EpochChange {
    fn offset(self) -> i64 {
        match self {
            EpochChange::Begin { start_offset, .. } => start_offset,
            EpochChange::Cut { end_offset } => end_offset,
        }
    }
    fn is_valid(self) -> bool {
        let epoch_is_valid = match self {
            EpochChange::Begin { epoch, .. } => epoch.0 >= 0,
            EpochChange::Cut { .. } => true,
        };
        epoch_is_valid && self.offset() >= 0
    }
    /// Changes a log's epochs.
    pub(crate) fn apply(self, epochs: &mut EpochCache) {
        match self {
            EpochChange::Begin { epoch, start_offset } => epochs.assign(epoch, start_offset),
            EpochChange::Cut { end_offset } => epochs.truncate_from_end(end_offset),
        }
    }
    /// What is recorded is what can be read back.
    pub(super) fn check(self) {
        assert!(self.is_valid(), "{self:?}");
    }
    /// Does an earlier change of the same partition not matter once this one is recorded?
    pub(super) fn replaces(self, earlier: &EpochChange) -> bool {
        match (self, earlier) {
            // An epoch that began at or after the offset wrote nothing that is left.
            (_, EpochChange::Begin { start_offset, .. }) => *start_offset >= self.offset(),
            (EpochChange::Cut { end_offset }, EpochChange::Cut { end_offset: before }) => *before >= end_offset,
            (EpochChange::Begin { .. }, EpochChange::Cut { .. }) => false,
        }
    }
    /// Appends this to a partition's changes, less those that it replaces.
    pub(super) fn append_to(self, changes: &mut Vec<EpochChange>) {
        changes.retain(|earlier| !self.replaces(earlier));
        changes.push(self);
    }
}

/// The records' bytes, back to back.
pub(super) fn encode(records: &[(PartitionId, EpochChange)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
    for (id, change) in records {
        let (kind, epoch) = match change {
            EpochChange::Begin { epoch, .. } => (1, epoch.0),
            EpochChange::Cut { .. } => (2, -1),
        };
        let mut record = [0; RECORD_BYTES];
        record[4] = kind;
        record[8..24].copy_from_slice(id.topic_id.0.as_bytes());
        record[24..28].copy_from_slice(&id.partition.to_be_bytes());
        record[28..32].copy_from_slice(&epoch.to_be_bytes());
        record[32..40].copy_from_slice(&change.offset().to_be_bytes());
        let crc = crc32c::crc32c(&record[4..]);
        record[..4].copy_from_slice(&crc.to_be_bytes());
        bytes.extend_from_slice(&record);
    }
    bytes
}

/// The record that these bytes are, if they are one.
pub(super) fn decode(bytes: &[u8]) -> Option<(PartitionId, EpochChange)> {
    let (record, _) = bytes.split_first_chunk::<RECORD_BYTES>()?;
    let u32_at = |at: usize| u32::from_be_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
    let offset = (i64::from(u32_at(32)) << 32) | i64::from(u32_at(36));
    let change = match record[4] {
        1 => EpochChange::Begin { epoch: LeaderEpoch(u32_at(28) as i32), start_offset: offset },
        2 => EpochChange::Cut { end_offset: offset },
        // Most of a journal is zeros: no CRC for those.
        _ => return None,
    };
    if u32_at(0) != crc32c::crc32c(&record[4..]) {
        return None;
    }
    let topic_id = TopicId(Uuid::from_slice(&record[8..24]).ok()?);
    let partition = u32_at(24) as i32;
    (partition >= 0 && change.is_valid()).then_some((PartitionId { topic_id, partition }, change))
}
