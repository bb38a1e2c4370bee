//! One metadata for all: any broker takes a change, all see it, and no crash loses it.

use kafka_protocol::ResponseError;

use crate::support::cluster::{Cluster, LIMIT};
use crate::support::eventually;

/// Lesson 59.
#[test]
fn a_topic_that_any_broker_creates_is_there_at_once_and_soon_everywhere() {
    let cluster = Cluster::start();
    for node in 1..=3 {
        let name = format!("by-{node}");
        assert_eq!(cluster.create_topic(node, &name), 0);
        assert!(cluster.topics(node).contains(&name), "the one who was asked knows it when it answers");
    }
    for node in 1..=3 {
        eventually(LIMIT, "all know all", || (cluster.topics(node) == ["by-1", "by-2", "by-3"]).then_some(()));
        let topic = &cluster.metadata(node).topics[0];
        assert_eq!((topic.partitions.len(), topic.partitions[0].replica_nodes.len()), (3, 3));
    }
}

#[test]
fn when_the_controller_dies_another_takes_over_and_requests_wait_for_it() {
    let mut cluster = Cluster::start();
    let first = cluster.controller(&[1, 2, 3]);
    cluster.kill(&[first]);
    let left = cluster.running();
    // Asked while there is none. What had gone to the dead one already has an unknown end: it is asked again, as clients do.
    let timed_out = ResponseError::RequestTimedOut.code();
    let answer = cluster.create_topic(left[0], "meanwhile");
    let answer = if answer == timed_out { cluster.create_topic(left[0], "meanwhile") } else { answer };
    assert_eq!(answer, 0);
    let second = cluster.controller(&left);
    assert_ne!(second, first);
    cluster.launch(&[first]);
    cluster.await_ready(&[first]);
    assert_eq!(cluster.topics(first), ["meanwhile"]);
    assert_eq!(cluster.create_topic(first, "after"), 0);
}

/// Lessons 51 and 55.
#[test]
fn all_are_killed_and_come_back_in_any_order_with_the_same_topics() {
    let mut cluster = Cluster::start();
    for node in 1..=3 {
        assert_eq!(cluster.create_topic(node, &format!("by-{node}")), 0);
    }
    let id = cluster.metadata(1).cluster_id;
    for order in [[3, 1, 2], [2, 3, 1]] {
        cluster.kill(&[1, 2, 3]);
        cluster.launch(&order);
        cluster.await_ready(&order);
        for node in order {
            assert_eq!(cluster.metadata(node).cluster_id, id);
            eventually(LIMIT, "all is there", || (cluster.topics(node) == ["by-1", "by-2", "by-3"]).then_some(()));
        }
    }
}

#[test]
fn without_a_majority_nothing_is_changed_and_a_restarted_broker_waits() {
    let mut cluster = Cluster::start();
    assert_eq!(cluster.create_topic(1, "before"), 0);
    cluster.kill(&[2, 3]);
    assert_eq!(cluster.topics(1), ["before"]);
    cluster.kill(&[1]);
    let said_before = cluster[1].log().len();
    cluster.launch(&[1]);
    let looks_for_others = || cluster[1].log()[said_before..].contains("is not reached").then_some(());
    eventually(LIMIT, "it looks for the others", looks_for_others);
    assert!(!cluster[1].is_ready());
    assert!(cluster[1].stop(LIMIT).success(), "one that waits can be stopped");
    cluster.launch(&[1, 2]);
    cluster.await_ready(&[1, 2]);
    assert_eq!(cluster.topics(2), ["before"]);
}
