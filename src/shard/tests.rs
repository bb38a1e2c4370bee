//! A shard on a simulated disk.

mod deletion;
mod failures;
mod memory;
mod reading;
mod rig;
mod turns;
