//! A cluster comes to be, whoever starts when; and nobody joins one that has no place for it.

use std::time::Duration;

use crate::support::broker::{Broker, Options, free_port};
use crate::support::cluster::{Cluster, LIMIT};
use crate::support::eventually;

/// Lesson 51.
#[test]
fn brokers_that_start_at_once_found_one_cluster() {
    let cluster = Cluster::start();
    let ids: Vec<_> = (1..=3).map(|node| cluster.metadata(node).cluster_id).collect();
    assert!(ids[0].is_some() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    for node in 1..=3 {
        let brokers = cluster.metadata(node).brokers;
        let seen = brokers.iter().map(|broker| (broker.node_id.0, broker.port)).collect::<Vec<_>>();
        let meant: Vec<_> = (1..=3).map(|node| (node, i32::from(cluster[node].port()))).collect();
        eventually(LIMIT, "every broker knows all", || (seen == meant).then_some(()));
    }
}

/// Lesson 51.
#[test]
fn brokers_found_a_cluster_in_any_order_one_after_the_other() {
    for order in [[1, 2, 3], [3, 2, 1], [2, 3, 1]] {
        let mut cluster = Cluster::new(3, &Options::default());
        cluster.launch(&order[..1]);
        eventually(LIMIT, "the first waits", || {
            cluster[order[0]].log().contains("waiting for a cluster").then_some(())
        });
        assert!(!cluster[order[0]].is_ready());
        cluster.launch(&order[1..]);
        cluster.await_ready(&order);
        cluster.controller(&order);
    }
}

#[test]
fn two_of_three_found_a_cluster_and_the_third_takes_its_place_later() {
    for late in [1, 3] {
        let mut cluster = Cluster::new(3, &Options::default());
        let early: Vec<i32> = (1..=3).filter(|node| *node != late).collect();
        cluster.launch(&early);
        cluster.await_ready(&early);
        assert_eq!(cluster.create_topic_of(early[0], "early", 2), 0);
        cluster.launch(&[late]);
        cluster.await_ready(&[late]);
        assert_eq!(cluster.metadata(late).cluster_id, cluster.metadata(early[0]).cluster_id);
        assert_eq!(cluster.topics(late), ["early"]);
        // Its vote counts: without one of the others it still makes a majority.
        cluster.kill(&early[..1]);
        cluster.controller(&[early[1], late]);
        assert_eq!(cluster.create_topic(late, "late"), 0);
    }
}

#[test]
fn a_broker_that_lost_its_disk_gets_no_vote() {
    let mut cluster = Cluster::start();
    cluster.kill(&[2]);
    std::fs::remove_dir_all(cluster[2].data_dir()).expect("it was there");
    cluster.launch(&[2]);
    assert!(!cluster[2].wait(LIMIT).success());
    assert!(cluster[2].log().contains("is lost with the former"), "{}", cluster[2].log());
}

#[test]
fn a_broker_that_nobody_named_is_told_so() {
    let cluster = Cluster::start();
    let stranger = Options {
        command: ["--node-id", "4", "raft-cluster", "--raft-addr"]
            .into_iter()
            .map(str::to_owned)
            .chain([
                format!("127.0.0.1:{}", free_port()),
                "--peers".into(),
                format!("1@localhost:{}", cluster.raft_port(1)),
            ])
            .collect(),
        ..Options::default()
    };
    let mut stranger = Broker::new(stranger);
    stranger.launch_only();
    assert!(!stranger.wait(Duration::from_secs(20)).success());
    assert!(stranger.log().contains("joining later is not supported yet"));
}
