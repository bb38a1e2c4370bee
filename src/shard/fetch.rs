//! Reading what consumers may see.
//!
//! *Invariants*: nothing at or above the high watermark is served; a batch read from disk is checked before it is served.
//! *Why* read ahead: a consumer that drains a backlog asks for what comes next while the disk has long been free.

use std::rc::Rc;

use storage::log::{ReadAhead, ReadError, ReadPlan};

use crate::limits;
use crate::local::Pass;
use crate::message::{FetchError, FetchOrder, FetchOutcome, FetchPart, Fetched};
use crate::model::LeaderEpoch;
use crate::shard::{Hosted, Shard};

/// A read that was planned, or answered without one.
enum Planned {
    Read { plan: ReadPlan, at_work: Pass, high_watermark: i64, log_start_offset: i64 },
    Diverging { high_watermark: i64, log_start_offset: i64, epoch: LeaderEpoch, end_offset: i64 },
}

impl Shard {
    /// Reads the order's parts, earlier ones first, within its bytes.
    pub async fn fetch(self: &Rc<Self>, order: FetchOrder) -> Vec<FetchOutcome> {
        let mut outcomes = Vec::with_capacity(order.parts.len());
        let mut bytes_left = order.bytes_max;
        let mut first = order.first_batch_always;
        for part in order.parts {
            let outcome = self.fetch_part(part, bytes_left, first).await;
            if let Ok(fetched) = &outcome {
                bytes_left = bytes_left.saturating_sub(fetched.records.len());
                first &= fetched.records.is_empty();
            }
            outcomes.push(outcome);
        }
        outcomes
    }

    async fn fetch_part(self: &Rc<Self>, part: FetchPart, bytes_left: usize, at_least_one: bool) -> FetchOutcome {
        let planned = {
            let state = &mut *self.state.borrow_mut();
            plan(state.led(part.partition, part.current_leader_epoch)?, &part, bytes_left, at_least_one)?
        };
        match planned {
            Planned::Diverging { high_watermark, log_start_offset, epoch, end_offset } => Ok(Fetched {
                high_watermark,
                log_start_offset,
                records: bytes::Bytes::new(),
                next_offset: part.offset,
                diverging: Some((epoch, end_offset)),
            }),
            Planned::Read { plan, at_work, high_watermark, log_start_offset } => {
                let done = plan.execute().await;
                drop(at_work);
                let done = done.map_err(|error| {
                    tracing::error!("read of {:?} at {}: {error}", part.partition, part.offset);
                    read_error(error, log_start_offset, high_watermark)
                })?;
                if let Some(hosted) = self.state.borrow_mut().partitions.get_mut(&part.partition) {
                    hosted.log.apply_read(&done);
                    hosted.metrics.counters.bytes_out.add(done.records.len() as u64);
                }
                if let Some(ahead) = done.ahead {
                    self.read_ahead(ahead);
                }
                let (records, next_offset) = (done.records, done.next_offset);
                Ok(Fetched { high_watermark, log_start_offset, records, next_offset, diverging: None })
            }
        }
    }

    /// Reads what the consumer will want next while it is busy with what it got, unless many such reads are under way.
    pub(super) fn read_ahead(self: &Rc<Self>, ahead: ReadAhead) {
        if self.reading_ahead.get() >= limits::READS_AHEAD_MAX {
            return;
        }
        self.reading_ahead.set(self.reading_ahead.get() + 1);
        let shard = self.clone();
        self.rt.spawn(async move {
            ahead.execute().await;
            shard.reading_ahead.set(shard.reading_ahead.get() - 1);
        });
    }
}

fn plan(hosted: &mut Hosted, part: &FetchPart, bytes_left: usize, at_least_one: bool) -> Result<Planned, FetchError> {
    let ladder = hosted.role.ladder();
    let (high_watermark, log_start_offset, log_end) =
        (ladder.high_watermark().0, ladder.log_start().0, ladder.log_end().0);
    if let Some(last_fetched) = part.last_fetched_epoch {
        // KIP-595: the client's last record may be one that this log does not have.
        let known = hosted.log.epochs().end_offset_for(last_fetched, log_end);
        if let Some((epoch, end_offset)) = known.filter(|(epoch, end)| *epoch < last_fetched || *end < part.offset) {
            return Ok(Planned::Diverging { high_watermark, log_start_offset, epoch, end_offset });
        }
    }
    if part.offset < log_start_offset || part.offset > log_end {
        return Err(FetchError::OffsetOutOfRange { log_start_offset, high_watermark });
    }
    let bytes_max = part.bytes_max.min(bytes_left);
    let plan = hosted.log.read_plan(part.offset, high_watermark, bytes_max, at_least_one);
    let plan = plan.map_err(|error| read_error(error, log_start_offset, high_watermark))?;
    Ok(Planned::Read { plan, at_work: hosted.at_work.enter(), high_watermark, log_start_offset })
}

pub(super) fn read_error(error: ReadError, log_start_offset: i64, high_watermark: i64) -> FetchError {
    match error {
        ReadError::OutOfRange => FetchError::OffsetOutOfRange { log_start_offset, high_watermark },
        ReadError::Corrupt { .. } => FetchError::Corrupt,
        ReadError::Offline | ReadError::Disk(_) => FetchError::Storage,
    }
}
