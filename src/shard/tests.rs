//! A shard on a simulated disk.

mod memory;
mod reading;
mod rig;
