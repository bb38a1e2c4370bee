//! The broker that tests share, unless `CHRONIK_TEST_BOOTSTRAP` names one that is up.
//!
//! Invariants: it is started once, at the first use, and is stopped when the test binary ends.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::broker::Broker;

static OURS: OnceLock<Mutex<Option<Broker>>> = OnceLock::new();

/// `host:port` of the shared broker.
pub fn bootstrap() -> String {
    match foreign() {
        Some(address) => address,
        None => with_ours(|broker| broker.bootstrap()),
    }
}

/// The broker that is up already, if the environment names one.
pub fn foreign() -> Option<String> {
    std::env::var("CHRONIK_TEST_BOOTSTRAP").ok()
}

/// The folder of a partition of the shared broker; of a foreign one, only if `CHRONIK_TEST_DATA_DIR` says where its data lies.
pub fn partition_dir(topic: &str, partition: i32) -> Option<PathBuf> {
    if foreign().is_none() {
        return Some(with_ours(|broker| broker.partition_dir(topic, partition)));
    }
    let data = std::env::var_os("CHRONIK_TEST_DATA_DIR");
    if data.is_none() {
        super::skipped("needs the broker's data");
    }
    Some(PathBuf::from(data?).join(format!("{topic}-{partition}")))
}

/// Looks at the shared broker's process or files.
pub fn with_ours<T>(look: impl FnOnce(&Broker) -> T) -> T {
    let ours = OURS.get_or_init(|| {
        // SAFETY: the handler touches only what lives as long as the process.
        unsafe { libc::atexit(stop) };
        Mutex::new(Some(Broker::start()))
    });
    let ours = ours.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    look(ours.as_ref().expect("it is stopped only at the end"))
}

/// Whether tests run against a process of ours; says so where not.
pub fn is_ours() -> bool {
    let ours = foreign().is_none();
    if !ours {
        super::skipped("needs a broker process of its own");
    }
    ours
}

extern "C" fn stop() {
    let Some(ours) = OURS.get() else { return };
    if let Some(mut broker) = ours.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take() {
        broker.stop(Duration::from_secs(20));
    }
}
