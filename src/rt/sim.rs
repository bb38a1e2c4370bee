//! The simulated twin of the executors: many of them on one thread, in virtual time, all order drawn from one seed.
//!
//! *Which core*: the simulation's one thread; the driver ([`SimRuntime`]) is owned by `tools/sim`.
//! *Invariants*: same seed and same calls, same order of everything. Time moves only by [`SimRuntime::run_due`]. A task runs
//! only within [`SimRuntime::run_ready`]. A killed executor's tasks are dropped, and nothing runs on it again.
//! *Why random order*: a real executor's order depends on the kernel. What holds under every order needs no luck.

pub(in crate::rt) mod ring;
mod task;
mod time;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::Rt;
use task::{Ready, TaskId, Tasks, YieldNow};
use time::{Sleep, Timers};

/// Polls without time moving after which a simulation counts as stuck in a loop.
const POLLS_WITHOUT_TIME_MAX: u64 = 1_000_000;

/// Where a simulated process starts on the wall clock: 2023-11-14, ms since the Unix epoch.
const WALL_START_MS: i64 = 1_700_000_000_000;

/// A simulated executor, for the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimExecutor(usize);

/// The end of a process by its own will: [`Rt::die`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The executor that ended it.
    pub executor: SimExecutor,
    /// Why.
    pub message: String,
}

/// What a dying task unwinds with.
struct LastWords(String);

/// Ends the task that calls it; its driver ends the process.
pub(super) fn die(message: &str) -> ! {
    // No panic: nothing is wrong with the simulation, and no hook is to speak of it.
    resume_unwind(Box::new(LastWords(message.to_owned())))
}

/// A simulated executor as its own tasks see it. Cheap to clone.
#[derive(Clone)]
pub struct SimRt {
    world: Rc<World>,
    executor: SimExecutor,
}

/// The driver of all executors of a simulation.
pub struct SimRuntime {
    world: Rc<World>,
}

struct World {
    state: RefCell<State>,
    ready: Arc<Ready>,
}

struct State {
    now_ns: u64,
    wall_offset_ms: i64,
    /// Order, delays: the simulation's own dice.
    schedule: SmallRng,
    /// What tasks draw by [`Rt::random_u64`].
    dice: SmallRng,
    executors: Vec<Executor>,
    tasks: Tasks,
    timers: Timers,
    polls_without_time: u64,
}

struct Executor {
    name: String,
    alive: bool,
    /// Runs nothing before this time: a processor taken away.
    stalled_until_ns: u64,
}

impl SimRuntime {
    /// A world without executors, at time 0.
    pub fn new(seed: u64) -> SimRuntime {
        let state = State {
            now_ns: 0,
            wall_offset_ms: WALL_START_MS,
            schedule: SmallRng::seed_from_u64(seed),
            dice: SmallRng::seed_from_u64(seed ^ 0x9e37_79b9_7f4a_7c15),
            executors: Vec::new(),
            tasks: Tasks::default(),
            timers: Timers::default(),
            polls_without_time: 0,
        };
        SimRuntime { world: Rc::new(World { state: RefCell::new(state), ready: Arc::default() }) }
    }

    /// A new executor. Its first task is spawned by [`Rt::spawn`].
    pub fn new_executor(&self, name: &str) -> (SimExecutor, Rt) {
        let mut state = self.world.state.borrow_mut();
        let executor = SimExecutor(state.executors.len());
        state.executors.push(Executor { name: name.into(), alive: true, stalled_until_ns: 0 });
        self.world.ready.add_executor();
        (executor, Rt::Sim(SimRt { world: self.world.clone(), executor }))
    }

    /// Drops all tasks of an executor, now and for good: a crash of its process. Their destructors run, so cut its network
    /// and its disk off before, or they would say goodbye.
    pub fn kill_executor(&self, executor: SimExecutor) {
        let tasks = {
            let mut state = self.world.state.borrow_mut();
            state.executors[executor.0].alive = false;
            self.world.ready.clear(executor.0);
            state.tasks.take_all_of(executor.0)
        };
        // Outside the borrow: destructors may reach for the runtime.
        drop(tasks);
    }

    /// An executor gets no processor until `until_ns`.
    pub fn stall_executor(&self, executor: SimExecutor, until_ns: u64) {
        self.world.state.borrow_mut().executors[executor.0].stalled_until_ns = until_ns;
    }

    /// How many tasks live on an executor.
    pub fn task_count(&self, executor: SimExecutor) -> usize {
        self.world.state.borrow().tasks.count_of(executor.0)
    }

    /// The executor's name.
    pub fn executor_name(&self, executor: SimExecutor) -> String {
        self.world.state.borrow().executors[executor.0].name.clone()
    }

    /// Runs runnable tasks, in an order drawn from the seed, until none is left. A process that dies panics here.
    pub fn run_ready(&self) {
        if let Some(death) = self.run_until_death() {
            panic!("FATAL: {}", death.message);
        }
    }

    /// As [`SimRuntime::run_ready`], but stops when a process dies. No task of it may run again: kill its executors, then go on.
    #[must_use]
    pub fn run_until_death(&self) -> Option<Death> {
        while let Some(task) = self.next_task() {
            if let Some(message) = self.poll(task) {
                return Some(Death { executor: SimExecutor(task.executor), message });
            }
        }
        None
    }

    fn next_task(&self) -> Option<TaskId> {
        let state = &mut *self.world.state.borrow_mut();
        let now_ns = state.now_ns;
        let executors = &state.executors;
        let runs = |executor: usize| executors[executor].alive && executors[executor].stalled_until_ns <= now_ns;
        let task = self.world.ready.draw(runs, |count| state.schedule.random_range(0..count))?;
        state.polls_without_time += 1;
        assert!(
            state.polls_without_time < POLLS_WITHOUT_TIME_MAX,
            "tasks run without end and without time passing; the last one is on {}",
            state.executors[task.executor].name
        );
        Some(task)
    }

    /// The last words of the process, if the task ends it.
    fn poll(&self, id: TaskId) -> Option<String> {
        let mut task = self.world.state.borrow_mut().tasks.take(id)?;
        // The task may spawn, wake, sleep: nothing is borrowed while it runs.
        let polled = catch_unwind(AssertUnwindSafe(|| task.poll()));
        let mut state = self.world.state.borrow_mut();
        match &polled {
            Ok(Poll::Pending) if state.executors[id.executor].alive => {
                state.tasks.put_back(id, task);
                return None;
            }
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) | Err(_) => state.tasks.end(id),
        }
        drop(state);
        drop(task);
        let unwound_with = polled.err()?;
        match unwound_with.downcast::<LastWords>() {
            Ok(last_words) => Some(last_words.0),
            Err(panic) => resume_unwind(panic),
        }
    }

    /// When the next timer is due, or a stalled executor with something to do goes on; ns of virtual time.
    pub fn next_due(&self) -> Option<u64> {
        let state = self.world.state.borrow();
        let stalled = state
            .executors
            .iter()
            .enumerate()
            .filter(|(index, executor)| {
                executor.alive && executor.stalled_until_ns > state.now_ns && self.world.ready.has_any(*index)
            })
            .map(|(_, executor)| executor.stalled_until_ns)
            .min();
        [state.timers.next_due(), stalled].into_iter().flatten().min()
    }

    /// Moves time to `now_ns` and wakes every sleeper that is due.
    pub fn run_due(&self, now_ns: u64) {
        let due = {
            let mut state = self.world.state.borrow_mut();
            assert!(now_ns >= state.now_ns, "time never goes back");
            if now_ns > state.now_ns {
                state.polls_without_time = 0;
            }
            state.now_ns = now_ns;
            state.timers.take_due(now_ns)
        };
        for waker in due {
            waker.wake();
        }
    }

    /// Now, in ns of virtual time.
    pub fn now_ns(&self) -> u64 {
        self.world.state.borrow().now_ns
    }

    /// Sets the wall clock forward or back by `by_ms`.
    pub fn jump_wall_clock(&self, by_ms: i64) {
        self.world.state.borrow_mut().wall_offset_ms += by_ms;
    }
}

impl Drop for SimRuntime {
    fn drop(&mut self) {
        // Tasks hold the runtime that holds them.
        let executors = self.world.state.borrow().executors.len();
        for executor in 0..executors {
            self.kill_executor(SimExecutor(executor));
        }
    }
}

impl SimRt {
    /// The executor that this is, for the driver.
    pub fn executor(&self) -> SimExecutor {
        self.executor
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.world.state.borrow().now_ns
    }

    pub(super) fn wall_ms(&self) -> i64 {
        let state = self.world.state.borrow();
        state.wall_offset_ms + i64::try_from(state.now_ns / 1_000_000).unwrap_or(i64::MAX / 2)
    }

    pub(super) fn random_u64(&self) -> u64 {
        self.world.state.borrow_mut().dice.next_u64()
    }

    /// On a dead executor the task is dropped unrun.
    pub(super) fn spawn(&self, task: Pin<Box<dyn Future<Output = ()>>>) {
        let refused = {
            let mut state = self.world.state.borrow_mut();
            if state.executors[self.executor.0].alive {
                let id = state.tasks.add(self.executor.0, task, &self.world.ready);
                self.world.ready.push(id);
                None
            } else {
                Some(task)
            }
        };
        drop(refused);
    }

    pub(super) fn sleep(&self, time: Duration) -> Sleep {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Sleep::new(self.clone(), self.now_ns().saturating_add(ns))
    }

    pub(super) fn yield_now(&self) -> YieldNow {
        YieldNow::new(self.world.ready.clone(), self.executor.0)
    }

    /// The slice is used up whenever the seed says so.
    pub(super) async fn yield_if_needed(&self) {
        if self.draw(8) == 0 {
            self.yield_now().await;
        }
    }

    pub(super) async fn unblock<T>(&self, work: impl FnOnce() -> T) -> T {
        let micros = self.draw(200);
        self.sleep(Duration::from_micros(micros)).await;
        work()
    }

    fn draw(&self, below: u64) -> u64 {
        self.world.state.borrow_mut().schedule.random_range(0..below)
    }
}

#[cfg(test)]
mod tests;
