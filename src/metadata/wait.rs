//! Waiting within one executor: for a condition, and for one answer.
//!
//! *Which core*: metadata. *Invariants*: nothing is borrowed while a waker runs; a dropped waiter costs one needless wake-up.
//! *Not here*: what crosses executors (`rt::channel`).

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

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

struct Slot<T> {
    answer: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
    gone: Cell<bool>,
}

/// Waits for one answer; `None` if whoever should have given it is gone.
pub struct Ticket<T>(Rc<Slot<T>>);

/// Gives the answer.
pub struct Answer<T>(Rc<Slot<T>>);

/// A ticket and the right to answer it.
pub fn ticket<T>() -> (Ticket<T>, Answer<T>) {
    let slot = Rc::new(Slot { answer: Cell::new(None), waker: Cell::new(None), gone: Cell::new(false) });
    (Ticket(slot.clone()), Answer(slot))
}

impl<T> Answer<T> {
    /// Gives it; nobody may be waiting any more.
    pub fn give(self, answer: T) {
        self.0.answer.set(Some(answer));
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        self.0.gone.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }
}

impl<T> Future for Ticket<T> {
    type Output = Option<T>;
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if self.0.gone.get() {
            return Poll::Ready(self.0.answer.take());
        }
        self.0.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}
