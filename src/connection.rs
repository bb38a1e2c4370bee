//! One client's connection: requests in, responses out in the same order.
//!
//! *Which core*: the shard that the acceptor gave it to, for life.
//! *Invariants*: responses leave in request order (lesson 75); a body is read only once its bytes are within the budgets;
//! requests in flight are bounded, so a client that does not read stops being read.
//! *Not here*: what a request means (`api`).
//! *Why* two tasks: produces are dispatched while earlier ones still flush; Kafka handles one at a time per connection.

mod reader;
mod responses;
mod writer;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_lite::future::or;
use net::stream::Accepted;
use slab::Slab;

use crate::api::Close;
use crate::broker::Broker;
use crate::limits;
use crate::local::{Budget, Notify};
use crate::rt::Monotonic;
use responses::Responses;

/// The connections of one shard, and what bounds them together.
pub struct Connections {
    open: RefCell<Slab<Rc<Connection>>>,
    /// Bytes of produce requests that may be held by all of them.
    produce_bytes: Budget,
    /// Bytes of all other large requests.
    control_bytes: Budget,
    /// Bytes of large requests that have begun to arrive.
    arriving_bytes: Budget,
    closing: Cell<bool>,
}

/// What the two tasks of a connection, and the shard's sweeper, share.
struct Connection {
    /// Bytes of requests that are not answered yet.
    request_bytes: Budget,
    responses: Responses,
    /// Nudged when the connection must end.
    end: Notify,
    /// The client has closed its side: nobody reads what is in flight.
    client_left: Cell<bool>,
    last_progress: Cell<Monotonic>,
}

impl Default for Connections {
    fn default() -> Connections {
        Connections {
            open: RefCell::default(),
            produce_bytes: Budget::new(limits::PRODUCE_BYTES_PER_SHARD_MAX),
            control_bytes: Budget::new(limits::CONTROL_BYTES_PER_SHARD_MAX),
            arriving_bytes: Budget::new(limits::ARRIVING_BYTES_PER_SHARD_MAX),
            closing: Cell::new(false),
        }
    }
}

impl Connections {
    /// Bytes that requests hold, and may hold at most.
    pub fn request_bytes(&self, broker: &Broker) -> (usize, usize) {
        let budgets = [&self.produce_bytes, &self.control_bytes, &broker.small_bytes];
        (budgets.iter().map(|budget| budget.used()).sum(), budgets.iter().map(|budget| budget.total()).sum())
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// No request is read any more; what is in flight is still answered.
    pub fn stop_reading(&self) {
        self.closing.set(true);
        self.open.borrow().iter().for_each(|(_, connection)| connection.responses.stop_reading());
    }

    /// Ends connections that have made no progress since `before`.
    pub fn end_idle(&self, before: Monotonic) -> usize {
        let open = self.open.borrow();
        let idle = open.iter().filter(|(_, connection)| connection.last_progress.get() < before);
        idle.map(|(_, connection)| connection.end()).count()
    }

    /// Ends all connections, whatever they are doing.
    pub fn end_all(&self) {
        self.open.borrow().iter().for_each(|(_, connection)| connection.end());
    }
}

impl Connection {
    fn end(&self) {
        self.end.notify();
    }

    fn on_progress(&self, broker: &Broker) {
        self.last_progress.set(broker.rt.now());
    }
}

/// A connection is closed for what came on it, or because the broker stops.
fn refused(broker: &Broker, close: &Close) {
    match close {
        Close::Stopping => tracing::debug!("connection closed: {close}"),
        Close::Encode(_) => tracing::error!("connection closed: {close}"),
        Close::Malformed { .. } | Close::NoHeader(_) | Close::NotServed { .. } | Close::RefusedWithoutAcks => {
            broker.metrics.connection_refused_request();
            tracing::info!("connection closed: {close}");
        }
    }
}

/// Serves a connection until its client leaves, breaks the protocol or is idle for too long.
pub async fn serve(broker: Rc<Broker>, connections: Rc<Connections>, accepted: Accepted) {
    let (read, mut write) = match accepted.bind() {
        Ok(halves) => halves,
        Err(error) => {
            tracing::debug!("a connection was lost before it was served: {error}");
            return;
        }
    };
    let connection = Rc::new(Connection {
        request_bytes: Budget::new(limits::REQUEST_BYTES_PER_CONNECTION_MAX),
        responses: Responses::default(),
        end: Notify::default(),
        client_left: Cell::new(false),
        last_progress: Cell::new(broker.rt.now()),
    });
    let key = connections.open.borrow_mut().insert(connection.clone());
    broker.metrics.connection_opened();
    if connections.closing.get() {
        connection.responses.stop_reading();
    }
    let reading = reader::run(broker.clone(), connections.clone(), connection.clone(), read);
    let writing = writer::run(&broker, &connection, &mut write);
    // The reader runs beside, for the writer may be waiting for a long poll when the client leaves.
    broker.rt.spawn(reading);
    or(writing, connection.end.notified()).await;
    connection.end();
    connection.responses.close();
    write.shutdown();
    connections.open.borrow_mut().remove(key);
    broker.metrics.connection_closed();
}
