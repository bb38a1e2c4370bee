//! Tests of the node in a simulated world: restarts, crashes, faults, subscribers, and three nodes in one process.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod crashes;
mod group;
mod one;
mod ring;
mod world;
