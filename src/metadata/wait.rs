//! Waiting within one executor for a condition, by any number of tasks.
//!
//! *Which core*: metadata. *Invariants*: nothing is borrowed while a waker runs; a dropped waiter costs one needless wake-up.
//! *Not here*: one answer to one task, a nudge for one task (`local`).

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Wakes whoever waits for something that may have come to hold.
#[derive(Default)]
pub struct Signal {
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// Something changed: everybody looks again.
    pub fn raise(&self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Waits until `condition` gives a value, asking at once and whenever the signal is raised.
    pub async fn until<T>(&self, mut condition: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| match condition() {
            Some(value) => Poll::Ready(value),
            None => {
                let mut waiting = self.waiting.borrow_mut();
                if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                    waiting.push(context.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }
}
