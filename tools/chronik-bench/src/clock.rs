//! The one clock of a run: nanoseconds since the process first asked.
//!
//! Invariants: never goes back (CLOCK_MONOTONIC); all threads share one origin, so stamps compare across them.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Now, in nanoseconds since the origin.
pub fn now_ns() -> u64 {
    nanoseconds(ORIGIN.get_or_init(Instant::now).elapsed())
}

/// A duration in nanoseconds.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Wall clock, for the timestamps that brokers keep: milliseconds since 1970.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
