//! Bytes at rest: record batches, segments, logs, their recovery, and the disk below them.
//!
//! *Which core*: every shard executor, and the metadata executor for its raft log. Nothing here is shared between cores.
//! *Invariants*: `log_start_offset <= flushed_end_offset <= log_end_offset`; what follows a log's tail on disk is zeros.
//! *Not here*: sockets, API keys, replicas, shards, raft. `net` is a stranger.

pub mod batch;
pub mod checkpoints;
pub mod compression;
pub mod data_dir;
pub mod disk;
pub mod epoch_journal;
pub mod epochs;
pub mod ids;
pub mod index;
pub mod log;
pub mod producers;
pub mod records;
pub mod turn;
