//! Metadata: one raft group decides, one image results, every shard is told.
//!
//! *Which core*: metadata; images are read on every core.
//! *Invariants*: there is no second store of anything that is here; nothing is answered before it is committed, applied, and
//! acknowledged by every subscriber.
//! *Not here*: records, consumer offsets, sockets.
//!
//! ```text
//! request -> controller (over image + what is proposed) -> change -> raft -> raft_log (flushed) -> committed
//!         -> image.apply = image + delta -> publish -> acknowledged by every subscriber -> reply
//! ```

pub mod change;
pub mod controller;
pub mod image;
pub mod node;
pub mod publish;
pub mod quorum;
pub mod raft_log;
pub mod request;
pub mod wait;
