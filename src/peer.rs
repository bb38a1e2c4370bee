//! Between brokers: one listener per process, and on every connection first of all a hello.
//!
//! *Which core*: any may dial; the metadata core listens, and hands a replica's stream on to the shard that it is for.
//! *Invariants*: nothing is said to a peer of another cluster, and nothing of it believed, before both sides know each other.
//! *Not here*: what flows after the hello.

mod dial;
pub mod hello;
mod listener;
pub mod replica;

pub use dial::{Connection, DialError, dial};
pub use listener::{Incoming, IncomingError, Local, receive};
