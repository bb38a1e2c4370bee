//! Closed loop: so many records outstanding, each answer sends the next. What N tasks that await their own acknowledgement do.
//!
//! Why: this is how much a broker does for callers who wait. It says nothing of stalls: while the broker stalls, nobody asks.

use super::{Step, Window};

/// A closed loop.
#[derive(Clone, Debug)]
pub struct Closed {
    concurrency: u64,
    window: Window,
    records_left: u64,
}

impl Closed {
    /// At most `concurrency` records outstanding, until the window ends or `records` measured ones are sent.
    pub fn new(concurrency: u64, window: Window, records: u64) -> Self {
        Self { concurrency, window, records_left: records }
    }

    /// Whether nothing more is sent.
    pub fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.window.until_ns || self.records_left == 0
    }

    /// See [`super::Load::step`]. A send larger than the concurrency goes out alone.
    pub fn step(&mut self, now_ns: u64, outstanding: u64, records: u64) -> Step {
        if self.is_over(now_ns) {
            return Step::Done;
        }
        if outstanding > 0 && outstanding + records > self.concurrency {
            return Step::AwaitAnswer;
        }
        if now_ns >= self.window.from_ns {
            self.records_left = self.records_left.saturating_sub(records);
        }
        Step::Send { due_ns: now_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { start_ns: 0, from_ns: 100, until_ns: 200 };

    #[test]
    fn it_fills_up_to_the_concurrency_and_no_further() {
        let mut closed = Closed::new(3, WINDOW, u64::MAX);
        assert_eq!(closed.step(5, 2, 1), Step::Send { due_ns: 5 });
        assert_eq!(closed.step(6, 3, 1), Step::AwaitAnswer);
        assert_eq!(closed.step(7, 2, 2), Step::AwaitAnswer);
        assert_eq!(closed.step(200, 0, 1), Step::Done);
    }

    #[test]
    fn a_batch_larger_than_the_concurrency_goes_alone() {
        let mut closed = Closed::new(3, WINDOW, u64::MAX);
        assert_eq!(closed.step(5, 0, 10), Step::Send { due_ns: 5 });
        assert_eq!(closed.step(5, 10, 10), Step::AwaitAnswer);
    }

    #[test]
    fn a_count_leaves_the_warm_up_out() {
        let mut closed = Closed::new(10, WINDOW, 2);
        assert_eq!(closed.step(99, 0, 1), Step::Send { due_ns: 99 });
        assert_eq!(closed.step(100, 0, 1), Step::Send { due_ns: 100 });
        assert_eq!(closed.step(101, 0, 1), Step::Send { due_ns: 101 });
        assert_eq!(closed.step(102, 0, 1), Step::Done);
    }
}
