//! The watchdog: one plain thread that wakes each executor every few ms for as long as it works, and ever more seldom after that.
//!
//! *Which core*: a thread of its own, unpinned. Executors only set a flag.
//! *Invariants*: an executor that works is woken every [`PERIOD`]; one that rests after pauses that grow threefold up to
//! [`REST`], so that idle costs next to nothing, and a wake-up that was lost is found within three times its age.
//! *Why*: the reactor may park while tasks are runnable, when its thread loses the CPU for longer than the preempt timer
//! between reaping completions and running tasks. Nothing inside the executor can see that; a wake-up from outside ends it.

use std::cell::Cell;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

/// How often a working executor is woken: the longest stall that a lost wake-up causes.
const PERIOD: Duration = Duration::from_millis(3);
/// The longest pause between two wake-ups of a resting executor.
const REST: Duration = Duration::from_millis(250);

thread_local! {
    static PULSE: Cell<Option<&'static Pulse>> = const { Cell::new(None) };
}

/// What one executor and the watchdog share.
struct Pulse {
    /// Set by the executor on every poll of a task, cleared by the watchdog every [`PERIOD`].
    worked: AtomicBool,
    /// Wakes the executor's heartbeat task.
    waker: Mutex<Option<Waker>>,
    crew: Arc<Crew>,
}

/// What the watchdog and all executors share.
struct Crew {
    /// The watchdog sleeps: whoever works first must unpark it.
    asleep: AtomicBool,
    ended: AtomicBool,
    watchdog: Mutex<Option<Thread>>,
}

impl Pulse {
    /// Notes that this executor works. One relaxed load, but for the first poll of each period.
    fn mark(&self) {
        if self.worked.load(Ordering::Relaxed) {
            return;
        }
        self.worked.store(true, Ordering::Relaxed);
        // Pairs with the fence in `fall_asleep`: either we see `asleep`, or the watchdog sees `worked`.
        fence(Ordering::SeqCst);
        if self.crew.asleep.load(Ordering::Relaxed) && self.crew.asleep.swap(false, Ordering::AcqRel) {
            self.crew.unpark();
        }
    }

    fn wake(&self) {
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake_by_ref();
        }
    }
}

impl Crew {
    fn unpark(&self) {
        if let Some(thread) = &*self.watchdog.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }
}

/// The running watchdog; ends with [`Watchdog::end`].
pub(super) struct Watchdog {
    crew: Arc<Crew>,
    thread: JoinHandle<()>,
}

/// One executor's place under the watchdog, on its way to that executor.
pub(super) struct Place(&'static Pulse);

impl Watchdog {
    /// Starts the thread for `executors` executors; the places are theirs to take.
    pub(super) fn start(executors: usize) -> std::io::Result<(Watchdog, Vec<Place>)> {
        let crew = Arc::new(Crew {
            asleep: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            watchdog: Mutex::new(None),
        });
        // Leaked: executors live as long as their process, and are few.
        let pulses: Vec<&'static Pulse> = (0..executors)
            .map(|_| {
                let pulse = Pulse { worked: AtomicBool::new(true), waker: Mutex::new(None), crew: crew.clone() };
                &*Box::leak(Box::new(pulse))
            })
            .collect();
        let places = pulses.iter().map(|pulse| Place(pulse)).collect();
        let watched = crew.clone();
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || watch(&watched, &pulses))?;
        *crew.watchdog.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread.thread().clone());
        Ok((Watchdog { crew, thread }, places))
    }

    /// Ends the thread and waits for it.
    pub(super) fn end(self) {
        self.crew.ended.store(true, Ordering::Release);
        self.crew.unpark();
        let _ = self.thread.join();
    }
}

impl Place {
    /// Takes the place on this executor. The future is the heartbeat task: it never ends, and does nothing when woken.
    pub(super) fn take(self) -> impl Future<Output = ()> {
        PULSE.set(Some(self.0));
        std::future::poll_fn(move |cx| {
            let mut waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
            if waker.is_none() {
                *waker = Some(cx.waker().clone());
            }
            Poll::<()>::Pending
        })
    }
}

/// An executor as the watchdog sees it.
struct Watched {
    pulse: &'static Pulse,
    woken_at: Instant,
    /// From then to the next time, unless it works before.
    pause: Duration,
}

impl Watched {
    /// Wakes the executor if that is due. Gives the time to the next look at it.
    fn look(&mut self, now: Instant) -> Duration {
        let rested = now.duration_since(self.woken_at);
        let has_worked = self.pulse.worked.swap(false, Ordering::Relaxed);
        if !has_worked && rested < self.pause {
            return self.pause - rested;
        }
        self.pause = if has_worked { PERIOD } else { (self.pause * 3).min(REST) };
        self.woken_at = now;
        self.pulse.wake();
        self.pause
    }
}

/// The thread's loop.
fn watch(crew: &Crew, pulses: &[&'static Pulse]) {
    let woken_at = Instant::now();
    let mut watched: Vec<Watched> = pulses.iter().map(|pulse| Watched { pulse, woken_at, pause: PERIOD }).collect();
    while !crew.ended.load(Ordering::Acquire) {
        let now = Instant::now();
        let next = watched.iter_mut().map(|watched| watched.look(now)).min().unwrap_or(REST);
        // Who begins to work meanwhile is looked at a period later.
        if next > PERIOD {
            fall_asleep(crew, pulses, next - PERIOD);
        }
        std::thread::sleep(PERIOD);
    }
}

/// Sleeps for a time, or until an executor works.
fn fall_asleep(crew: &Crew, pulses: &[&'static Pulse], time: Duration) {
    crew.asleep.store(true, Ordering::Relaxed);
    // Pairs with the fence in `Pulse::mark`.
    fence(Ordering::SeqCst);
    if !pulses.iter().any(|pulse| pulse.worked.load(Ordering::Relaxed)) {
        std::thread::park_timeout(time);
    }
    crew.asleep.store(false, Ordering::Relaxed);
}

/// `task`, with its polls seen by the watchdog.
pub(super) async fn observed(task: impl Future<Output = ()>) {
    let mut task = std::pin::pin!(task);
    std::future::poll_fn(|cx| {
        if let Some(pulse) = PULSE.get() {
            pulse.mark();
        }
        task.as_mut().poll(cx)
    })
    .await;
}
