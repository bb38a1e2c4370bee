//! Where one turn ends and the next begins: who waits for the end, and what the beginning waits for.
//!
//! *Which core*: the shard's.
//! *Invariants*: nobody waits for a turn that is not in flight; a turn that could begin waits for nobody longer than
//! [`limits::GATHER_US_MAX`], nor than a third of what the last one took.
//! *Why* wait at all: a producer with several requests in flight is answered in part by each turn, and sends as much again at
//! once. Left alone its requests settle in two groups that take turns in alternation, each paid with a flush and with the wakes
//! of a core. (Databases call it commit siblings.) One record in flight never waits: the one answered is the one that comes.

use std::cell::Cell;
use std::time::Duration;

use futures_lite::future::or;

use crate::limits;
use crate::local::{Notify, Pulse};
use crate::rt::Rt;

/// The turns of a shard.
#[derive(Default)]
pub(crate) struct Turns {
    in_flight: Cell<bool>,
    ended: Pulse,
    /// Produces that have come since the last turn ended.
    come: Cell<usize>,
    coming: Notify,
}

impl Turns {
    /// A turn begins.
    pub(crate) fn begin(&self) {
        self.in_flight.set(true);
    }

    /// It has ended, and whom it concerned is answered.
    pub(crate) fn end(&self) {
        self.in_flight.set(false);
        self.come.set(0);
        self.ended.beat();
    }

    /// Waits until the turn in flight has ended; not at all if none is. For whoever would otherwise wait for a socket: what
    /// comes now gets into the next turn whenever it is read, and being woken for it costs a core more than reading it.
    pub(crate) async fn ended(&self) {
        if self.in_flight.get() {
            self.ended.next().await;
        }
    }

    /// A produce has come.
    pub(crate) fn on_produce(&self) {
        self.come.set(self.come.get() + 1);
        self.coming.notify();
    }

    /// Waits until as many produces have come as the last turn, which took so long, has answered; not long.
    pub(crate) async fn gather(&self, rt: &Rt, answered: usize, turn_time: Duration) {
        // What is in the sockets' buffers already.
        rt.yield_now().await;
        let all_come = async {
            while self.come.get() < answered {
                self.coming.notified().await;
            }
        };
        or(all_come, rt.sleep((turn_time / 3).min(Duration::from_micros(limits::GATHER_US_MAX)))).await;
    }
}
