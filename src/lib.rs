//! Chronik: a Kafka-protocol broker for bare-metal Linux.

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
pub mod rt;
pub mod server;
pub mod shard;
