//! Many topics: all brokers know the same of them, whatever order they restart in.
//!
//! `CHRONIK_SCALE_TOPICS=1000` makes it as many, of five partitions each, and prints what it took.

use std::collections::BTreeSet;
use std::time::Instant;

use kafka_protocol::messages::metadata_response::MetadataResponseTopic;

use crate::support::broker::Options;
use crate::support::cluster::{Cluster, LIMIT};

const PARTITIONS: i32 = 5;

/// Lessons 53 and 55.
#[test]
fn many_topics_are_the_same_on_all_after_restarts_in_every_order() {
    let topics: usize = std::env::var("CHRONIK_SCALE_TOPICS").map_or(60, |count| count.parse().expect("a number"));
    let mut cluster = Cluster::new(3, &Options::default());
    cluster.launch(&[1, 2, 3]);
    cluster.await_ready(&[1, 2, 3]);
    let begun = Instant::now();
    for n in 0..topics {
        let node = i32::try_from(n % 3).expect("below 3") + 1;
        assert_eq!(cluster.create_topic_with(node, &format!("t{n:05}"), PARTITIONS, 3), 0);
    }
    let created = begun.elapsed();
    let ids = |known: &[MetadataResponseTopic]| -> BTreeSet<_> {
        known.iter().map(|topic| (topic.name.clone().map(|name| name.to_string()), topic.topic_id)).collect()
    };
    let before = ids(&cluster.await_alike(&[1, 2, 3], topics));
    println!("{topics} topics created in {created:?}, resident: {:?} MiB", resident(&cluster));
    for order in [[1, 2, 3], [1, 3, 2], [2, 1, 3], [2, 3, 1], [3, 1, 2], [3, 2, 1]] {
        let begun = Instant::now();
        // Those that stop after a majority has gone wait a while for somebody who takes over: once is enough.
        match order {
            [1, 2, 3] => order.iter().for_each(|node| assert!(cluster[*node].stop(LIMIT).success())),
            _ => cluster.kill(&order),
        }
        let stopped = begun.elapsed();
        let begun = Instant::now();
        cluster.launch(&order);
        cluster.await_ready(&order);
        let ready = begun.elapsed();
        assert_eq!(ids(&cluster.await_alike(&order, topics)), before, "{order:?}");
        println!("{order:?} stopped in {stopped:?}, ready in {ready:?}, alike and in sync in {:?}", begun.elapsed());
    }
    println!("resident: {:?} MiB", resident(&cluster));
}

fn resident(cluster: &Cluster) -> [u64; 3] {
    [1, 2, 3].map(|node| cluster[node].resident_bytes() >> 20)
}
