//! A shard on a simulated disk.

mod deletion;
mod memory;
mod reading;
mod rig;
