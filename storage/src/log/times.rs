//! Offsets by time: the first record at or after a timestamp, and the newest record.
//!
//! *Which core*: the log's; a plan runs beside it.
//! *Invariants*: exact to the record; only records below the limit are found; batches are checked as for a read.
//! *Not here*: earliest and latest (offsets).
//! *Why* from disk even where memory has it: these are rare, and everything below the limit is flushed.

use std::collections::VecDeque;

use super::Log;
use super::read::ReadError;
use super::read_disk::{DiskRead, Found, Start};
use crate::ids::LeaderEpoch;
use crate::records::{Records, RecordsError};

/// What a batch may take decompressed.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// A record that was looked for by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, ms since the Unix epoch.
    pub timestamp: i64,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
}

/// A search by time; it owns what it needs.
pub struct TimePlan {
    query: Query,
    /// Where to look, in order, each with the offset from which on.
    segments: VecDeque<DiskRead>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Query {
    AtOrAfter(i64),
    Newest,
}

impl TimePlan {
    /// Searches. `None`: there is no such record below the limit.
    pub async fn execute(self) -> Result<Option<FoundOffset>, ReadError> {
        let mut newest: Option<FoundOffset> = None;
        for mut segment in self.segments {
            match self.query {
                Query::AtOrAfter(timestamp) => {
                    if segment.skip_to_time(timestamp).await? {
                        continue;
                    }
                    if let Some(batch) = segment.find(|header| header.max_timestamp >= timestamp).await? {
                        let found = segment.in_batch(&batch, |records| records.first_since(timestamp))?;
                        return Ok(Some(found));
                    }
                }
                Query::Newest => {
                    let known = newest.map_or(-1, |newest| newest.timestamp);
                    if segment.skip_to_time(known.saturating_add(1)).await? {
                        continue;
                    }
                    if let Some(batch) = segment.find_newest(known).await? {
                        newest = Some(segment.in_batch(&batch, |records| records.newest())?);
                    }
                }
            }
        }
        Ok(newest)
    }
}

impl DiskRead {
    /// Begins at the earliest batch that may have a record at or after `timestamp`, as far as an index file says. True: none has.
    async fn skip_to_time(&mut self, timestamp: i64) -> Result<bool, ReadError> {
        if !matches!(self.start, Start::IndexFile) {
            return Ok(false);
        }
        let Some(index) = self.cache.index(&self.source).await? else { return Ok(false) };
        if let Some(offset) = index.lookup_time(timestamp) {
            self.from_offset = self.from_offset.max(offset);
        }
        Ok(index.newest().is_none_or(|(newest, _)| newest < timestamp))
    }
    /// The record of `batch` that `wanted` finds: the header says that there is one.
    fn in_batch(
        &self,
        batch: &Found,
        wanted: impl Fn(&Records<'_>) -> Result<Option<(i64, i64)>, RecordsError>,
    ) -> Result<FoundOffset, ReadError> {
        let found = Records::of(&batch.bytes, DECOMPRESSED_BYTES_MAX).and_then(|records| wanted(&records));
        let (leader_epoch, header) = (batch.header.leader_epoch, &batch.header);
        match found {
            Ok(Some((offset, timestamp))) => Ok(FoundOffset { offset, timestamp, leader_epoch }),
            // Stored as its producer sent it, and never looked into: the batch itself is the answer.
            Ok(None) | Err(_) => {
                let (offset, timestamp) = (header.base_offset, header.max_timestamp);
                Ok(FoundOffset { offset, timestamp, leader_epoch })
            }
        }
    }
}

impl Log {
    /// A search for the first record at or after `timestamp` (ms since the Unix epoch) below `limit_end_offset`.
    pub fn timestamp_plan(&self, timestamp: i64, limit_end_offset: i64) -> Result<TimePlan, ReadError> {
        self.time_plan(Query::AtOrAfter(timestamp), limit_end_offset)
    }
    /// A search for the first record with the largest timestamp below `limit_end_offset` (KIP-734).
    pub fn max_timestamp_plan(&self, limit_end_offset: i64) -> Result<TimePlan, ReadError> {
        self.time_plan(Query::Newest, limit_end_offset)
    }

    fn time_plan(&self, query: Query, limit_end_offset: i64) -> Result<TimePlan, ReadError> {
        if self.offline.is_some() {
            return Err(ReadError::Offline);
        }
        let limit_end = limit_end_offset.min(self.flushed_end_offset);
        let mut segments = VecDeque::new();
        for (index, segment) in self.segments.iter().enumerate() {
            let from_offset = segment.base_offset.max(self.log_start_offset);
            let end_offset = self.segment_end_offset(index).min(limit_end);
            let skipped = match (query, segment.max_timestamp) {
                (Query::AtOrAfter(timestamp), Some(max)) => max < timestamp,
                (Query::AtOrAfter(_), None) | (Query::Newest, _) => false,
            };
            if from_offset >= end_offset || skipped {
                continue;
            }
            let by_time = match query {
                Query::AtOrAfter(timestamp) => segment.index.as_ref().and_then(|index| index.lookup_time(timestamp)),
                Query::Newest => None,
            };
            // An index may name a batch above the limit, when there is nothing to find below it.
            let from_offset = by_time.map_or(from_offset, |offset| offset.clamp(from_offset, end_offset - 1));
            segments.push_back(self.flushed_read(from_offset, end_offset));
        }
        Ok(TimePlan { query, segments })
    }
}
