//! The protocol byte by byte: every version that is served, and what no proper client sends: spoiled frames, requests and batches,
//! connections that never finish.
//!
//! Invariants: whatever comes in, the broker answers with an error or closes that connection, serves everybody else, and takes no
//! memory that the sender has not filled.

mod batches;
mod connections;
mod fetches;
mod order;
mod requests;
mod versions;
