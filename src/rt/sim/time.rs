//! Sleeping in virtual time.
//!
//! *Invariants*: a dropped sleep leaves no timer. Sleepers due at the same time are woken in the order they fell asleep.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::SimRt;

/// A sleeper: when it is due, and its number.
type Key = (u64, u64);

/// All sleepers of a simulation.
#[derive(Default)]
pub(super) struct Timers {
    next_number: u64,
    sleepers: BTreeMap<Key, Waker>,
}

impl Timers {
    pub(super) fn next_due(&self) -> Option<u64> {
        self.sleepers.first_key_value().map(|((due_ns, _), _)| *due_ns)
    }

    pub(super) fn take_due(&mut self, now_ns: u64) -> Vec<Waker> {
        let later = self.sleepers.split_off(&(now_ns.saturating_add(1), 0));
        std::mem::replace(&mut self.sleepers, later).into_values().collect()
    }

    fn add(&mut self, due_ns: u64, waker: Waker) -> Key {
        let key = (due_ns, self.next_number);
        self.next_number += 1;
        self.sleepers.insert(key, waker);
        key
    }
}

/// Ready when its time has come.
pub(in crate::rt) struct Sleep {
    rt: SimRt,
    due_ns: u64,
    key: Option<Key>,
}

impl Sleep {
    pub(super) fn new(rt: SimRt, due_ns: u64) -> Sleep {
        Sleep { rt, due_ns, key: None }
    }
}

impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Sleep { rt, due_ns, key } = &mut *self;
        let state = &mut *rt.world.state.borrow_mut();
        if *due_ns <= state.now_ns {
            return Poll::Ready(());
        }
        match key.and_then(|key| state.timers.sleepers.get_mut(&key)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *key = Some(state.timers.add(*due_ns, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.rt.world.state.borrow_mut().timers.sleepers.remove(&key);
        }
    }
}
