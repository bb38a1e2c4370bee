//! Offsets by time, ends of epochs, and giving up records.

use std::rc::Rc;

use crate::message::{
    DeleteRecordsError, DeleteRecordsPart, EpochEndOutcome, EpochEndPart, FetchError, FoundOffset, ListOffsetsError,
    ListOffsetsOutcome, ListOffsetsPart, OffsetQuery,
};
use crate::model::LeaderEpoch;
use crate::partition::Leader;
use crate::partition::ladder::LogStartOffset;
use crate::shard::fetch::read_error;
use crate::shard::{Hosted, Shard};

impl Shard {
    /// Finds the offsets asked for, part by part.
    pub async fn list_offsets(&self, parts: Vec<ListOffsetsPart>) -> Vec<ListOffsetsOutcome> {
        let mut outcomes = Vec::with_capacity(parts.len());
        for part in parts {
            outcomes.push(self.list_offset(part).await);
        }
        outcomes
    }

    async fn list_offset(&self, part: ListOffsetsPart) -> ListOffsetsOutcome {
        let (plan, log_start, high_watermark) = {
            let state = &mut *self.state.borrow_mut();
            let hosted = state.led(part.partition, part.current_leader_epoch)?;
            let (log_start, high) = (hosted.role.ladder().log_start().0, hosted.role.ladder().high_watermark().0);
            let plan = match part.query {
                OffsetQuery::Earliest => return Ok(Some(end_of(hosted, log_start))),
                OffsetQuery::Latest if !hosted.role.leader().is_some_and(Leader::knows_high_watermark) => {
                    return Err(ListOffsetsError::OffsetNotAvailable);
                }
                OffsetQuery::Latest => return Ok(Some(end_of(hosted, high))),
                OffsetQuery::MaxTimestamp => hosted.log.max_timestamp_plan(high),
                OffsetQuery::AtOrAfter(timestamp) => hosted.log.timestamp_plan(timestamp, high),
            };
            (plan.map_err(|error| read_error(error, log_start, high))?, log_start, high)
        };
        let found = plan.execute().await.map_err(|error| read_error(error, log_start, high_watermark))?;
        Ok(found.map(|found| FoundOffset {
            offset: found.offset,
            timestamp: found.timestamp,
            leader_epoch: Some(found.leader_epoch),
        }))
    }

    /// Where epochs ended.
    pub fn epoch_ends(&self, parts: &[EpochEndPart]) -> Vec<EpochEndOutcome> {
        let state = &mut *self.state.borrow_mut();
        let end = |part: &EpochEndPart| {
            let hosted = state.led(part.partition, part.current_leader_epoch)?;
            let log_end = hosted.role.ladder().log_end().0;
            Ok(hosted.log.epochs().end_offset_for(part.leader_epoch, log_end))
        };
        parts.iter().map(end).collect()
    }

    /// Raises log start offsets, durably: after the answer no restart brings the records back.
    pub async fn delete_records(
        self: &Rc<Self>,
        parts: Vec<DeleteRecordsPart>,
    ) -> Vec<Result<i64, DeleteRecordsError>> {
        let outcomes: Vec<_> = parts.iter().map(|part| self.trim(part)).collect();
        if outcomes.iter().any(Result::is_ok) {
            self.write_checkpoint().await;
        }
        outcomes
    }

    fn trim(&self, part: &DeleteRecordsPart) -> Result<i64, DeleteRecordsError> {
        let state = &mut *self.state.borrow_mut();
        let hosted = state.led(part.partition, None)?;
        let ladder = hosted.role.ladder();
        let (log_start_offset, high_watermark) = (ladder.log_start().0, ladder.high_watermark().0);
        let to = part.before_offset.unwrap_or(high_watermark);
        if to > high_watermark {
            return Err(FetchError::OffsetOutOfRange { log_start_offset, high_watermark }.into());
        }
        if to > log_start_offset {
            hosted.log.trim(to);
            let mut effects = std::mem::take(&mut state.effects);
            if let Some(hosted) = state.partitions.get_mut(&part.partition) {
                hosted.role.on_trimmed(part.partition, LogStartOffset(to), &mut effects);
                hosted.show();
            }
            self.run_effects(state, &mut effects);
            state.effects = effects;
        }
        Ok(to.max(log_start_offset))
    }
}

/// An end of the log, with the epoch of the record there (or of the last one).
fn end_of(hosted: &Hosted, offset: i64) -> FoundOffset {
    let leader_epoch: Option<LeaderEpoch> = hosted.log.epochs().epoch_at(offset);
    FoundOffset { offset, timestamp: -1, leader_epoch }
}
