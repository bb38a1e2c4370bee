//! Topics that go while their logs are at work.

use std::time::Duration;

use super::rig::Rig;

/// Lesson 40.
#[test]
fn what_a_deleted_topics_log_was_about_to_do_is_never_done_to_the_next_topic_of_that_name() {
    for seed in 0..200 {
        let rig = Rig::empty(seed);
        rig.create_topic(1, 1, 1 << 20);
        for _ in 0..seed % 4 {
            // Zeros, a roll, a seal: all of that is due.
            rig.produce(0, 600_000);
        }
        let abandoned = rig.begin_produce(0, 100_000);
        rig.pass(Duration::from_micros(seed * 97 % 4_000));
        rig.delete_topic(1);
        rig.create_topic(2, 1, 1 << 20);
        rig.run(abandoned);
        rig.pass(Duration::from_millis(100));
        assert_eq!(rig.file_names(0), ["partition.metadata"], "seed {seed}");
        assert!(rig.shard.state.borrow().broken.is_empty(), "seed {seed}");
    }
}
