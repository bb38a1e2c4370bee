//! The responses of a connection, in request order, from dispatch until they are written.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::api::Pending;
use crate::limits;
use crate::local::{Notify, Permit};

/// A response that is awaited, and the request's bytes, which are held until it is written.
pub(super) struct InFlight {
    pub(super) pending: Pending,
    pub(super) _held: (Permit, Permit),
}

/// A bounded queue between the connection's reader and its writer.
#[derive(Default)]
pub(super) struct Responses {
    queue: RefCell<VecDeque<InFlight>>,
    /// Queued, or waited for by the writer, or being written.
    unwritten: Cell<usize>,
    all_written: Notify,
    filled: Notify,
    room: Notify,
    /// The reader has ended: what is queued is the rest.
    read_ended: Cell<bool>,
    /// Nothing is written any more.
    closed: Cell<bool>,
    /// The reader shall end after the request it is at.
    stop_reading: Cell<bool>,
    stopped: Notify,
}

impl Responses {
    /// Waits until another request may be taken in hand; false: none may any more.
    pub(super) async fn has_room(&self) -> bool {
        while !self.closed.get() && self.queue.borrow().len() >= limits::REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX {
            self.room.notified().await;
        }
        !self.closed.get() && !self.stop_reading.get()
    }

    pub(super) fn push(&self, in_flight: InFlight) {
        if !self.closed.get() {
            self.queue.borrow_mut().push_back(in_flight);
            self.unwritten.set(self.unwritten.get() + 1);
            self.filled.notify();
        }
    }

    /// The oldest; `None` once the reader has ended and all were taken.
    pub(super) async fn next(&self) -> Option<InFlight> {
        loop {
            if let Some(in_flight) = self.take() {
                return Some(in_flight);
            }
            if self.read_ended.get() {
                return None;
            }
            self.filled.notified().await;
        }
    }

    /// The oldest, if there is one.
    pub(super) fn take(&self) -> Option<InFlight> {
        let in_flight = self.queue.borrow_mut().pop_front();
        self.room.notify();
        in_flight
    }

    /// So many, the oldest, are written.
    pub(super) fn on_written(&self, count: usize) {
        self.unwritten.set(self.unwritten.get() - count);
        if self.unwritten.get() == 0 {
            self.all_written.notify();
        }
    }

    /// Waits until every request that was dispatched is answered. For the reader.
    pub(super) async fn all_written(&self) {
        while self.unwritten.get() > 0 {
            self.all_written.notified().await;
        }
    }

    pub(super) fn on_read_ended(&self) {
        self.read_ended.set(true);
        self.filled.notify();
    }

    /// Drops what is queued; nothing comes in any more.
    pub(super) fn close(&self) {
        self.closed.set(true);
        let dropped = std::mem::take(&mut *self.queue.borrow_mut());
        drop(dropped);
        self.room.notify();
        self.stopped.notify();
    }

    pub(super) fn stop_reading(&self) {
        self.stop_reading.set(true);
        self.stopped.notify();
    }

    /// Resolves when the reader shall end.
    pub(super) async fn reading_stopped(&self) {
        while !self.stop_reading.get() && !self.closed.get() {
            self.stopped.notified().await;
        }
    }
}
