//! What a broker promises, watched from its clients: one file a promise.
//!
//! *Invariants*: what is broken stays told: the first breach of a run is its verdict.
//! *Not here*: what clients do (`produce`, `consume`).

mod acknowledged;
mod ladder;
mod one_history;
mod one_value;
mod replicas;
mod sequence;

pub use ladder::Ladder;
pub use one_history::OneHistory;
pub use replicas::{check_copies, check_equal};

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use anyhow::{Result, anyhow};

use acknowledged::Acknowledged;
use one_value::OneValue;

/// Everything that clients were told. Cheap to clone; every clone is the same.
#[derive(Clone, Default)]
pub struct History(Rc<Inner>);

#[derive(Default)]
struct Inner {
    acknowledged: RefCell<Acknowledged>,
    values: RefCell<OneValue>,
    breach: RefCell<Option<String>>,
    is_calm: Cell<bool>,
    producers_done: Cell<usize>,
    consumers_done: Cell<usize>,
}

impl History {
    /// A producer was told that `values` are stored from this offset on.
    pub fn on_acknowledged(&self, partition: i32, base_offset: i64, values: &[Vec<u8>]) {
        let told = self.0.acknowledged.borrow_mut().on_acknowledged(partition, base_offset, values);
        self.note(told);
    }

    /// A consumer was given this value at this offset.
    pub fn on_seen(&self, partition: i32, offset: i64, value: &[u8]) {
        let seen = self.0.values.borrow_mut().on_seen(partition, offset, value);
        self.note(seen);
    }

    /// Keeps a breach.
    pub fn note(&self, outcome: Result<()>) {
        if let Err(error) = outcome {
            self.0.breach.borrow_mut().get_or_insert_with(|| format!("{error:#}"));
        }
    }

    /// Has a promise been broken?
    pub fn is_broken(&self) -> bool {
        self.0.breach.borrow().is_some()
    }

    /// Nothing breaks any more.
    pub fn on_calm(&self) {
        self.0.is_calm.set(true);
    }

    /// Does nothing break any more?
    pub fn is_calm(&self) -> bool {
        self.0.is_calm.get()
    }

    /// The first offset of a partition above all that were acknowledged or seen.
    pub fn told_end(&self, partition: i32) -> i64 {
        self.0.acknowledged.borrow().end(partition).max(self.0.values.borrow().end(partition))
    }

    /// Everything that was acknowledged or seen in a partition, by offset.
    pub fn told(&self, partition: i32) -> BTreeMap<i64, Vec<u8>> {
        let (acknowledged, values) = (self.0.acknowledged.borrow(), self.0.values.borrow());
        acknowledged.of(partition).chain(values.of(partition)).map(|(at, value)| (at, value.clone())).collect()
    }

    /// A producer has had everything acknowledged.
    pub fn on_producer_done(&self) {
        self.0.producers_done.set(self.0.producers_done.get() + 1);
    }

    /// A consumer has read everything that was there after the last producer was done.
    pub fn on_consumer_done(&self) {
        self.0.consumers_done.set(self.0.consumers_done.get() + 1);
    }

    /// Producers and consumers that are done.
    pub fn done(&self) -> (usize, usize) {
        (self.0.producers_done.get(), self.0.consumers_done.get())
    }

    /// Err: a promise that was broken. `is_complete`: everything was read, so that what was not seen is lost.
    pub fn verdict(&self, is_complete: bool) -> Result<()> {
        if let Some(breach) = &*self.0.breach.borrow() {
            return Err(anyhow!("{breach}"));
        }
        if is_complete {
            let values = self.0.values.borrow();
            self.0.acknowledged.borrow().check(&values)?;
            sequence::check(&values)?;
        }
        Ok(())
    }
}
