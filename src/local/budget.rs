//! A budget of bytes, taken before memory is, first come first served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::local::{OneshotSender, oneshot};

/// Bytes that may be out at once.
#[derive(Clone)]
pub struct Budget(Rc<Inner>);

struct Inner {
    total: usize,
    left: Cell<usize>,
    waiting: RefCell<VecDeque<(usize, OneshotSender<()>)>>,
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

    /// Bytes that are out.
    pub fn used(&self) -> usize {
        self.0.total - self.0.left.get()
    }

    /// Takes `bytes`, waiting behind those who came before. More than the whole budget counts as all of it.
    pub async fn acquire(&self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.0.total);
        let queued = {
            let mut waiting = self.0.waiting.borrow_mut();
            if waiting.is_empty() && self.0.left.get() >= bytes {
                self.0.left.set(self.0.left.get() - bytes);
                None
            } else {
                let (sender, receiver) = oneshot();
                waiting.push_back((bytes, sender));
                Some(receiver)
            }
        };
        match queued {
            None => Permit { bytes, budget: self.0.clone() },
            Some(receiver) => {
                // From the moment the grant is made, somebody must own it: a dropped future hands it back.
                let mut grant = Grant { bytes, budget: Some(self.0.clone()), receiver };
                (&mut grant.receiver).await;
                let budget = grant.budget.take().unwrap_or_else(|| self.0.clone());
                Permit { bytes, budget }
            }
        }
    }
}

struct Grant {
    bytes: usize,
    budget: Option<Rc<Inner>>,
    receiver: crate::local::OneshotReceiver<()>,
}

impl Drop for Grant {
    fn drop(&mut self) {
        let Some(budget) = self.budget.take() else { return };
        let granted = futures_lite::future::block_on(futures_lite::future::poll_once(&mut self.receiver)).is_some();
        if granted {
            give_back(&budget, self.bytes);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        give_back(&self.budget, self.bytes);
    }
}

fn give_back(budget: &Inner, bytes: usize) {
    budget.left.set(budget.left.get() + bytes);
    loop {
        let next = {
            let mut waiting = budget.waiting.borrow_mut();
            match waiting.front() {
                Some((wanted, _)) if *wanted <= budget.left.get() => waiting.pop_front(),
                _ => None,
            }
        };
        let Some((wanted, sender)) = next else { return };
        // Whoever gave up waiting has dropped the receiver; the send is then lost, and the bytes stay.
        if sender.is_wanted() {
            budget.left.set(budget.left.get() - wanted);
            sender.send(());
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
}
