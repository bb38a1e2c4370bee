//! Open loop: a fixed schedule of intended send times, whatever the broker does.
//!
//! Invariants: the n-th record is due at start + n / rate, computed from n (no drift); a late send keeps its due time; the schedule
//!   is over when its window is, and what is late by then may still go out for a bounded time.
//! Why: latency that counts from the intended time charges a stall to every record that had to wait (no coordinated omission).

use super::{Step, Window};

/// What was due in the window may go out this long after it; what is later than that is unsent.
const LATE_NS_MAX: u64 = 1_000_000_000;

/// An open loop.
#[derive(Clone, Debug)]
pub struct Open {
    records_per_s: f64,
    start_ns: u64,
    window: Window,
    sent: u64,
    records_left: u64,
}

impl Open {
    /// `thread`'s share of a rate, shifted so that the threads' records interleave, until the window ends or `records` measured
    /// ones are sent.
    pub fn new(records_per_s: f64, thread: u32, threads: u32, window: Window, records: u64) -> Self {
        let start_ns = window.start_ns + (f64::from(thread) * 1e9 / records_per_s) as u64;
        Self { records_per_s: records_per_s / f64::from(threads), start_ns, window, sent: 0, records_left: records }
    }

    /// When the next record is due.
    fn due_ns(&self) -> u64 {
        self.start_ns + (self.sent as f64 * 1e9 / self.records_per_s) as u64
    }

    /// Whether nothing more is sent.
    pub fn is_over(&self, now_ns: u64) -> bool {
        let until_ns = self.window.until_ns;
        let all_sent = self.due_ns() >= until_ns && now_ns >= until_ns;
        self.records_left == 0 || all_sent || now_ns >= until_ns.saturating_add(LATE_NS_MAX)
    }

    /// See [`super::Load::step`]. The records of one send are due together, when its first is.
    pub fn step(&mut self, now_ns: u64, records: u64) -> Step {
        let due_ns = self.due_ns();
        if self.is_over(now_ns) {
            return Step::Done;
        }
        if due_ns > now_ns || due_ns >= self.window.until_ns {
            return Step::AwaitTime(due_ns.min(self.window.until_ns));
        }
        if due_ns >= self.window.from_ns {
            self.records_left = self.records_left.saturating_sub(records);
        }
        self.sent += records;
        Step::Send { due_ns }
    }

    /// The due times of measured records that never went out: due in the window, which is over. Ends the schedule.
    pub fn unsent(mut self) -> impl Iterator<Item = u64> {
        let window = self.window;
        std::iter::from_fn(move || {
            let due_ns = self.due_ns();
            self.sent += 1;
            (due_ns < window.until_ns && window.until_ns != u64::MAX).then_some(due_ns)
        })
        .filter(move |due_ns| window.contains(*due_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const WINDOW: Window = Window { start_ns: 0, from_ns: SECOND, until_ns: 3 * SECOND };

    #[test]
    fn the_schedule_does_not_drift() {
        let window = Window { start_ns: 0, from_ns: 0, until_ns: u64::MAX };
        let mut open = Open::new(30_000.0, 0, 1, window, u64::MAX);
        for n in 0..3_000_000_u64 {
            let Step::Send { due_ns } = open.step(1 << 60, 1) else { panic!("not sent") };
            assert!(due_ns.abs_diff((u128::from(n) * u128::from(SECOND) / 30_000) as u64) <= 1);
        }
    }

    #[test]
    fn a_stall_is_charged_to_every_record_that_waited() {
        let mut open = Open::new(10.0, 0, 1, WINDOW, u64::MAX);
        assert_eq!(open.step(0, 1), Step::Send { due_ns: 0 });
        assert_eq!(open.step(1, 1), Step::AwaitTime(SECOND / 10));
        // The sender was held up until 0.35 s: three sends at once, each with the time at which it should have gone.
        let late = 350_000_000;
        let due: Vec<Step> = (0..4).map(|_| open.step(late, 1)).collect();
        let send = |tenths: u64| Step::Send { due_ns: tenths * SECOND / 10 };
        assert_eq!(due, [send(1), send(2), send(3), Step::AwaitTime(4 * SECOND / 10)]);
    }

    #[test]
    fn what_was_due_and_never_went_out_is_known() {
        let mut open = Open::new(10.0, 0, 1, WINDOW, u64::MAX);
        for _ in 0..25 {
            assert!(matches!(open.step(2 * SECOND + SECOND / 2, 1), Step::Send { .. }));
        }
        assert_eq!(open.step(3 * SECOND + LATE_NS_MAX, 1), Step::Done);
        let unsent: Vec<u64> = open.unsent().collect();
        assert_eq!(unsent, [2_500_000_000, 2_600_000_000, 2_700_000_000, 2_800_000_000, 2_900_000_000]);
    }

    #[test]
    fn the_schedule_lasts_as_long_as_its_window() {
        let mut open = Open::new(10.0, 0, 1, WINDOW, u64::MAX);
        while matches!(open.step(3 * SECOND - 1, 1), Step::Send { .. }) {}
        assert_eq!(open.sent, 30);
        assert_eq!(open.step(3 * SECOND - 1, 1), Step::AwaitTime(3 * SECOND));
        assert_eq!(open.step(3 * SECOND, 1), Step::Done);
    }

    #[test]
    fn what_is_a_little_late_at_the_end_still_goes_out() {
        let mut open = Open::new(10.0, 0, 1, WINDOW, u64::MAX);
        while matches!(open.step(3 * SECOND + LATE_NS_MAX - 1, 1), Step::Send { .. }) {}
        assert_eq!((open.sent, open.unsent().count()), (30, 0));
    }

    #[test]
    fn batches_keep_the_rate_and_threads_interleave() {
        let mut open = Open::new(10.0, 1, 2, WINDOW, u64::MAX);
        assert_eq!(open.step(SECOND / 10, 5), Step::Send { due_ns: SECOND / 10 });
        assert_eq!(open.step(SECOND / 10, 5), Step::AwaitTime(SECOND / 10 + SECOND));
    }

    #[test]
    fn a_count_leaves_the_warm_up_out() {
        let mut open = Open::new(10.0, 0, 1, Window { until_ns: u64::MAX, ..WINDOW }, 2);
        let sent = (0..100).take_while(|_| open.step(100 * SECOND, 1) != Step::Done).count();
        assert_eq!(sent, 12);
        assert_eq!(open.unsent().count(), 0);
    }
}
