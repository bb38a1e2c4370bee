//! Consumers of what memory no longer has.

use std::time::Duration;

use super::rig::Rig;

#[test]
fn a_consumer_that_drains_a_backlog_waits_for_the_disk_only_at_first_and_leaves_the_tail_in_memory() {
    const BATCHES: i64 = 200;
    let rig = Rig::new(1);
    for _ in 0..BATCHES {
        rig.produce(0, 100_000);
    }
    let (mut at, mut fetches, mut waited) = (0, 0, Vec::new());
    while at < BATCHES {
        let before_ns = rig.now_ns();
        let fetched = rig.fetch(0, at, 1 << 20);
        waited.extend((rig.now_ns() > before_ns).then_some(fetches));
        fetches += 1;
        at += fetched.records.len() as i64 / 100_000;
        // The consumer has something to do with what it got.
        rig.pass(Duration::from_millis(20));
    }
    assert_eq!((waited, fetches), (vec![0, 1], 20), "which of how many waited for the disk");
    let before_ns = rig.now_ns();
    rig.fetch(0, BATCHES - 20, 1 << 20);
    assert_eq!(rig.now_ns(), before_ns, "the tail is in memory");
    assert_eq!(rig.shard.reading_ahead.get(), 0);
}
