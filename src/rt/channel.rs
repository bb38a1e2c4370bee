//! Bounded single-producer single-consumer rings between executors.
//!
//! *Which core*: each end belongs to the executor that connected it.
//! *Invariants*: bounded; in order; nothing is lost while both executors live. An end is touched only by the thread that
//! connected it (checked).
//! *Not here*: queues within one executor (`local`).
//! *Why no waiting on the ring's own "room" event*: its waker list grows with every poll and its send panics where two tasks
//! race. A full ring means an overloaded peer: a short sleep costs nothing that matters then.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Rt;
use super::ring::channels::shared_channel::{
    ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender, new_bounded,
};
use super::sim::ring::{SimReceiver, SimSender, sim_ring};

/// How long a sender waits before it looks again whether a full ring has room.
const FULL_WAIT: Duration = Duration::from_micros(50);

/// The sending end of a bounded ring from one executor to another. `Send` until connected: using or dropping a connected
/// end on another thread panics.
pub struct Sender<T: Send + 'static>(SenderEnd<T>);

/// The receiving end. `Send` until connected: using or dropping a connected end on another thread panics.
pub struct Receiver<T: Send + 'static>(ReceiverEnd<T>);

enum SenderEnd<T: Send + 'static> {
    Idle(SharedSender<T>, SimSender<T>),
    Ring(HomeBound<ConnectedSender<T>>),
    Sim(SimSender<T>),
    /// Being connected.
    Moving,
}

enum ReceiverEnd<T: Send + 'static> {
    Idle(SharedReceiver<T>, SimReceiver<T>),
    Ring(HomeBound<ConnectedReceiver<T>>),
    Sim(SimReceiver<T>),
    /// Being connected.
    Moving,
}
/// What became of an item.
pub(super) enum Offer<T> {
    Taken,
    Full(T),
    Closed(T),
}

/// A lock-free, bounded, single-producer single-consumer ring. The capacity is rounded up to a power of two.
pub fn channel<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(capacity > 0, "a ring without a slot passes nothing");
    let (ring_sender, ring_receiver) = new_bounded(capacity);
    // Which world it is for is known only at `connect`; the half that is not needed goes then.
    let (sim_sender, sim_receiver) = sim_ring(capacity.next_power_of_two());
    let sender = Sender(SenderEnd::Idle(ring_sender, sim_sender));
    (sender, Receiver(ReceiverEnd::Idle(ring_receiver, sim_receiver)))
}

impl<T: Send + 'static> Sender<T> {
    /// Binds this end to the executor that this runs on; must be awaited once, on that executor, before anything is sent.
    /// Waits for the other end to be connected or dropped: connect all ends of an executor at the same time, in tasks, or in
    /// the same order everywhere, or two executors wait for each other for ever.
    pub async fn connect(&mut self, rt: &Rt) {
        let SenderEnd::Idle(ring, sim) = std::mem::replace(&mut self.0, SenderEnd::Moving) else {
            panic!("a sender is connected once");
        };
        self.0 = match rt {
            Rt::Ring => SenderEnd::Ring(HomeBound::new(ring.connect().await)),
            Rt::Sim(_) => {
                drop(ring);
                sim.connect().await;
                SenderEnd::Sim(sim)
            }
        };
    }

    /// Sends, waiting for room. Only one task per sender may call it. Err: the other executor is gone.
    pub async fn send(&self, item: T) -> Result<(), T> {
        let mut item = item;
        loop {
            item = match self.offer(item) {
                Offer::Taken => return Ok(()),
                Offer::Closed(item) => return Err(item),
                Offer::Full(item) => item,
            };
            match &self.0 {
                SenderEnd::Sim(sim) => sim.room().await,
                _ => Rt::Ring.sleep(FULL_WAIT).await,
            }
        }
    }

    /// Sends if there is room and somebody to receive it.
    pub fn try_send(&self, item: T) -> Result<(), T> {
        match self.offer(item) {
            Offer::Taken => Ok(()),
            Offer::Closed(item) | Offer::Full(item) => Err(item),
        }
    }

    fn offer(&self, item: T) -> Offer<T> {
        use super::ring::{GlommioError, ResourceType};
        match &self.0 {
            SenderEnd::Ring(sender) => match sender.get().try_send(item) {
                Ok(()) => Offer::Taken,
                Err(GlommioError::WouldBlock(ResourceType::Channel(item))) => Offer::Full(item),
                Err(GlommioError::Closed(ResourceType::Channel(item))) => Offer::Closed(item),
                Err(other) => unreachable!("a ring is full or closed, nothing else: {other}"),
            },
            SenderEnd::Sim(sim) => sim.offer(item),
            SenderEnd::Idle(..) | SenderEnd::Moving => panic!("connect a sender before it sends"),
        }
    }
}

impl<T: Send + 'static> Receiver<T> {
    /// As [`Sender::connect`].
    pub async fn connect(&mut self, rt: &Rt) {
        let ReceiverEnd::Idle(ring, sim) = std::mem::replace(&mut self.0, ReceiverEnd::Moving) else {
            panic!("a receiver is connected once");
        };
        self.0 = match rt {
            Rt::Ring => ReceiverEnd::Ring(HomeBound::new(ring.connect().await)),
            Rt::Sim(_) => {
                drop(ring);
                sim.connect().await;
                ReceiverEnd::Sim(sim)
            }
        };
    }

    /// The next item; `None` when the sender is gone and the ring is empty. One dedicated task calls it, never in a select
    /// (each poll that finds nothing costs memory until an item comes).
    pub async fn recv(&self) -> Option<T> {
        match &self.0 {
            ReceiverEnd::Ring(receiver) => receiver.get().recv().await,
            ReceiverEnd::Sim(sim) => sim.recv().await,
            ReceiverEnd::Idle(..) | ReceiverEnd::Moving => panic!("connect a receiver before it receives"),
        }
    }
}

/// A value that only the thread which made it may touch, however far it travels.
struct HomeBound<T> {
    home: u64,
    value: std::mem::ManuallyDrop<T>,
}

// SAFETY: `get` and `drop` reach the value only on its home thread; ids of threads are never used twice.
unsafe impl<T> Send for HomeBound<T> {}

impl<T> HomeBound<T> {
    fn new(value: T) -> HomeBound<T> {
        HomeBound { home: thread_number(), value: std::mem::ManuallyDrop::new(value) }
    }

    fn get(&self) -> &T {
        assert!(self.home == thread_number(), "a connected end of a ring stays on its executor");
        &self.value
    }
}

impl<T> Drop for HomeBound<T> {
    fn drop(&mut self) {
        if self.home == thread_number() {
            // SAFETY: dropped once, here, on the thread that made it.
            unsafe { std::mem::ManuallyDrop::drop(&mut self.value) }
        }
        // Elsewhere it leaks: its reference counts are not atomic.
    }
}

/// A number of this thread's own.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}
