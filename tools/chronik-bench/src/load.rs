//! When the next record is to be sent. Two laws: closed loop (an answer sends the next) and open loop (a schedule does).
//!
//! Invariants: pure; asked with the time, never reads a clock. The due time it hands out is what latency counts from.
//! Not here: what is sent and by whom (`client`), what is measured (`figures`).

mod closed;
mod open;

pub use closed::Closed;
pub use open::Open;

use crate::clock::nanoseconds;
use crate::options::Options;

/// The measured part of a run, by [`crate::clock`]; half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// When sending starts, warm-up included.
    pub start_ns: u64,
    /// First measured instant.
    pub from_ns: u64,
    /// First instant after; `u64::MAX` for a run that ends by count.
    pub until_ns: u64,
}

impl Window {
    /// The window of a run that starts now.
    pub fn new(options: &Options, start_ns: u64) -> Self {
        let from_ns = start_ns + nanoseconds(options.warm_up());
        let until_ns = if options.records.is_some() { u64::MAX } else { from_ns + nanoseconds(options.duration) };
        Self { start_ns, from_ns, until_ns }
    }

    /// Whether an instant is measured.
    pub fn contains(&self, at_ns: u64) -> bool {
        (self.from_ns..self.until_ns).contains(&at_ns)
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send; the latency of these records counts from `due_ns`.
    Send {
        /// When they were due, at or before now.
        due_ns: u64,
    },
    /// Nothing until an answer comes.
    AwaitAnswer,
    /// Nothing until then.
    AwaitTime(u64),
    /// Nothing more in this run.
    Done,
}

/// Either law.
#[derive(Clone, Debug)]
pub enum Load {
    /// An answer sends the next.
    Closed(Closed),
    /// A schedule sends.
    Open(Open),
}

impl Load {
    /// The share of `thread` in the load that the options describe.
    pub fn new(options: &Options, window: Window, thread: u32) -> Self {
        let records = options.records.map_or(u64::MAX, |records| share(records, thread, options.threads));
        match options.rate {
            Some(rate) => Self::Open(Open::new(rate, thread, options.threads, window, records)),
            None => {
                let concurrency = share(options.concurrency(), thread, options.threads).max(1);
                Self::Closed(Closed::new(concurrency, window, records))
            }
        }
    }

    /// What to do at `now_ns`, with `outstanding` records unanswered, when the next send would carry `records`.
    pub fn step(&mut self, now_ns: u64, outstanding: u64, records: u64) -> Step {
        match self {
            Self::Closed(closed) => closed.step(now_ns, outstanding, records),
            Self::Open(open) => open.step(now_ns, records),
        }
    }

    /// Whether nothing more is sent, whatever there is room for.
    pub fn is_over(&self, now_ns: u64) -> bool {
        match self {
            Self::Closed(closed) => closed.is_over(now_ns),
            Self::Open(open) => open.is_over(now_ns),
        }
    }
}

/// `thread`'s part of a count: all parts together are the count, none differs from another by more than one.
fn share(count: u64, thread: u32, threads: u32) -> u64 {
    let (thread, threads) = (u64::from(thread), u64::from(threads));
    count / threads + u64::from(thread < count % threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        for (count, threads) in [(10, 3), (1, 4), (128, 1), (0, 2)] {
            assert_eq!((0..threads).map(|thread| share(count, thread, threads)).sum::<u64>(), count);
        }
    }
}
