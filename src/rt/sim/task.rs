//! Simulated tasks, and the lists of those that are runnable.
//!
//! *Invariants*: a task is in at most one list, at most once. One that yields runs after all that were runnable then.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Tasks that run, at most, while others of their executor wait after a yield.
const ROUND_MAX: usize = 256;

/// A task; numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskId {
    pub(super) executor: usize,
    number: u64,
}

/// A task that is not running right now.
pub(super) struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    alarm: Arc<Alarm>,
}

impl Task {
    pub(super) fn poll(&mut self) -> Poll<()> {
        self.alarm.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(self.alarm.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// All tasks of a simulation, by executor and number.
#[derive(Default)]
pub(super) struct Tasks {
    next_number: u64,
    /// `None`: it is being polled.
    tasks: BTreeMap<(usize, u64), Option<Task>>,
}

impl Tasks {
    pub(super) fn add(
        &mut self,
        executor: usize,
        future: Pin<Box<dyn Future<Output = ()>>>,
        ready: &Arc<Ready>,
    ) -> TaskId {
        let id = TaskId { executor, number: self.next_number };
        self.next_number += 1;
        let alarm = Arc::new(Alarm { id, queued: AtomicBool::new(true), ready: ready.clone() });
        self.tasks.insert((executor, id.number), Some(Task { future, alarm }));
        id
    }

    pub(super) fn take(&mut self, id: TaskId) -> Option<Task> {
        self.tasks.get_mut(&(id.executor, id.number))?.take()
    }

    pub(super) fn put_back(&mut self, id: TaskId, task: Task) {
        if let Some(slot) = self.tasks.get_mut(&(id.executor, id.number)) {
            *slot = Some(task);
        }
    }

    pub(super) fn end(&mut self, id: TaskId) {
        self.tasks.remove(&(id.executor, id.number));
    }

    pub(super) fn count_of(&self, executor: usize) -> usize {
        self.tasks.range((executor, 0)..=(executor, u64::MAX)).count()
    }

    pub(super) fn take_all_of(&mut self, executor: usize) -> Vec<Task> {
        let mut after = self.tasks.split_off(&(executor, 0));
        let mut rest = after.split_off(&(executor + 1, 0));
        self.tasks.append(&mut rest);
        after.into_values().flatten().collect()
    }
}

/// Makes its task runnable.
struct Alarm {
    id: TaskId,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.push(self.id);
        }
    }
}

/// The runnable tasks of every executor.
#[derive(Default)]
pub(super) struct Ready(Mutex<Vec<Lists>>);

#[derive(Default)]
struct Lists {
    round: Vec<TaskId>,
    /// Those that yielded in this round.
    next_round: Vec<TaskId>,
    drawn_in_round: usize,
    /// The task that is being pushed yields.
    yielding: bool,
}

impl Lists {
    fn begin_round_if_due(&mut self) {
        if self.round.is_empty() || self.drawn_in_round >= ROUND_MAX {
            self.round.append(&mut self.next_round);
            self.drawn_in_round = 0;
        }
    }
}

impl Ready {
    fn lists(&self) -> std::sync::MutexGuard<'_, Vec<Lists>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_executor(&self) {
        self.lists().push(Lists::default());
    }

    pub(super) fn clear(&self, executor: usize) {
        self.lists()[executor] = Lists::default();
    }

    pub(super) fn has_any(&self, executor: usize) -> bool {
        let lists = &self.lists()[executor];
        !lists.round.is_empty() || !lists.next_round.is_empty()
    }

    pub(super) fn push(&self, id: TaskId) {
        let lists = &mut self.lists()[id.executor];
        if lists.yielding { &mut lists.next_round } else { &mut lists.round }.push(id);
    }

    /// Draws one runnable task of an executor that `runs`; `pick` chooses an index below a count.
    pub(super) fn draw(&self, runs: impl Fn(usize) -> bool, mut pick: impl FnMut(usize) -> usize) -> Option<TaskId> {
        let mut all = self.lists();
        let candidates = all
            .iter()
            .enumerate()
            .filter(|(executor, lists)| !(lists.round.is_empty() && lists.next_round.is_empty()) && runs(*executor))
            .map(|(executor, _)| executor);
        let candidates: smallvec::SmallVec<[usize; 16]> = candidates.collect();
        if candidates.is_empty() {
            return None;
        }
        let lists = &mut all[candidates[pick(candidates.len())]];
        lists.begin_round_if_due();
        lists.drawn_in_round += 1;
        let index = pick(lists.round.len());
        Some(lists.round.swap_remove(index))
    }

    /// Makes a task runnable after all that are runnable now.
    fn push_behind(&self, executor: usize, waker: &Waker) {
        self.lists()[executor].yielding = true;
        waker.wake_by_ref();
        self.lists()[executor].yielding = false;
    }
}

/// Ready at its second poll.
pub(in crate::rt) struct YieldNow {
    ready: Arc<Ready>,
    executor: usize,
    yielded: bool,
}

impl YieldNow {
    pub(super) fn new(ready: Arc<Ready>, executor: usize) -> YieldNow {
        YieldNow { ready, executor, yielded: false }
    }
}

impl Future for YieldNow {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        self.ready.push_behind(self.executor, cx.waker());
        Poll::Pending
    }
}
