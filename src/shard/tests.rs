//! A shard on a simulated disk, and shards of brokers that replicate.

mod cluster;
mod deletion;
mod failures;
mod memory;
mod reading;
mod replication;
mod rig;
mod turns;
