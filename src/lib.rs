//! Chronik: a Kafka-protocol broker for bare-metal Linux.
//!
//! The life of a produce with acks=-1, on one shard (a core and the partitions it owns):
//! ```text
//! connection::reader   a frame within the budgets           -> api::dispatch: shape checked, decoded
//! api::produce         each batch checked (CRC, sizes, ids) -> shard::produce, here or over the mesh
//! shard::produce       partition::Leader::admit, Log::append: offsets are fixed, the batch is in the tail buffer, a waiter parked
//! shard::flush         the turn: one write per dirty log, all complete, one barrier for all (storage::turn)
//! partition::Leader    on_flushed -> the high watermark moves -> the waiters' prefix is released
//! connection::writer   the response leaves when all before it have
//! ```
//! Floors, from the top: `server`, `connection`; `api`; `shard`, the loops of `metadata`; `message`, `mesh`; `partition` and the pure
//! half of `metadata`; `model`, `limits`, `config`, `metrics`, `rt`, `local`. Each uses only those below it.

pub mod admin;
pub mod api;
pub mod broker;
pub mod cli;
pub mod config;
pub mod connection;
pub mod limits;
pub mod local;
pub mod mesh;
pub mod message;
pub mod metadata;
pub mod metrics;
pub mod model;
pub mod partition;
pub mod peer;
pub mod rt;
pub mod server;
pub mod shard;
