//! Foreign clients against one shared broker: each does what its users do with it.
//!
//! Invariants: every test has topics of its own names; none changes the broker for the others.

mod console;
mod kcat;
mod librdkafka;
mod metadata;
mod python;
mod segments;
mod tools;
