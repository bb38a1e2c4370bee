//! A log's share of a turn: one write of its oldest unflushed chunk.
//!
//! *Which core*: the log's; the plan runs beside it and owns what it writes.
//! *Invariants*: one in flight per log; `flushed_end_offset` moves only when the turn's flush has returned.
//! *Not here*: the barrier, and the other logs (`turn`).

use std::rc::Rc;

use super::Log;
use super::file::SegmentFile;
use crate::disk::{DiskError, DiskErrorReason, File, IoBuffer};

/// What a log has to write in this turn.
pub struct FlushPlan {
    file: Rc<SegmentFile>,
    buffer: Rc<IoBuffer>,
    position: u64,
    end_offset: i64,
    /// Where its last batch ends.
    used_end: u64,
    needs_own_flush: bool,
    /// The deliberate fault: [`crate::log::Bugs::acknowledge_early`].
    pub(crate) acknowledge_early: bool,
}

/// A plan whose write has completed, well or not.
pub(crate) struct FlushWritten {
    plan: FlushPlan,
    written: Result<File, DiskError>,
}

/// What became of a log's share of a turn.
pub struct LogOutcome {
    file: Rc<SegmentFile>,
    end_offset: i64,
    end_position: u64,
    used_end: u64,
    result: Result<(), DiskError>,
}

impl FlushPlan {
    /// Bytes that it writes.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }
    pub(crate) async fn write(self) -> FlushWritten {
        self.file.zeros_landed(self.end_position()).await;
        let written = match self.file.open().await {
            Ok(file) => file.write_at(Rc::clone(&self.buffer), self.position).await.map(|()| file),
            Err(error) => Err(error),
        };
        FlushWritten { plan: self, written }
    }
    fn end_position(&self) -> u64 {
        self.position + self.buffer.len() as u64
    }
}

impl FlushWritten {
    /// Is it durable once the barrier, on this device, is flushed?
    pub(crate) fn waits_for_barrier(&self, barrier_device: Option<(u32, u32)>) -> bool {
        self.flushes().is_some() && !self.needs_own_flush(barrier_device)
    }
    /// Or does it need a flush of its own?
    pub(crate) fn needs_own_flush(&self, barrier_device: Option<(u32, u32)>) -> bool {
        self.flushes().is_some_and(|file| self.plan.needs_own_flush || barrier_device != Some(file.device()))
    }
    fn flushes(&self) -> Option<&File> {
        self.written.as_ref().ok().filter(|_| !self.plan.acknowledge_early)
    }
    /// Flushes the file, and its directory if the file is new there.
    pub(crate) async fn flush(&self) -> Result<(), DiskError> {
        let Ok(file) = &self.written else { return Ok(()) };
        file.flush().await?;
        if self.plan.file.dir_dirty.get() {
            self.plan.file.disk.sync_dir(&self.plan.file.dir).await?;
            self.plan.file.dir_dirty.set(false);
        }
        Ok(())
    }
    /// The outcome, after everything that it needed was flushed, or that failed.
    pub(crate) fn outcome(self, flushed: Result<(), DiskError>) -> LogOutcome {
        LogOutcome {
            end_offset: self.plan.end_offset,
            end_position: self.plan.end_position(),
            used_end: self.plan.used_end,
            file: self.plan.file,
            result: self.written.map(drop).and(flushed),
        }
    }
}

impl Log {
    /// Is there something for the next turn?
    pub fn needs_flush(&self) -> bool {
        !self.no_space && self.can_flush()
    }
    /// Did the last flush find no space? Then appends are refused, and [`Log::flush_plan`] may be tried again in a while.
    pub fn has_no_space(&self) -> bool {
        self.no_space
    }
    fn can_flush(&self) -> bool {
        self.flushed_end_offset < self.log_end_offset
            && self.offline.is_none()
            && !self.flush_in_flight
            && self.truncating_to.is_none()
    }

    /// This turn's write, to be given to [`crate::turn::flush`]; `None` if there is nothing to write or one is in flight. After
    /// there was no space it is a new attempt.
    pub fn flush_plan(&mut self, now_ms: i64) -> Option<FlushPlan> {
        if !self.can_flush() {
            return None;
        }
        let next = self.tail.next_to_flush(self.flushed_end_offset);
        let (chunk, buffer) = next.expect("what is not flushed is in memory");
        let (file, position, end_offset) = (Rc::clone(&chunk.file), chunk.start, chunk.end_offset);
        let (end_position, used_end) = (position + buffer.len() as u64, chunk.end_position());
        let needs_own_flush = end_position > file.ready_end.get() || file.dir_dirty.get();
        if needs_own_flush {
            file.claim(end_position);
        }
        self.ahead.on_flush(buffer.len() as u64, needs_own_flush, now_ms);
        self.flush_in_flight = true;
        self.last_used_ms = now_ms;
        let acknowledge_early = self.config.bugs.acknowledge_early;
        Some(FlushPlan { file, buffer, position, end_offset, used_end, needs_own_flush, acknowledge_early })
    }

    /// The turn is over. Returns the new flushed end offset; it is the old one if there was no space. An error took the log
    /// offline, for good.
    pub fn apply_flush(&mut self, outcome: LogOutcome) -> Result<i64, DiskError> {
        assert!(self.flush_in_flight, "a flush ended that had not begun");
        self.flush_in_flight = false;
        if let Err(error) = outcome.result {
            self.on_write_error(&error);
            let stays = error.reason == DiskErrorReason::NoSpace;
            return if stays { Ok(self.flushed_end_offset) } else { Err(error) };
        }
        // What an own flush covered is written and durable now, like prewritten space.
        outcome.file.on_ready(outcome.end_position);
        (self.no_space, self.no_space_until_ms) = (false, None);
        self.flushed_end_offset = outcome.end_offset;
        if let Some(segment) = self.segments.iter_mut().rfind(|segment| Rc::ptr_eq(&segment.file, &outcome.file)) {
            segment.flushed_bytes = outcome.used_end;
        }
        self.tail.evict(self.flushed_end_offset, self.config.tail_cache_bytes);
        self.assert_ladder();
        Ok(self.flushed_end_offset)
    }
}
