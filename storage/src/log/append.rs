//! Appending: offsets are given here, and nowhere else.
//!
//! *Which core*: the log's.
//! *Invariants*: dense offsets; leader epochs never fall; the producer table advances with the append (lessons 12 to 14, 66 to 68).
//! *Not here*: checking a producer's batch (`batch::produced`) or its sequence (`producers`): done before, by the caller.

use super::Log;
use super::segment::Begun;
use crate::batch::{self, BatchError, BatchHeader};
use crate::ids::LeaderEpoch;

/// Where a batch was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of its first record.
    pub base_offset: i64,
    /// Offset of its last record.
    pub last_offset: i64,
}

/// Why nothing was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The disk is full; it may be tried again later.
    #[error("no space left")]
    NoSpace,
    /// A write failed before: the log takes nothing any more.
    #[error("the log is offline")]
    Offline,
}

/// Why a leader's batches were not appended, from the first that does not fit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// As for a leader.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Not the offset that comes next.
    #[error("a batch at offset {found}, {expected} comes next")]
    NotContiguous {
        /// The log's end.
        expected: i64,
        /// What came.
        found: i64,
    },
    /// An epoch older than the last one's.
    #[error("a batch of leader epoch {found:?} after one of {latest:?}")]
    EpochFell {
        /// The newest in the log.
        latest: LeaderEpoch,
        /// What came.
        found: LeaderEpoch,
    },
    /// No batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

impl Log {
    /// Appends one validated batch as the leader of `leader_epoch`: gives it the next offsets, copies it once. Not durable yet.
    pub fn append(
        &mut self,
        batch: &[u8],
        header: &BatchHeader,
        leader_epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.refuse_unless_writable()?;
        let placed = BatchHeader { base_offset: self.log_end_offset, leader_epoch, ..*header };
        assert!(self.epochs.latest().is_none_or(|latest| latest <= leader_epoch), "leader epochs never fall");
        let (base_offset, last_offset) = (placed.base_offset, placed.last_offset());
        self.push(batch, &placed, now_ms);
        Ok(Appended { base_offset, last_offset })
    }

    /// Appends a leader's batches as they are. The caller has checked their CRCs. Returns the new log end offset; on an error the
    /// batches before the one that does not fit are appended.
    pub fn append_as_follower(&mut self, batches: &[u8], now_ms: i64) -> Result<i64, FollowError> {
        let mut rest = batches;
        while !rest.is_empty() {
            self.refuse_unless_writable()?;
            let header = BatchHeader::parse(rest)?;
            if rest.len() < header.batch_bytes {
                return Err(BatchError::Truncated { have: rest.len(), need: header.batch_bytes }.into());
            }
            let (record_count, last_offset_delta) = (header.record_count, header.last_offset_delta);
            if last_offset_delta < 0 {
                return Err(BatchError::Count { record_count, last_offset_delta }.into());
            }
            if header.base_offset != self.log_end_offset {
                return Err(FollowError::NotContiguous { expected: self.log_end_offset, found: header.base_offset });
            }
            if let Some(latest) = self.epochs.latest().filter(|latest| *latest > header.leader_epoch) {
                return Err(FollowError::EpochFell { latest, found: header.leader_epoch });
            }
            let (batch, after) = rest.split_at(header.batch_bytes);
            self.push(batch, &header, now_ms);
            rest = after;
        }
        Ok(self.log_end_offset)
    }

    fn refuse_unless_writable(&self) -> Result<(), AppendError> {
        if self.offline.is_some() {
            return Err(AppendError::Offline);
        }
        if self.no_space { Err(AppendError::NoSpace) } else { Ok(()) }
    }

    /// Puts a batch, whose header is as it is to be stored, at the end of the log.
    fn push(&mut self, bytes: &[u8], header: &BatchHeader, now_ms: i64) {
        assert_eq!(bytes.len(), header.batch_bytes, "one whole batch");
        assert!(self.truncating_to.is_none(), "an append while the log is being cut");
        if self.is_full_for(header) {
            self.roll();
        }
        let active = self.segments.back_mut().expect("a log has a segment");
        let slot = self.tail.push(&active.file, active.bytes, header, bytes);
        batch::assign(slot, header.base_offset, header.leader_epoch);
        active.begun.get_or_insert(Begun { at_ms: now_ms, max_timestamp: header.max_timestamp });
        active.grow(header);
        self.settled.bytes_since += bytes.len() as u64;
        self.epochs.assign(header.leader_epoch, header.base_offset);
        self.producers.advance(header, now_ms);
        self.log_end_offset = header.end_offset();
        self.assert_ladder();
    }

    /// Must the active segment be rolled before this batch? By size, by the time that its records span (as Kafka counts it: by
    /// their timestamps), or because index entries are 32 bits wide.
    fn is_full_for(&self, header: &BatchHeader) -> bool {
        let active = self.active();
        let bytes_after = active.bytes + header.batch_bytes as u64;
        let span_ms = active.begun.map_or(0, |begun| header.max_timestamp.saturating_sub(begun.max_timestamp));
        active.bytes > 0
            && (bytes_after > self.config.segment_bytes
                || bytes_after > i32::MAX as u64
                || header.last_offset() - active.base_offset > i64::from(i32::MAX)
                || span_ms > self.config.segment_ms)
    }
}
