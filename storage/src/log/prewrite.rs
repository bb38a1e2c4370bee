//! Zeros ahead of the tail, so that a flush finds written blocks and needs no journal commit.
//!
//! *Which core*: the log's, in the background.
//! *Invariants*: zeros go only where no flush has been or will be; a step counts when the flush of its file, issued after its
//! zeros had completed, has returned.
//! *Not here*: when to do it (maintenance).
//! *Why* steps that follow the rate: an idle partition should hold next to no space, a busy one should never reach the end of
//! its zeros, and each step costs a commit of the file system's journal.
//! *Why* no files are kept to be used again, though zeros over written blocks need no commit: one would have to be zeroed to its
//! end before its first batch, for nothing stale may follow the tail, and recovery would read all of that. Measured on ext4, quiet:
//! a step of 64 KiB takes 0.6 ms in a new file and 0.2 ms in an old one, of 32 MiB 19 and 18 ms; flushes beside 170 of the former a
//! second have the same p50 of 0.15 ms, and a log seldom takes two steps a second.

use std::rc::Rc;

use super::Log;
use super::file::{Place, SegmentFile};
use super::maintenance::StepError;
use crate::disk::{BLOCK_BYTES, IoBuffer};

/// The first step of a partition, and the smallest.
const STEP_BYTES_MIN: u64 = 64 << 10;
/// The largest: some tens of milliseconds of one log at the device's full speed.
const STEP_BYTES_MAX: u64 = 32 << 20;
/// Zeros written at a time; a flush that must go there waits for no more than this.
const ZEROS_BYTES: usize = 256 << 10;
/// A step that lasted less than this was too small, one that lasted more than the other too large.
const STEP_SHORT_MS: i64 = 500;
const STEP_LONG_MS: i64 = 20_000;

/// Flushes of at least this size, at no less than this rate, go onto growing space: their zeros would cost the device as much
/// again, and a commit for so many bytes costs less. Measured: even at 150 KiB a flush, a third more throughput at 600 KiB.
const GROWS_FLUSH_BYTES: u64 = 192 << 10;
const GROWS_BYTES_PER_MS: u64 = 200_000;
/// The rate is taken over at least this time.
const RATE_WINDOW_MS: i64 = 50;

/// How far ahead of its tail a log is prewritten.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ahead {
    step_bytes: u64,
    last_step_ms: Option<i64>,
    /// Is it not prewritten now, since it is written too fast?
    grows: bool,
    window_from_ms: i64,
    window_bytes: u64,
    window_flushes: u64,
}

impl Ahead {
    pub(super) fn new() -> Ahead {
        Ahead {
            step_bytes: STEP_BYTES_MIN,
            last_step_ms: None,
            grows: false,
            window_from_ms: 0,
            window_bytes: 0,
            window_flushes: 0,
        }
    }
    /// So much is flushed; `outran` if the zeros had not come so far.
    pub(super) fn on_flush(&mut self, bytes: u64, outran: bool, now_ms: i64) {
        if outran && self.last_step_ms.is_some() {
            self.step_bytes = (self.step_bytes * 2).min(STEP_BYTES_MAX);
        }
        let lasted_ms = now_ms.saturating_sub(self.window_from_ms);
        if lasted_ms >= RATE_WINDOW_MS {
            let is_fast = self.window_bytes >= GROWS_BYTES_PER_MS * lasted_ms as u64;
            self.grows = is_fast && self.window_bytes >= GROWS_FLUSH_BYTES * self.window_flushes;
            (self.window_from_ms, self.window_bytes, self.window_flushes) = (now_ms, 0, 0);
        }
        self.window_bytes += bytes;
        self.window_flushes += 1;
    }
    fn on_step(&mut self, now_ms: i64) {
        let lasted_ms = self.last_step_ms.map_or(STEP_SHORT_MS, |last| now_ms.saturating_sub(last));
        if lasted_ms < STEP_SHORT_MS {
            self.step_bytes = (self.step_bytes * 2).min(STEP_BYTES_MAX);
        } else if lasted_ms > STEP_LONG_MS {
            self.step_bytes = (self.step_bytes / 2).max(STEP_BYTES_MIN);
        }
        self.last_step_ms = Some(now_ms);
    }
    pub(super) fn step_bytes(self) -> u64 {
        self.step_bytes
    }
}

/// A step of zeros.
pub(super) struct Prewrite {
    file: Rc<SegmentFile>,
    from: u64,
    to: u64,
}

impl Prewrite {
    pub(super) fn new(file: &Rc<SegmentFile>, from: u64, to: u64) -> Prewrite {
        Prewrite { file: Rc::clone(file), from, to }
    }
    /// Writes and flushes. Returns the stretch, up to the end of the step, that is ready now.
    pub(super) async fn execute(&self) -> Result<(u64, u64), StepError> {
        let file = self.file.open().await?;
        let whole = Rc::new(IoBuffer::zeroed(ZEROS_BYTES));
        let (mut from, mut at) = (self.from, self.from);
        while at < self.to {
            let free = self.file.unclaimed(at);
            if free > at {
                // A flush has taken the space up to here: it makes it ready itself.
                (from, at) = (free, free);
                continue;
            }
            let bytes = (self.to - at).min(ZEROS_BYTES as u64);
            let zeros = if bytes == ZEROS_BYTES as u64 { Rc::clone(&whole) } else { zeros(bytes) };
            self.file.begin_zeroing((at, at + bytes));
            let written = file.write_at(zeros, at).await;
            self.file.end_zeroing();
            written?;
            at += bytes;
        }
        file.flush().await.map_err(StepError::Flush)?;
        Ok((from.min(self.to), self.to))
    }
    pub(super) fn file(&self) -> &Rc<SegmentFile> {
        &self.file
    }
}

fn zeros(bytes: u64) -> Rc<IoBuffer> {
    Rc::new(IoBuffer::zeroed(bytes as usize))
}

impl Log {
    /// The next step of zeros, if there is less than half a step left.
    pub(super) fn prewrite_due(&mut self, now_ms: i64) -> Option<Prewrite> {
        let active = self.active();
        // Nothing was appended since it was opened, or its file is not there yet.
        if active.begun.is_none() || active.file.place.get() == Place::Missing || self.ahead.grows {
            return None;
        }
        let (file, end) = (Rc::clone(&active.file), active.bytes.next_multiple_of(BLOCK_BYTES as u64));
        let segment_end = self.config.segment_bytes.next_multiple_of(BLOCK_BYTES as u64);
        // Zeros that are ready beyond what is about to be flushed count too.
        let ready_end = file.ready_or_beyond_end();
        if ready_end >= end + self.ahead.step_bytes / 2 || ready_end.max(end) >= segment_end {
            return None;
        }
        self.ahead.on_step(now_ms);
        let from = file.unclaimed(ready_end.max(end));
        let to = (end + self.ahead.step_bytes).min(segment_end);
        (from < to).then(|| Prewrite::new(&file, from, to))
    }
}
