//! A nudge: something has changed, look again.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Remembers one nudge until somebody takes it. For one waiting task.
#[derive(Debug, Default)]
pub struct Notify {
    nudged: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Notify {
    /// Nudges. Further nudges before one is taken are the same nudge.
    pub fn notify(&self) {
        if !self.nudged.replace(true) {
            let waker = self.waker.borrow_mut().take();
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Takes a nudge, waiting for one. Dropping the future loses none.
    pub async fn notified(&self) {
        poll_fn(|context| {
            if self.nudged.replace(false) {
                return Poll::Ready(());
            }
            *self.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_nudge_is_kept_until_it_is_taken_and_taken_once() {
        let notify = Notify::default();
        notify.notify();
        notify.notify();
        block_on(notify.notified());
        assert!(block_on(poll_once(notify.notified())).is_none());
    }
}
