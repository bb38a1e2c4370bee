//! The memory of all logs' tails: one budget for the shard.
//!
//! *Invariants*: after every turn, what is flushed takes at most the budget and one block for each log.
//! *Why* not a fixed share for each log: a few busy logs may then keep much, and thousands together still not too much. When the
//! budget is used up every log is cut to the same share, of half of it, so that this is rare however many logs there are.
//! *Why* some are cut before: that takes milliseconds where there are a thousand, and everybody waits. So once three quarters are
//! used, each log is cut as its own turn comes, and steady traffic never gets so far.

use crate::limits::TAIL_BYTES_PER_SHARD_MAX;
use crate::model::PartitionId;
use crate::shard::{Hosted, Map};

/// What the tails take together, as of each log's last turn.
#[derive(Default)]
pub(crate) struct Tails {
    bytes: usize,
    /// Logs that take any.
    holding: usize,
}

impl Tails {
    /// A log's tail may have grown or shrunk.
    pub(crate) fn count(&mut self, hosted: &mut Hosted) {
        self.forget(hosted);
        hosted.tail_bytes = hosted.log.tail_bytes();
        self.bytes += hosted.tail_bytes;
        self.holding += usize::from(hosted.tail_bytes > 0);
    }
    /// The log is about to go.
    pub(crate) fn forget(&mut self, hosted: &Hosted) {
        self.bytes -= hosted.tail_bytes;
        self.holding -= usize::from(hosted.tail_bytes > 0);
    }
    /// A log's tail has grown in its turn; it is cut if there is little left for all.
    pub(crate) fn on_turn(&mut self, hosted: &mut Hosted) {
        self.count(hosted);
        if self.bytes > TAIL_BYTES_PER_SHARD_MAX / 4 * 3 {
            self.cut(hosted);
        }
    }
    fn cut(&mut self, hosted: &mut Hosted) {
        let share = TAIL_BYTES_PER_SHARD_MAX / 2 / self.holding.max(1);
        if hosted.tail_bytes > share {
            hosted.log.shrink_tail(share);
            self.count(hosted);
        }
    }
    /// Cuts all tails to the same share if together they take too much.
    pub(crate) fn keep_within_budget(&mut self, partitions: &mut Map<PartitionId, Hosted>) {
        if self.bytes <= TAIL_BYTES_PER_SHARD_MAX {
            return;
        }
        for hosted in partitions.values_mut() {
            self.cut(hosted);
        }
    }
    /// What they take, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}
