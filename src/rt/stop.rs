//! A flag that any thread may raise once and any task may wait for: how the main thread tells the executors to end.
//!
//! *Which core*: raised anywhere; awaited on executors.
//! *Invariants*: never lowered. Waiters are bounded by the tasks that wait.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

#[derive(Default)]
struct Shared {
    raised: bool,
    next_waiter: u64,
    waiters: Vec<(u64, Waker)>,
}

/// Raises the flag. `Send`, cheap to clone.
#[derive(Clone)]
pub struct Stop(Arc<Mutex<Shared>>);

/// Sees the flag. `Send`, cheap to clone.
#[derive(Clone)]
pub struct StopFlag(Arc<Mutex<Shared>>);

/// A flag, not raised.
pub fn stop_pair() -> (Stop, StopFlag) {
    let shared = Arc::new(Mutex::new(Shared::default()));
    (Stop(shared.clone()), StopFlag(shared))
}

impl Stop {
    /// Raises the flag, for good, and wakes every waiter.
    pub fn raise(&self) {
        let waiters = {
            let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            shared.raised = true;
            std::mem::take(&mut shared.waiters)
        };
        for (_, waker) in waiters {
            waker.wake();
        }
    }
}

impl StopFlag {
    /// Is it raised?
    pub fn is_raised(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).raised
    }

    /// Returns once it is raised. May be dropped before that, and polled in a select.
    pub async fn raised(&self) {
        let mut waiter = Waiter { shared: &self.0, id: None };
        poll_fn(|cx| waiter.poll(cx.waker())).await;
    }
}

/// One wait: leaves the list when it is dropped.
struct Waiter<'a> {
    shared: &'a Mutex<Shared>,
    id: Option<u64>,
}

impl Waiter<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<()> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.raised {
            return Poll::Ready(());
        }
        match self.id.and_then(|id| shared.waiters.iter_mut().find(|(waiter, _)| *waiter == id)) {
            Some((_, known)) => known.clone_from(waker),
            None => {
                let id = shared.next_waiter;
                shared.next_waiter += 1;
                shared.waiters.push((id, waker.clone()));
                self.id = Some(id);
            }
        }
        Poll::Pending
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.lock().unwrap_or_else(PoisonError::into_inner).waiters.retain(|(waiter, _)| *waiter != id);
        }
    }
}
