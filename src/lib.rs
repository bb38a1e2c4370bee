//! Chronik: a Kafka-protocol broker for bare-metal Linux.

pub mod admin;
pub mod cli;
pub mod config;
pub mod local;
pub mod metadata;
pub mod metrics;
pub mod model;
pub mod partition;
pub mod rt;
pub mod server;
