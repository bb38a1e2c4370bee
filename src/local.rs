//! What tasks of one executor need from each other: an answer, a nudge, a pulse, a count of who is still at work, a budget of bytes,
//! a bounded queue.
//!
//! *Which core*: any; nothing here is `Send`.
//! *Invariants*: wake-ups go in the order of waiting, so a simulated run repeats itself.
//! *Why* not the usual crates: theirs are built for threads, with atomics and locks on every step of the produce path.

mod budget;
mod gate;
mod notify;
mod oneshot;
mod pulse;
mod queue;

pub use budget::{Budget, Permit};
pub use gate::{Gate, Pass};
pub use notify::Notify;
pub use oneshot::{OneshotReceiver, OneshotSender, oneshot};
pub use pulse::Pulse;
pub use queue::Queue;
