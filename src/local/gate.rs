//! Who is still at work: what a stop waits for.

use std::cell::Cell;
use std::rc::Rc;

use crate::local::Notify;

/// Counts passes that are out.
#[derive(Clone, Debug, Default)]
pub struct Gate(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    inside: Cell<usize>,
    empty: Notify,
}

/// Held by work that a stop must wait for.
#[derive(Debug)]
pub struct Pass(Rc<Inner>);

impl Gate {
    /// One more is at work, for as long as the pass lives.
    pub fn enter(&self) -> Pass {
        self.0.inside.set(self.0.inside.get() + 1);
        Pass(self.0.clone())
    }

    /// How many are at work.
    pub fn inside(&self) -> usize {
        self.0.inside.get()
    }

    /// Waits until nobody is. For one waiting task.
    pub async fn emptied(&self) {
        while self.inside() > 0 {
            self.0.empty.notified().await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.inside.set(self.0.inside.get() - 1);
        if self.0.inside.get() == 0 {
            self.0.empty.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn a_stop_waits_for_the_last_pass_only() {
        let gate = Gate::default();
        block_on(gate.emptied());
        let (first, second) = (gate.enter(), gate.enter());
        let mut emptied = Box::pin(gate.emptied());
        assert!(block_on(poll_once(&mut emptied)).is_none());
        drop(first);
        assert!(block_on(poll_once(&mut emptied)).is_none());
        drop(second);
        block_on(emptied);
        assert_eq!(gate.inside(), 0);
    }
}
