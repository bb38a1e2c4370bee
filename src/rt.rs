//! Executors, clock, sleep, randomness and the channels between executors: by glommio, or simulated.
//! The only file of this package that names glommio.
//!
//! Contract (bodies are being written):

use std::future::Future;
use std::time::Duration;

/// A point in time, in ns since some fixed point; never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

/// The runtime that a task lives on. Cheap to clone; not `Send`: it belongs to its executor.
#[derive(Clone)]
pub enum Rt {
    /// A glommio executor.
    Ring,
    /// A simulated executor.
    Sim(std::rc::Rc<()>),
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async)]
impl Rt {
    /// Now.
    pub fn now(&self) -> Monotonic {
        unimplemented!()
    }
    /// Wall clock, ms since the Unix epoch; may jump.
    pub fn wall_ms(&self) -> i64 {
        unimplemented!()
    }
    /// Runs a task on this executor until it ends. A panic in it ends the process with a message.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        unimplemented!()
    }
    /// Sleeps.
    pub async fn sleep(&self, time: Duration) {
        unimplemented!()
    }
    /// Lets every other runnable task of this executor run once.
    pub async fn yield_now(&self) {
        unimplemented!()
    }
    /// Lets others run if this task has used up its slice (a no-op until the preempt timer has fired).
    pub async fn yield_if_needed(&self) {
        unimplemented!()
    }
    /// A random number, from the seed where simulated.
    pub fn random_u64(&self) -> u64 {
        unimplemented!()
    }
    /// Runs blocking or long work off the executor (inline where simulated).
    pub async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        unimplemented!()
    }
}

/// The sending end of a bounded ring from one executor to another. `Send` until connected.
pub struct Sender<T>(std::marker::PhantomData<T>);
/// The receiving end. `Send` until connected.
pub struct Receiver<T>(std::marker::PhantomData<T>);

/// A lock-free, bounded, single-producer single-consumer ring.
#[allow(unused_variables, clippy::unimplemented)]
pub fn channel<T: Send + 'static>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    unimplemented!()
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async, clippy::missing_errors_doc)]
impl<T: Send + 'static> Sender<T> {
    /// Binds this end to the executor that this runs on; must be awaited once, on that executor, before anything is sent.
    pub async fn connect(&mut self, rt: &Rt) {
        unimplemented!()
    }
    /// Sends, waiting for room. Only one task per sender may call it. Err: the other executor is gone.
    pub async fn send(&self, item: T) -> Result<(), T> {
        unimplemented!()
    }
    /// Sends if there is room.
    pub fn try_send(&self, item: T) -> Result<(), T> {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async)]
impl<T: Send + 'static> Receiver<T> {
    /// As [`Sender::connect`].
    pub async fn connect(&mut self, rt: &Rt) {
        unimplemented!()
    }
    /// The next item; `None` when the sender is gone and the ring is empty. One dedicated task calls it, never in a select.
    pub async fn recv(&self) -> Option<T> {
        unimplemented!()
    }
}
