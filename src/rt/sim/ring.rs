//! The simulated twin of a ring between executors: the same promises, in order, bounded, closed when an end goes.
//!
//! *Which core*: the simulation's one thread; `Arc` and `Mutex` only because an end must be `Send` until it is connected.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::rt::channel::Offer;

struct SimRing<T> {
    items: VecDeque<T>,
    capacity: usize,
    sender: End,
    receiver: End,
}

#[derive(Default)]
struct End {
    connected: bool,
    gone: bool,
    waker: Option<Waker>,
}

impl End {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

type Shared<T> = Arc<Mutex<SimRing<T>>>;

/// The sending end.
pub(in crate::rt) struct SimSender<T>(Shared<T>);
/// The receiving end.
pub(in crate::rt) struct SimReceiver<T>(Shared<T>);

/// A ring for `capacity` items.
pub(in crate::rt) fn sim_ring<T>(capacity: usize) -> (SimSender<T>, SimReceiver<T>) {
    let ring = SimRing { items: VecDeque::new(), capacity, sender: End::default(), receiver: End::default() };
    let shared = Arc::new(Mutex::new(ring));
    (SimSender(shared.clone()), SimReceiver(shared))
}

fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, SimRing<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> SimSender<T> {
    /// Waits for the other end, as the real one does.
    pub(in crate::rt) async fn connect(&self) {
        poll_fn(|cx| {
            let ring = &mut *lock(&self.0);
            meet(&mut ring.sender, &mut ring.receiver, cx.waker())
        })
        .await;
    }

    pub(in crate::rt) fn offer(&self, item: T) -> Offer<T> {
        let mut ring = lock(&self.0);
        if ring.receiver.gone {
            return Offer::Closed(item);
        }
        if ring.items.len() == ring.capacity {
            return Offer::Full(item);
        }
        ring.items.push_back(item);
        ring.receiver.wake();
        Offer::Taken
    }

    /// Returns once there is room, or nobody to receive.
    pub(in crate::rt) async fn room(&self) {
        poll_fn(|cx| {
            let mut ring = lock(&self.0);
            if ring.receiver.gone || ring.items.len() < ring.capacity {
                return Poll::Ready(());
            }
            ring.sender.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl<T> SimReceiver<T> {
    /// Waits for the other end, as the real one does.
    pub(in crate::rt) async fn connect(&self) {
        poll_fn(|cx| {
            let ring = &mut *lock(&self.0);
            meet(&mut ring.receiver, &mut ring.sender, cx.waker())
        })
        .await;
    }

    pub(in crate::rt) async fn recv(&self) -> Option<T> {
        poll_fn(|cx| {
            let mut ring = lock(&self.0);
            if let Some(item) = ring.items.pop_front() {
                ring.sender.wake();
                return Poll::Ready(Some(item));
            }
            if ring.sender.gone {
                return Poll::Ready(None);
            }
            ring.receiver.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

fn meet(own: &mut End, other: &mut End, waker: &Waker) -> Poll<()> {
    own.connected = true;
    other.wake();
    if other.connected || other.gone {
        return Poll::Ready(());
    }
    own.waker = Some(waker.clone());
    Poll::Pending
}

impl<T> Drop for SimSender<T> {
    fn drop(&mut self) {
        let mut ring = lock(&self.0);
        ring.sender.gone = true;
        ring.receiver.wake();
    }
}

impl<T> Drop for SimReceiver<T> {
    fn drop(&mut self) {
        let items = {
            let mut ring = lock(&self.0);
            ring.receiver.gone = true;
            ring.sender.wake();
            std::mem::take(&mut ring.items)
        };
        // Outside the lock: an item may own anything, even ends of this ring.
        drop(items);
    }
}
