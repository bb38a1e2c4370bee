//! A follower's end of one replication stream: what is followed on it, and what its leader is to hear.
//!
//! *Which core*: the followers' shard.
//! *Invariants*: a partition is in a list at most once, or its second entry says nothing; lists are bounded by the partitions. The link
//! lives as long as something is followed on it, its connections come and go.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use crate::local::Notify;
use crate::metadata::image::BrokerEpoch;
use crate::model::{BrokerId, PartitionId};
use crate::rt::Monotonic;

/// Whose stream: one for each shard of each leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkKey {
    pub(super) leader: BrokerId,
    pub(super) leader_shard: u32,
}

/// The incarnations of the leader's broker and of this one.
type Incarnations = [Option<BrokerEpoch>; 2];

/// See the module.
pub(crate) struct Link {
    pub(super) key: LinkKey,
    state: RefCell<State>,
    is_connected: Cell<bool>,
    /// What the present connection, or attempt, was begun with.
    begun_with: Cell<Incarnations>,
    /// There is something to say, or the connection is to end.
    pub(super) news: Notify,
    /// An attempt may succeed now that failed before.
    pub(super) retry: Notify,
}

#[derive(Default)]
struct State {
    partitions: BTreeSet<PartitionId>,
    words: Words,
    /// To be opened again, though not at once.
    later: Vec<PartitionId>,
    /// When that is: words about others do not put it off.
    later_due: Option<Monotonic>,
}

/// What the leader is to hear, in this order.
#[derive(Default)]
pub(super) struct Words {
    pub(super) to_leave: Vec<PartitionId>,
    pub(super) to_open: Vec<PartitionId>,
    pub(super) flushed: Vec<PartitionId>,
}

impl Link {
    pub(super) fn new(key: LinkKey) -> Link {
        Link {
            key,
            state: RefCell::default(),
            is_connected: Cell::new(false),
            begun_with: Cell::new([None, None]),
            news: Notify::default(),
            retry: Notify::default(),
        }
    }

    /// Is nothing followed on it?
    pub(super) fn is_over(&self) -> bool {
        self.state.borrow().partitions.is_empty()
    }

    /// Is its connection to be used?
    pub(super) fn is_connected(&self) -> bool {
        self.is_connected.get() && !self.is_over()
    }

    pub(super) fn partitions(&self) -> Vec<PartitionId> {
        self.state.borrow().partitions.iter().copied().collect()
    }

    /// Follows a partition.
    pub(super) fn add(&self, id: PartitionId) {
        self.state.borrow_mut().partitions.insert(id);
        self.open(id);
    }

    /// Follows it no more.
    pub(crate) fn remove(&self, id: PartitionId) {
        let state = &mut *self.state.borrow_mut();
        if state.partitions.remove(&id) {
            state.words.to_leave.push(id);
            self.news.notify();
            self.retry.notify();
        }
    }

    /// Opens a partition.
    pub(super) fn open(&self, id: PartitionId) {
        self.state.borrow_mut().words.to_open.push(id);
        self.news.notify();
    }

    /// Opens a partition at `due`, or with others that are to be opened before.
    pub(super) fn open_later(&self, id: PartitionId, due: Monotonic) {
        let state = &mut *self.state.borrow_mut();
        state.later_due.get_or_insert(due);
        state.later.push(id);
        self.news.notify();
    }

    /// When something is to be opened that has to wait.
    pub(super) fn later_due(&self) -> Option<Monotonic> {
        self.state.borrow().later_due
    }

    /// Opens what has waited until `now`.
    pub(super) fn open_those_due(&self, now: Monotonic) {
        let state = &mut *self.state.borrow_mut();
        if state.later_due.is_some_and(|due| due <= now) {
            state.later_due = None;
            state.words.to_open.append(&mut state.later);
        }
    }

    /// A partition's leader is to hear how far it is flushed.
    pub(crate) fn tell_flushed(&self, id: PartitionId) {
        self.state.borrow_mut().words.flushed.push(id);
        self.news.notify();
    }

    /// What there is to say.
    pub(super) fn take_words(&self) -> Words {
        std::mem::take(&mut self.state.borrow_mut().words)
    }

    /// An attempt to connect begins.
    pub(super) fn begin(&self, incarnations: Incarnations) {
        self.begun_with.set(incarnations);
    }

    /// There is a connection: everything is opened on it. What was flushed meanwhile stays a word, for who noted it waits for that
    /// to be said.
    pub(super) fn on_connected(&self) {
        self.is_connected.set(true);
        let state = &mut *self.state.borrow_mut();
        state.words.to_leave.clear();
        state.words.to_open = state.partitions.iter().copied().collect();
        state.later.clear();
        state.later_due = None;
        self.news.notify();
    }

    /// The connection is to end, or has ended.
    pub(super) fn on_disconnected(&self) {
        self.is_connected.set(false);
        self.news.notify();
    }

    /// Metadata has come of its brokers: a connection with another incarnation is good for nothing.
    pub(super) fn on_brokers(&self, incarnations: Incarnations) {
        if self.begun_with.get() != incarnations {
            self.on_disconnected();
        }
        self.retry.notify();
    }
}
