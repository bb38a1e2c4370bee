//! The four offsets of a partition, each rung at most the next.
//!
//! *Invariants*: checked after every move, in release builds too. A rung that would break the order is a bug of ours, never input.

/// First offset that the log no longer has to give up: reads below it are out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogStartOffset(pub i64);
/// First offset that consumers may not see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HighWatermark(pub i64);
/// First offset that is not known to be durable here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlushedEndOffset(pub i64);
/// Offset that the next record gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogEndOffset(pub i64);

/// The ladder. Moves only upwards, but for a follower's cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ladder {
    log_start: i64,
    high_watermark: i64,
    flushed_end: i64,
    log_end: i64,
}

impl Ladder {
    /// A ladder as recovery found it. A checkpointed high watermark beyond the flushed end is lowered to it.
    pub fn new(start: LogStartOffset, high: HighWatermark, flushed: FlushedEndOffset, end: LogEndOffset) -> Ladder {
        let ladder = Ladder {
            log_start: start.0,
            high_watermark: high.0.clamp(start.0, flushed.0.max(start.0)),
            flushed_end: flushed.0,
            log_end: end.0,
        };
        ladder.check();
        ladder
    }

    /// First offset that may be read.
    pub fn log_start(&self) -> LogStartOffset {
        LogStartOffset(self.log_start)
    }

    /// First offset that consumers may not see.
    pub fn high_watermark(&self) -> HighWatermark {
        HighWatermark(self.high_watermark)
    }

    /// First offset not durable here.
    pub fn flushed_end(&self) -> FlushedEndOffset {
        FlushedEndOffset(self.flushed_end)
    }

    /// Offset of the next record.
    pub fn log_end(&self) -> LogEndOffset {
        LogEndOffset(self.log_end)
    }

    /// The log has grown.
    pub fn append_to(&mut self, end: LogEndOffset) {
        assert!(end.0 >= self.log_end, "log end offset fell from {} to {}", self.log_end, end.0);
        self.log_end = end.0;
        self.check();
    }

    /// More of it is durable here.
    pub fn flush_to(&mut self, end: FlushedEndOffset) {
        assert!(end.0 >= self.flushed_end, "flushed end offset fell from {} to {}", self.flushed_end, end.0);
        self.flushed_end = end.0;
        self.check();
    }

    /// Raises the high watermark; a lower value changes nothing (lesson 8). Says whether it moved.
    pub fn raise_high_watermark(&mut self, to: HighWatermark) -> bool {
        let moved = to.0 > self.high_watermark;
        if moved {
            self.high_watermark = to.0;
            self.check();
        }
        moved
    }

    /// Drops the prefix below `to`; never beyond the high watermark.
    pub fn trim_to(&mut self, to: LogStartOffset) {
        assert!(to.0 >= self.log_start, "log start offset fell from {} to {}", self.log_start, to.0);
        self.log_start = to.0;
        self.check();
    }

    /// A follower has cut its log, durably, to `end`. The high watermark falls only if the leader never had what it lost: after
    /// an unclean election.
    pub fn cut_to(&mut self, end: LogEndOffset) {
        assert!(end.0 <= self.log_end, "a cut to {} beyond the log's end {}", end.0, self.log_end);
        let Ladder { log_start, high_watermark, .. } = *self;
        let end = end.0;
        *self = Ladder {
            log_start: log_start.min(end),
            high_watermark: high_watermark.min(end),
            flushed_end: end,
            log_end: end,
        };
        self.check();
    }

    fn check(&self) {
        assert!(
            0 <= self.log_start
                && self.log_start <= self.high_watermark
                && self.high_watermark <= self.flushed_end
                && self.flushed_end <= self.log_end,
            "the ladder is broken: {self:?}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder(start: i64, high: i64, flushed: i64, end: i64) -> Ladder {
        Ladder::new(LogStartOffset(start), HighWatermark(high), FlushedEndOffset(flushed), LogEndOffset(end))
    }

    #[test]
    fn a_checkpointed_high_watermark_beyond_the_flushed_end_is_lowered() {
        assert_eq!(ladder(0, 9, 5, 7).high_watermark(), HighWatermark(5));
        assert_eq!(ladder(3, 0, 5, 7).high_watermark(), HighWatermark(3));
    }

    /// Lesson 8: a late, lower value must not hide messages again.
    #[test]
    fn the_high_watermark_never_falls() {
        let mut l = ladder(0, 4, 8, 8);
        assert!(!l.raise_high_watermark(HighWatermark(2)));
        assert_eq!(l.high_watermark(), HighWatermark(4));
        assert!(l.raise_high_watermark(HighWatermark(8)));
    }

    #[test]
    #[should_panic(expected = "ladder is broken")]
    fn the_high_watermark_cannot_pass_what_is_flushed() {
        ladder(0, 0, 3, 8).raise_high_watermark(HighWatermark(4));
    }

    #[test]
    fn a_cut_leaves_nothing_above_it() {
        let mut l = ladder(1, 4, 6, 8);
        l.cut_to(LogEndOffset(5));
        assert_eq!(l, ladder(1, 4, 5, 5));
        l.cut_to(LogEndOffset(3));
        assert_eq!(l, ladder(1, 3, 3, 3));
    }

    #[test]
    #[should_panic(expected = "ladder is broken")]
    fn a_trim_cannot_pass_the_high_watermark() {
        ladder(0, 2, 3, 8).trim_to(LogStartOffset(3));
    }
}
