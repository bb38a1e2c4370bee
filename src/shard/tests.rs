//! A shard on a simulated disk.

mod reading;
mod rig;
