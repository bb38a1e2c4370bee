//! Tests of the log over the simulated disk: what it promises, crash after crash.

mod basics;
mod faults;
mod life;
mod model;
pub(super) mod rig;
