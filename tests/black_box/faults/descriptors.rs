//! No file descriptors left.

use std::time::Duration;

use kafka_protocol::messages::ApiVersionsRequest;

use crate::support::broker::Broker;
use crate::support::eventually;
use crate::support::load::{LIMIT, create_topic};
use crate::support::pump::Pump;
use crate::support::shared;
use crate::support::wire::Wire;

#[test]
fn without_descriptors_old_connections_are_served_and_new_ones_once_there_are_some() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start();
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let pump = Pump::start(&broker.bootstrap(), "t", 1, 3);
    pump.advance(100);
    let open = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("it runs").count();
    let plenty = set_descriptors_max(&broker, open as u64 + 50);
    let crowd: Vec<Wire> = (0..200).map(|_| Wire::connect(&broker.bootstrap())).collect();
    std::thread::sleep(Duration::from_millis(200));
    pump.advance(2000);
    // Accepting fails all the time now: that must not be tried all the time.
    drop(pump);
    std::thread::sleep(Duration::from_millis(500));
    let used = broker.cpu_seconds();
    std::thread::sleep(Duration::from_secs(1));
    let used = broker.cpu_seconds() - used;
    assert!(used < 0.3, "{used} s of CPU in a second of refusing");
    set_descriptors_max(&broker, plenty);
    drop(crowd);
    eventually(LIMIT, "a new connection is served", || {
        let mut wire = Wire::connect(&broker.bootstrap());
        wire.set_limit(Duration::from_secs(1));
        wire.send(&ApiVersionsRequest::default(), 0);
        wire.receive_raw().ok()
    });
}

/// Sets the soft limit of the broker's process; returns what it was.
fn set_descriptors_max(broker: &Broker, soft: u64) -> u64 {
    let pid = i32::try_from(broker.pid()).expect("a pid fits");
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both structs live until the calls return; the pid is of our own child.
    unsafe {
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut old), 0);
        let new = libc::rlimit { rlim_cur: soft, rlim_max: old.rlim_max };
        assert_eq!(libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const new, std::ptr::null_mut()), 0);
    }
    old.rlim_cur
}
