//! What thousands of logs hold in memory.

use std::time::Duration;

use super::rig::Rig;
use crate::limits::TAIL_BYTES_PER_SHARD_MAX;

/// Lesson 41.
#[test]
fn however_many_logs_are_busy_their_tails_keep_within_one_budget_and_idle_they_hold_next_to_nothing() {
    const BUSY: i32 = 17;
    const ALL: i32 = 200;
    let rig = Rig::new(ALL);
    let mut most = 0;
    // Five megabytes each: more than one log may keep, and together more than all may.
    for round in 0..10 {
        for partition in 0..BUSY {
            rig.produce(partition, 500_000);
            let total: usize = rig.memory_bytes().iter().sum();
            assert!(total <= TAIL_BYTES_PER_SHARD_MAX + ALL as usize * 16_384, "round {round}: {total} bytes");
            most = most.max(total);
        }
    }
    assert!(most > TAIL_BYTES_PER_SHARD_MAX / 2, "the budget was used: {most}");
    for partition in BUSY..ALL {
        rig.produce(partition, 20_000);
    }
    let before_ns = rig.now_ns();
    rig.fetch(BUSY, 0, 1 << 20);
    assert_eq!(rig.now_ns(), before_ns, "the newest is in memory");
    // They are looked over every five minutes.
    rig.pass(Duration::from_secs(700));
    let memory = rig.memory_bytes();
    assert!(memory.iter().all(|bytes| *bytes <= 32 << 10), "{:?}", memory.iter().max());
    assert_eq!(rig.shard.state.borrow().tails.bytes(), 0, "nothing beyond a block each");
    rig.produce(0, 20_000);
}
