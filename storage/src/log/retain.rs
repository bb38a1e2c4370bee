//! The front of the log: giving up records.
//!
//! *Which core*: the log's.
//! *Invariants*: the log start never falls, and never passes what is flushed.
//! *Not here*: which records may go (the caller's high watermark), writing the new log start down (checkpoints).

use super::Log;

impl Log {
    /// What time alone brings about: forgets idle producers. To be called every few minutes; `high_watermark` bounds what may be
    /// given up. Afterwards ask for [`Log::maintenance_plan`].
    pub fn look_over(&mut self, now_ms: i64, _high_watermark: i64) {
        self.producers.expire(now_ms, self.config.producer_expiration_ms);
    }

    /// Records below `to_offset` (at most the high watermark) are not served any more; their files go in the background. Durable once
    /// the caller's checkpoint says so.
    pub fn trim(&mut self, to_offset: i64) {
        assert!(to_offset <= self.flushed_end_offset, "only what is durable can be given up");
        self.log_start_offset = self.log_start_offset.max(to_offset);
        self.epochs.truncate_from_start(self.log_start_offset);
        self.assert_ladder();
    }
}
