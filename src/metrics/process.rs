//! What the process counts as a whole, and its health.
//!
//! *Which core*: connections: the acceptor alone; health: whoever knows; all are read by the admin thread.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use super::instrument::Counter;
use super::table::metric_set;

metric_set! {
    /// Counters of the process. Only the acceptor writes them.
    #[repr(align(128))]
    pub struct ProcessMetrics {
        /// Connections accepted.
        connections_accepted: Counter = "chronik_connections_accepted_total";
        /// Connections refused because there were `max.connections`.
        connections_refused: Counter = "chronik_connections_refused_total";
        /// Failures to accept, such as too many open files.
        accept_errors: Counter = "chronik_connections_accept_errors_total";
    }
    also {
        /// How the broker is.
        health: Health;
    }
}

impl ProcessMetrics {
    /// A connection was accepted.
    pub fn connection_accepted(&self) {
        self.connections_accepted.add(1);
    }

    /// A connection was refused.
    pub fn connection_refused(&self) {
        self.connections_refused.add(1);
    }

    /// An accept failed.
    pub fn accept_failed(&self) {
        self.accept_errors.add(1);
    }

    /// Whether clients are served; false for good once it has been true.
    pub fn set_ready(&self, is_ready: bool) {
        self.health.set(if is_ready { State::Ready } else { State::Stopping });
    }
}

/// What a broker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Recovering, electing, opening.
    Starting,
    /// Serving clients.
    Ready,
    /// Finishing what is in flight.
    Stopping,
}

/// A broker's state and what is known about it.
#[derive(Debug, Default)]
pub struct Health {
    state: AtomicU8,
    cluster_id: OnceLock<String>,
}

impl Health {
    /// The state.
    pub fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Starting,
            1 => State::Ready,
            _ => State::Stopping,
        }
    }

    /// Sets the state.
    pub fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }

    /// The cluster's id, once the data directory was read.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.get().map(String::as_str)
    }

    /// Makes the cluster's id known; the first one stays.
    pub fn set_cluster_id(&self, id: impl Into<String>) {
        // It is read from one data directory, once.
        let _ = self.cluster_id.set(id.into());
    }
}
