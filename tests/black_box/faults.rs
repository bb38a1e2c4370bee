//! What the machine does to a broker: no descriptors, no space, no disk, a slow one, a torn or spoiled file, two of a kind, a polite end.
//!
//! Invariants: each is a clear answer to the client or a clear last word of the process; nothing acknowledged is lost by it.
//! Not here: faults that only the simulator can make (a failed flush among good ones).

mod corruption;
mod descriptors;
mod disk;
mod process;
