//! A budget of bytes, taken before memory is, first come first served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::local::{OneshotReceiver, OneshotSender, oneshot};

/// Bytes that may be out at once.
#[derive(Clone)]
pub struct Budget(Rc<Inner>);

struct Inner {
    total: usize,
    left: Cell<usize>,
    waiting: RefCell<VecDeque<(usize, OneshotSender<Permit>)>>,
}

/// Bytes taken; they go back when this is dropped.
pub struct Permit {
    bytes: usize,
    budget: Rc<Inner>,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Budget {
        Budget(Rc::new(Inner { total: bytes, left: Cell::new(bytes), waiting: RefCell::default() }))
    }

    /// Bytes that are not out.
    pub fn left(&self) -> usize {
        self.0.left.get()
    }

    /// Bytes that may be out at once.
    pub fn total(&self) -> usize {
        self.0.total
    }

    /// Bytes that are out.
    pub fn used(&self) -> usize {
        self.0.total - self.0.left.get()
    }

    /// Takes `bytes` if they are there and nobody waits. More than the whole budget counts as all of it.
    pub fn try_acquire(&self, bytes: usize) -> Option<Permit> {
        let bytes = bytes.min(self.0.total);
        if !self.0.waiting.borrow().is_empty() || self.0.left.get() < bytes {
            return None;
        }
        self.0.left.set(self.0.left.get() - bytes);
        Some(Permit { bytes, budget: self.0.clone() })
    }

    /// Takes `bytes`, waiting behind those who came before. More than the whole budget counts as all of it.
    pub async fn acquire(&self, bytes: usize) -> Permit {
        if let Some(permit) = self.try_acquire(bytes) {
            return permit;
        }
        let bytes = bytes.min(self.0.total);
        let (sender, receiver) = oneshot();
        self.0.waiting.borrow_mut().push_back((bytes, sender));
        let mut turn = Turn { budget: &self.0, permit: Some(receiver) };
        turn.wait().await
    }
}

/// A place in the queue; leaving it early gives way to those behind.
struct Turn<'a> {
    budget: &'a Rc<Inner>,
    permit: Option<OneshotReceiver<Permit>>,
}

impl Turn<'_> {
    async fn wait(&mut self) -> Permit {
        let receiver = self.permit.as_mut().expect("it is taken below or on drop, once");
        let permit = receiver.await.expect("a waiting sender is dropped only after the grant or with its receiver");
        self.permit = None;
        permit
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(receiver) = self.permit.take() {
            // With the receiver goes a permit that was granted but never seen, and the wish of one that was not.
            drop(receiver);
            grant(self.budget);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.left.set(self.budget.left.get() + self.bytes);
        grant(&self.budget);
    }
}

/// Gives what is left to those who wait, in turn, as far as it goes.
fn grant(budget: &Rc<Inner>) {
    loop {
        let next = {
            let mut waiting = budget.waiting.borrow_mut();
            match waiting.front() {
                Some((bytes, sender)) if !sender.is_wanted() || *bytes <= budget.left.get() => waiting.pop_front(),
                Some(_) | None => None,
            }
        };
        let Some((bytes, sender)) = next else { return };
        // Whoever gave up waiting has dropped the receiver.
        if sender.is_wanted() {
            budget.left.set(budget.left.get() - bytes);
            sender.send(Permit { bytes, budget: budget.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn bytes_are_given_in_order_and_come_back() {
        let budget = Budget::new(10);
        let first = block_on(budget.acquire(8));
        let mut second = Box::pin(budget.acquire(5));
        assert!(block_on(poll_once(&mut second)).is_none());
        // It would fit, but the one before it would starve.
        let mut third = Box::pin(budget.acquire(1));
        assert!(block_on(poll_once(&mut third)).is_none());
        drop(first);
        let second = block_on(second);
        let third = block_on(third);
        assert_eq!(budget.used(), 6);
        drop((second, third));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_gives_up_waiting_takes_nothing_along() {
        let budget = Budget::new(10);
        let first = block_on(budget.acquire(10));
        let mut before = Box::pin(budget.acquire(4));
        let mut after = Box::pin(budget.acquire(4));
        assert!(block_on(poll_once(&mut before)).is_none());
        assert!(block_on(poll_once(&mut after)).is_none());
        drop(before);
        drop(first);
        drop(after);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn more_than_the_budget_is_all_of_it() {
        let budget = Budget::new(10);
        let all = block_on(budget.acquire(99));
        assert_eq!(budget.used(), 10);
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn who_gives_up_waiting_makes_way_for_those_behind() {
        let budget = Budget::new(10);
        let _first = block_on(budget.acquire(5));
        let mut large = Box::pin(budget.acquire(8));
        let mut small = Box::pin(budget.acquire(4));
        assert!(block_on(poll_once(&mut large)).is_none());
        assert!(block_on(poll_once(&mut small)).is_none());
        drop(large);
        assert!(block_on(poll_once(&mut small)).is_some());
    }

    #[test]
    fn trying_takes_nothing_from_those_who_wait() {
        let budget = Budget::new(10);
        let first = budget.try_acquire(6).expect("it is all there");
        assert!(budget.try_acquire(6).is_none());
        let mut waiting = Box::pin(budget.acquire(5));
        assert!(block_on(poll_once(&mut waiting)).is_none());
        assert!(budget.try_acquire(1).is_none());
        drop((first, waiting));
        assert_eq!(budget.used(), 0);
        assert!(budget.try_acquire(99).is_some());
    }

    proptest::proptest! {
        /// Lesson 2: whatever the order of taking, waiting, giving up and giving back, every byte returns.
        #[test]
        fn every_byte_comes_back(steps in proptest::collection::vec((0usize..12, 0u8..4), 1..60)) {
            let budget = Budget::new(10);
            let mut held = Vec::new();
            let mut waiting: Vec<std::pin::Pin<Box<dyn Future<Output = Permit>>>> = Vec::new();
            for (bytes, step) in steps {
                match step {
                    0 => held.extend(budget.try_acquire(bytes)),
                    1 => {
                        let budget = budget.clone();
                        waiting.push(Box::pin(async move { budget.acquire(bytes).await }));
                    }
                    2 if !waiting.is_empty() => drop(waiting.remove(bytes % waiting.len())),
                    _ if !held.is_empty() => drop(held.remove(bytes % held.len())),
                    _ => {}
                }
                waiting.retain_mut(|turn| match block_on(poll_once(turn)) {
                    Some(permit) => {
                        held.push(permit);
                        false
                    }
                    None => true,
                });
                let out: usize = held.iter().map(|permit| permit.bytes).sum();
                proptest::prop_assert_eq!(budget.used(), out);
            }
            drop((held, waiting));
            proptest::prop_assert_eq!(budget.used(), 0);
            proptest::prop_assert!(budget.try_acquire(10).is_some());
        }
    }
}
