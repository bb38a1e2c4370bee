//! Where the leader's log ended at recent points in time, so that a replica that has flushed so far is known to have been caught
//! up then.
//!
//! *Which core*: the leader's shard.
//! *Invariants*: times and ends both rise along the ring; its oldest mark is older than the time that it covers, or it holds
//! every mark since the reign began.
//! *Why* marks and not the last ack's time, as Kafka has it: our followers don't ask, so an ack may speak of an append several
//! round trips ago; and an idle partition needs neither acks nor a timer to stay in sync.

use std::time::Duration;

use crate::rt::Monotonic;

/// Marks in the ring: the coarser, the earlier a replica counts as late, by at most one part in seven.
const MARKS: usize = 9;

/// The ring. It costs an append one comparison, and an idle partition nothing.
#[derive(Clone, Debug)]
pub struct LogEndMarks {
    marks: [(Monotonic, i64); MARKS],
    count: usize,
    spacing: Duration,
}

impl LogEndMarks {
    /// An empty ring that will cover `time`.
    pub fn covering(time: Duration) -> LogEndMarks {
        LogEndMarks { marks: [(Monotonic(0), 0); MARKS], count: 0, spacing: time / (MARKS as u32 - 2) }
    }

    /// The log has ended at `end_offset` until `now`.
    pub fn note(&mut self, now: Monotonic, end_offset: i64) {
        if let Some((newest, _)) = self.newest_first().next()
            && now.since(*newest) < self.spacing
        {
            return;
        }
        if self.count == MARKS {
            self.marks.rotate_left(1);
            self.count -= 1;
        }
        self.marks[self.count] = (now, end_offset);
        self.count += 1;
    }

    /// When a replica that has flushed up to `flushed_end` was last known to have all; `None`: not within the ring's time.
    pub fn caught_up_at(&self, flushed_end: i64) -> Option<Monotonic> {
        self.newest_first().find(|(_, end)| *end <= flushed_end).map(|(time, _)| *time)
    }

    fn newest_first(&self) -> impl Iterator<Item = &(Monotonic, i64)> {
        self.marks[..self.count].iter().rev()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_replica_is_caught_up_as_of_the_newest_mark_that_it_has_flushed() {
        let mut marks = LogEndMarks::covering(Duration::from_secs(7));
        for second in 1..=4 {
            marks.note(Monotonic(second * SECOND), second as i64 * 100);
        }
        assert_eq!(marks.caught_up_at(99), None);
        assert_eq!(marks.caught_up_at(250), Some(Monotonic(2 * SECOND)));
        assert_eq!(marks.caught_up_at(400), Some(Monotonic(4 * SECOND)));
    }

    /// However fast appends come, the ring reaches as far back as it must, and no mark is late by more than a spacing.
    #[test]
    fn the_ring_covers_its_time() {
        let mut marks = LogEndMarks::covering(Duration::from_secs(7));
        for tenth in 0..1000 {
            marks.note(Monotonic(tenth * SECOND / 10), tenth as i64);
            if tenth >= 80 {
                let known = marks.caught_up_at(tenth as i64 - 70).expect("seven seconds ago is covered");
                let true_time = Monotonic((tenth - 70) * SECOND / 10);
                assert!(known <= true_time && true_time.since(known) < Duration::from_secs(1), "{tenth}");
            }
        }
    }
}
