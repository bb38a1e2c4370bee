//! Bytes in flight: listeners, streams, frames.
//!
//! *Which core*: any executor. *Not here*: Kafka's messages, partitions, disks. `storage` is a stranger.

pub mod frame;
pub mod peer_frame;
pub mod stream;
