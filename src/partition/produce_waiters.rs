//! Produces that are appended and not yet answered: one queue per rung, so that an acks=1 never stands behind a frozen acks=-1.
//!
//! *Which core*: the leader's shard.
//! *Invariants*: each queue is ordered by end offset; [`ProduceWaiters::release`] takes a prefix.
//! *Why* no timer each: deadlines are swept by the shard, and only while something waits.

use std::collections::VecDeque;

use crate::rt::Monotonic;

/// The shard's name for a produce that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProduceTicket(pub u64);

/// How durable a batch must be before it is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// 0: nobody waits.
    None,
    /// 1: flushed by the leader.
    Leader,
    /// -1: flushed by every in-sync replica.
    All,
}

/// A produce that waits until its rung reaches `end_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Whom to answer.
    pub ticket: ProduceTicket,
    /// The batch's first offset, for the answer.
    pub base_offset: i64,
    /// One past the batch's last offset.
    pub end_offset: i64,
    /// When to give up.
    pub deadline: Monotonic,
}

/// The waiters of one rung.
#[derive(Debug, Default)]
pub struct ProduceWaiters {
    queue: VecDeque<Waiter>,
    /// No deadline is earlier; it may be too early by the waiters released since the last sweep.
    earliest_deadline: Option<Monotonic>,
}

impl ProduceWaiters {
    /// Parks a waiter in offset order. A duplicate waits at its *original* offset, among older ones.
    pub fn park(&mut self, waiter: Waiter) {
        let at = self.queue.iter().rposition(|w| w.end_offset <= waiter.end_offset).map_or(0, |at| at + 1);
        self.queue.insert(at, waiter);
        self.earliest_deadline = Some(self.earliest_deadline.map_or(waiter.deadline, |d| d.min(waiter.deadline)));
    }

    /// Takes out every waiter that `rung` has reached, in offset order.
    pub fn release(&mut self, rung: i64, mut each: impl FnMut(Waiter)) {
        while self.queue.front().is_some_and(|w| w.end_offset <= rung) {
            self.queue.pop_front().into_iter().for_each(&mut each);
        }
        if self.queue.is_empty() {
            self.earliest_deadline = None;
        }
    }

    /// Takes out every waiter whose deadline has come.
    pub fn expire(&mut self, now: Monotonic, mut each: impl FnMut(Waiter)) {
        if self.earliest_deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.queue.retain(|w| {
            let expired = w.deadline <= now;
            if expired {
                each(*w);
            }
            !expired
        });
        self.earliest_deadline = self.queue.iter().map(|w| w.deadline).min();
    }

    /// Takes out all.
    pub fn drain(&mut self, each: impl FnMut(Waiter)) {
        self.earliest_deadline = None;
        self.queue.drain(..).for_each(each);
    }

    /// Does nobody wait?
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiter(ticket: u64, end_offset: i64, deadline: u64) -> Waiter {
        Waiter { ticket: ProduceTicket(ticket), base_offset: end_offset - 1, end_offset, deadline: Monotonic(deadline) }
    }

    fn released(waiters: &mut ProduceWaiters, rung: i64) -> Vec<u64> {
        let mut out = Vec::new();
        waiters.release(rung, |w| out.push(w.ticket.0));
        out
    }

    #[test]
    fn a_prefix_is_released_in_offset_order() {
        let mut waiters = ProduceWaiters::default();
        for (ticket, end) in [(1, 10), (2, 20), (3, 30)] {
            waiters.park(waiter(ticket, end, 99));
        }
        assert!(released(&mut waiters, 9).is_empty());
        assert_eq!(released(&mut waiters, 20), [1, 2]);
        assert_eq!(released(&mut waiters, 30), [3]);
        assert!(waiters.is_empty());
    }

    #[test]
    fn a_duplicate_waits_at_its_original_offset() {
        let mut waiters = ProduceWaiters::default();
        waiters.park(waiter(1, 10, 99));
        waiters.park(waiter(2, 20, 99));
        waiters.park(waiter(3, 10, 99));
        assert_eq!(released(&mut waiters, 10), [1, 3]);
    }

    #[test]
    fn only_what_is_due_expires() {
        let mut waiters = ProduceWaiters::default();
        waiters.park(waiter(1, 10, 50));
        waiters.park(waiter(2, 20, 40));
        let mut out = Vec::new();
        waiters.expire(Monotonic(39), |w| out.push(w.ticket.0));
        assert!(out.is_empty());
        waiters.expire(Monotonic(45), |w| out.push(w.ticket.0));
        assert_eq!(out, [2]);
        waiters.expire(Monotonic(50), |w| out.push(w.ticket.0));
        assert_eq!(out, [2, 1]);
    }
}
