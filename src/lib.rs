//! Chronik: a Kafka-protocol broker for bare-metal Linux.

pub mod config;
pub mod local;
pub mod metadata;
pub mod metrics;
pub mod model;
pub mod partition;
pub mod rt;
