//! A pulse: it wakes everybody who waits for it, and is over.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Remembers nothing: who begins to wait after a beat waits for the next one. For any number of waiting tasks.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Pulse {
    /// Wakes all who wait, in the order in which they began to.
    pub fn beat(&self) {
        self.beats.set(self.beats.get() + 1);
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits for the next beat.
    pub async fn next(&self) {
        let begun = self.beats.get();
        poll_fn(|context| {
            if self.beats.get() != begun {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_beat_wakes_all_who_wait_and_nobody_after() {
        let pulse = Pulse::default();
        pulse.beat();
        let (mut first, mut second) = (pin!(pulse.next()), pin!(pulse.next()));
        assert!(block_on(poll_once(&mut first)).is_none());
        assert!(block_on(poll_once(&mut second)).is_none());
        pulse.beat();
        assert!(block_on(poll_once(&mut first)).is_some());
        assert!(block_on(poll_once(&mut second)).is_some());
        assert!(block_on(poll_once(pulse.next())).is_none());
    }
}
