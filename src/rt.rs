//! Executors, clock, sleep, randomness and the channels between executors: by glommio, or simulated.
//! The only file of this package that names glommio; its submodules see it as `ring`.
//!
//! *Which core*: any executor; an [`Rt`] belongs to the one that made it.
//! *Invariants*: every task of a broker is spawned here, so that a panic ends the process and the watchdog sees the work.
//! Simulated code never meets a real clock, thread or random number.
//! *Not here*: disks (`storage::disk`), sockets (`net::stream`), what tasks of one executor share (`local`).
//! *Why*: the loops are written once, and one seed replays them on one thread.

mod channel;
mod process;
pub mod sim;
mod start;
mod stop;
mod watchdog;

use std::future::Future;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use glommio as ring;

pub use channel::{Receiver, Sender, channel};
pub use process::{
    Limits, StopSignal, allowed_cpus, block_stop_signals, raise_limits, usable_processors, wait_for_stop_signal,
};
pub use start::{ExecutorSpec, Executors, Main, Options, StartError, run_alone, start};
pub use stop::{Stop, StopFlag, stop_pair};

/// A point in time, in ns since some fixed point; never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// This point, moved on by `time` (saturating).
    pub fn after(self, time: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }
    /// How long ago `earlier` was; zero if it was not.
    pub fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The runtime that a task lives on. Cheap to clone; not `Send`: it belongs to its executor.
#[derive(Clone)]
pub enum Rt {
    /// An executor over io_uring.
    Ring,
    /// A simulated executor.
    Sim(sim::SimRt),
}

impl Rt {
    /// Now.
    pub fn now(&self) -> Monotonic {
        match self {
            Rt::Ring => Monotonic(u64::try_from(process_start().elapsed().as_nanos()).unwrap_or(u64::MAX)),
            Rt::Sim(sim) => Monotonic(sim.now_ns()),
        }
    }

    /// Wall clock, ms since the Unix epoch; may jump.
    pub fn wall_ms(&self) -> i64 {
        match self {
            Rt::Ring => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
            }
            Rt::Sim(sim) => sim.wall_ms(),
        }
    }

    /// Runs a task on this executor until it ends. A panic in it ends the process with a message (simulated: the
    /// simulation, by unwinding into its driver). Nothing of it runs before this returns: the caller may hold borrows.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        match self {
            Rt::Ring => {
                // The executor polls a new task at once, on the spawner's stack.
                let later = async move {
                    futures_lite::future::yield_now().await;
                    task.await;
                };
                ring::spawn_local(watchdog::observed(later)).detach();
            }
            Rt::Sim(sim) => sim.spawn(Box::pin(task)),
        }
    }

    /// Sleeps; late by up to a tick of the reactor, never early.
    pub async fn sleep(&self, time: Duration) {
        match self {
            Rt::Ring => ring::timer::sleep(time).await,
            Rt::Sim(sim) => sim.sleep(time).await,
        }
    }

    /// Sleeps until `deadline`; returns at once if it has passed.
    pub async fn sleep_until(&self, deadline: Monotonic) {
        let left = deadline.since(self.now());
        if !left.is_zero() {
            self.sleep(left).await;
        }
    }

    /// Lets every other runnable task of this executor run once.
    pub async fn yield_now(&self) {
        match self {
            Rt::Ring => ring::executor().yield_now().await,
            Rt::Sim(sim) => sim.yield_now().await,
        }
    }

    /// Lets others run if this task has used up its slice (a no-op until the preempt timer has fired).
    pub async fn yield_if_needed(&self) {
        match self {
            Rt::Ring => ring::executor().yield_if_needed().await,
            Rt::Sim(sim) => sim.yield_if_needed().await,
        }
    }

    /// Ends the process with status 1 and this message: what it would do next can't be believed. Simulated: unwinds into the
    /// driver, which ends that process and no other (see [`sim::SimRuntime::run_until_death`]).
    pub fn die(&self, message: &str) -> ! {
        match self {
            Rt::Ring => {
                eprintln!("FATAL: {message}");
                tracing::error!("{message}");
                std::process::exit(1);
            }
            Rt::Sim(_) => sim::die(message),
        }
    }

    /// A random number, from the seed where simulated.
    pub fn random_u64(&self) -> u64 {
        match self {
            Rt::Ring => rand::random(),
            Rt::Sim(sim) => sim.random_u64(),
        }
    }

    /// Runs blocking or long work off the executor (inline, after a delay from the seed, where simulated). A panic in it
    /// ends the process as one in a task does.
    pub async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Rt::Ring => {
                let name = process::executor_name();
                ring::executor().spawn_blocking(move || process::with_executor_name(name, work)).await
            }
            Rt::Sim(sim) => sim.unblock(work).await,
        }
    }
}

/// The fixed point of [`Monotonic`] outside of simulations.
fn process_start() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

#[cfg(test)]
mod tests;
