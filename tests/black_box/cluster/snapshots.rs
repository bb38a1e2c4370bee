//! A broker that was away for so long that the metadata log does not hold any more what it missed.

use std::time::{Duration, Instant};

use crate::support::broker::Options;
use crate::support::cluster::{Cluster, LIMIT};
use crate::support::load;

/// Longer than the log is kept in memory for a broker that is silent.
const AWAY: Duration = Duration::from_secs(6);

/// Lesson 48.
#[test]
fn a_broker_that_was_away_while_the_log_was_compacted_comes_back_and_knows_all() {
    let settings = vec!["metadata.log.max.record.bytes.between.snapshots=8192".to_owned()];
    let mut cluster = Cluster::new(3, &Options { settings, ..Options::default() });
    cluster.launch(&[1, 2, 3]);
    cluster.await_ready(&[1, 2, 3]);
    for topic in ["kept", "deleted"] {
        assert_eq!(cluster.create_topic_of(1, topic, 3), 0);
    }
    cluster.await_alike(&[1, 2, 3], 2);
    let controller = cluster.controller(&[1, 2, 3]);
    let away = 1 + controller % 3;
    let bootstrap = cluster[controller].bootstrap();
    load::produce(&bootstrap, "kept", 0, &[], &["before"].map(load::Record::of));
    assert!(cluster[away].partition_dir("deleted", 0).exists());
    cluster.kill(&[away]);
    let since = Instant::now();
    load::delete_topic(&bootstrap, "deleted");
    let mut topics = 1;
    while since.elapsed() < AWAY || topics < 40 {
        assert_eq!(cluster.create_topic_of(controller, &format!("new-{topics}"), 2), 0);
        topics += 1;
    }
    load::produce(&bootstrap, "kept", 0, &[], &["meanwhile"].map(load::Record::of));
    cluster.launch(&[away]);
    cluster.await_ready(&[away]);
    assert!(cluster[away].log().contains("the leader's snapshot at"), "it was sent one");
    cluster.await_alike(&[1, 2, 3], topics);
    for partition in 0..3 {
        assert!(!cluster[away].partition_dir("deleted", partition).exists());
    }
    // It is counted on: with it, and without another, all goes on.
    let other = (1..=3).find(|node| ![controller, away].contains(node)).expect("three");
    cluster.kill(&[other]);
    assert_eq!(cluster.create_topic_of(away, "after", 2), 0);
    load::produce(&cluster[away].bootstrap(), "kept", 0, &[], &["after"].map(load::Record::of));
    let records = load::read(&cluster[away].bootstrap(), "kept", 0, 0, 3);
    assert_eq!(records.len(), 3);
    assert!(cluster[away].stop(LIMIT).success());
}
