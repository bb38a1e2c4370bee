//! What the tests stand on: brokers as processes, foreign clients, bounded waiting.
//!
//! Not here: any test.

pub mod broker;
pub mod clients;
pub mod cluster;
pub mod guard;
pub mod image;
pub mod load;
pub mod network;
pub mod pump;
pub mod reader;
pub mod replicas;
pub mod shared;
pub mod wire;

use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use rand::{SeedableRng, rngs::SmallRng};

/// Waits until `condition` gives something, and panics with `what` after `limit`.
pub fn eventually<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Says why a test does nothing here. Printed past libtest's capture: a skipped test must be seen.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // A closed standard error is no reason to fail.
    let _unseen = std::io::stderr().write_all(format!("skipped {test}: {why}\n").as_bytes());
}

/// A name for a topic that no other test has.
pub fn fresh_name(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A number that the environment gives.
pub fn number_from_environment(name: &str) -> Option<u32> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// Random numbers from the seed that the environment gives, or from a new one; says which.
pub fn random_from_environment(name: &str) -> SmallRng {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let seed = number_from_environment(name).unwrap_or(now.subsec_nanos());
    println!("{name}={seed}");
    SmallRng::seed_from_u64(seed.into())
}
