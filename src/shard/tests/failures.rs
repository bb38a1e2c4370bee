//! Disks that fail beside what clients wait for.

use std::time::Duration;

use storage::disk::{Fault, FaultOn};

use super::rig::Rig;
use crate::message::ProduceError;

#[test]
fn a_topic_made_on_a_full_disk_is_refused_records_until_there_is_space() {
    let rig = Rig::empty(1);
    rig.disk.set_capacity_bytes(Some(rig.disk.used_bytes()));
    rig.create_topic(1, 2, 1 << 20);
    let outcomes = rig.run(rig.begin_produce(0, 100)).expect("it is answered");
    assert_eq!(outcomes, [Err(ProduceError::Storage)]);
    rig.pass(Duration::from_secs(60));
    rig.disk.set_capacity_bytes(None);
    rig.pass(Duration::from_secs(3));
    rig.produce(0, 100);
    rig.produce(1, 100);
}

/// Lesson 38.
#[test]
fn a_step_of_maintenance_that_takes_a_log_offline_leaves_no_producer_waiting_for_its_time_out() {
    let mut refused = 0;
    for seed in 0..50 {
        let rig = Rig::empty(seed);
        rig.create_topic(1, 1, 1 << 20);
        rig.disk.fail(Fault::every(FaultOn::Name, "prepared.log"));
        rig.produce(0, 600_000);
        let mut waiting = Vec::new();
        for _ in 0..12 {
            waiting.push(rig.begin_produce(0, 10_000));
            rig.pass(Duration::from_micros(200));
        }
        for answer in waiting {
            let outcomes = rig.run(answer).expect("it is answered");
            refused += u32::from(outcomes[0].is_err());
        }
        assert!(rig.now_ns() < 5_000_000_000, "seed {seed}: answered before anybody gave up");
    }
    assert!(refused > 0, "some were refused");
}
