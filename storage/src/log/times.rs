//! Offsets by time: the first record at or after a timestamp, and the newest record.
//!
//! *Which core*: the log's; a plan runs beside it.
//! *Invariants*: exact to the record; only records below the limit are found; batches are checked as for a read.
//! *Not here*: earliest and latest (offsets).
//! *Why* from disk even where memory has it: these are rare, and everything below the limit is flushed.

use std::collections::VecDeque;

use super::Log;
use super::read::ReadError;
use super::read_disk::{DiskRead, Found};
use super::segment::Segment;
use super::sparse::SparseIndex;
use crate::ids::LeaderEpoch;

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
        for segment in self.segments {
            match self.query {
                Query::AtOrAfter(timestamp) => {
                    let found = segment.find(|header| header.max_timestamp >= timestamp).await?;
                    if let Some(found) = found {
                        return first_at_or_after(&found, timestamp).map(Some);
                    }
                }
                Query::Newest => {
                    let known = newest.map_or(-1, |newest| newest.timestamp);
                    if let Some(found) = segment.find_newest(known).await? {
                        newest = Some(first_at_or_after(&found, found.header.max_timestamp)?);
                    }
                }
            }
        }
        Ok(newest)
    }
}

/// The first record of the batch that is not older than `timestamp`; its newest record is not.
fn first_at_or_after(found: &Found, timestamp: i64) -> Result<FoundOffset, ReadError> {
    let header = &found.header;
    let leader_epoch = header.leader_epoch;
    if header.base_timestamp >= timestamp {
        return Ok(FoundOffset { offset: header.base_offset, timestamp: header.base_timestamp, leader_epoch });
    }
    Ok(FoundOffset { offset: header.last_offset(), timestamp: header.max_timestamp, leader_epoch })
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
        let may_match = |segment: &&Segment| match query {
            Query::AtOrAfter(timestamp) => segment.max_timestamp.is_none_or(|max| max >= timestamp),
            Query::Newest => true,
        };
        let from = |segment: &Segment| {
            let by_time = |index: &SparseIndex| match query {
                Query::AtOrAfter(timestamp) => index.lookup_time(timestamp),
                Query::Newest => None,
            };
            segment.index.as_ref().and_then(by_time).unwrap_or(segment.base_offset).max(self.log_start_offset)
        };
        let below = self.segments.iter().filter(|segment| segment.base_offset < limit_end && segment.bytes > 0);
        let reads = below.filter(may_match).map(|segment| (from(segment), segment.file.key));
        let reads: Vec<(i64, u64)> = reads.collect();
        let plan = |(from_offset, key): (i64, u64)| {
            let read = self.flushed_read(from_offset, limit_end);
            (read.file.key == key).then_some(read)
        };
        Ok(TimePlan { query, segments: reads.into_iter().filter_map(plan).collect() })
    }
}
