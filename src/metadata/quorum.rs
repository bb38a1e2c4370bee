//! The metadata group between brokers: how it is founded, how its messages travel, how requests get to its controller.
//!
//! *Which core*: metadata.
//! *Invariants*: raft's own codec never sees a byte from outside; what a voter says counts only from the directory it is bound to.
//! *Not here*: what the group decides (controller), its log (raft_log), the machine (node).

mod control;
mod founding;
mod link;
pub mod message;
mod peers;
mod transport;

pub use control::Control;
pub use founding::{Charter, Founding, FoundingError};
pub use peers::Peers;
pub use transport::{StreamError, Transport};

#[cfg(test)]
mod tests;
