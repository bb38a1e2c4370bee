//! Chronik: a Kafka-protocol broker for bare-metal Linux.

pub mod model;
pub mod rt;
