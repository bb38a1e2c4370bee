//! Records on three brokers: acknowledged once all in sync have them on their disks.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use crate::support::broker::Options;
use crate::support::cluster::{Cluster, LIMIT};
use crate::support::load::create_topic;
use crate::support::pump::Pump;
use crate::support::wire::{Wire, batch, produce_request};
use crate::support::{eventually, replicas};

/// The timestamp that asks for the end of a log.
const LATEST: i64 = -1;

/// Produces one record to partition 0 through one broker.
fn produce(cluster: &Cluster, node: i32, topic: &str, acks: i16, version: i16) -> PartitionProduceResponse {
    let request = produce_request(topic, 0, acks, batch(&[b"value"], Compression::None));
    let response = Wire::connect(&cluster[node].bootstrap()).ask::<ProduceRequest>(&request, version);
    response.responses[0].partition_responses[0].clone()
}

/// The leader of partition 0, once it leads by its own knowledge too: brokers hear of a new topic one after the other.
fn leader(cluster: &Cluster, node: i32, topic: &str) -> i32 {
    eventually(LIMIT, "the leader of a partition leads it", || {
        let leads = cluster.leader(node, topic, 0)?;
        let partition = ListOffsetsPartition::default().with_timestamp(LATEST);
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let asked = ListOffsetsTopic::default().with_name(name).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_topics(vec![asked]);
        let response = Wire::connect(&cluster[leads].bootstrap()).ask::<ListOffsetsRequest>(&request, 7);
        (response.topics[0].partitions[0].error_code == 0).then_some(leads)
    })
}

/// Scenario of a first produce, through the leader, and of one that went elsewhere (KIP-951).
#[test]
fn a_new_topic_takes_acks_all_at_once_and_whoever_asks_another_broker_hears_who_leads() {
    let cluster = Cluster::start();
    assert_eq!(cluster.create_topic_of(1, "t", 3), 0);
    let leads = leader(&cluster, 1, "t");
    for offset in 0..20 {
        let response = produce(&cluster, leads, "t", -1, 9);
        assert_eq!((response.error_code, response.base_offset), (0, offset));
    }
    assert!(cluster[leads].scrape()["chronik_replication_out_bytes_total"] > 0.0);
    let other = 1 + leads % 3;
    eventually(LIMIT, "it got something", || {
        (cluster[other].scrape()["chronik_replication_in_bytes_total"] > 0.0).then_some(())
    });
    eventually(LIMIT, "it knows the topic", || cluster.topics(other).contains(&"t".to_owned()).then_some(()));
    let not_leader = ResponseError::NotLeaderOrFollower.code();
    let request = produce_request("t", 0, -1, batch(&[b"value"], Compression::None));
    let response = Wire::connect(&cluster[other].bootstrap()).ask::<ProduceRequest>(&request, 10);
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!((partition.error_code, partition.current_leader.leader_id.0), (not_leader, leads));
    assert_eq!(response.node_endpoints.iter().map(|node| node.node_id.0).collect::<Vec<_>>(), [leads]);
    assert_eq!(produce(&cluster, other, "t", -1, 9).error_code, not_leader, "an older version has no place for it");

    let partition = FetchPartition::default().with_partition(0).with_partition_max_bytes(1 << 20);
    let id = cluster.metadata(leads).topics[0].topic_id;
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("")))
        .with_topic_id(id)
        .with_partitions(vec![partition]);
    let fetch = FetchRequest::default().with_max_bytes(1 << 20).with_topics(vec![topic]);
    let response = Wire::connect(&cluster[other].bootstrap()).ask::<FetchRequest>(&fetch, 16);
    let partition = &response.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.current_leader.leader_id.0), (not_leader, leads));
    assert_eq!(response.node_endpoints.len(), 1);
    let response = Wire::connect(&cluster[leads].bootstrap()).ask::<FetchRequest>(&fetch, 16);
    let partition = &response.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark), (0, 20));
}

/// Lesson 6, and without a majority: nobody may change the in-sync replicas, and the leader knows better all the same.
#[test]
fn a_leader_whose_followers_are_gone_refuses_acks_all_and_takes_acks_one() {
    let settings = ["replica.lag.time.max.ms=1000", "min.insync.replicas=2"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::new(3, &Options { settings, ..Options::default() });
    cluster.launch(&[1, 2, 3]);
    cluster.await_ready(&[1, 2, 3]);
    assert_eq!(cluster.create_topic_of(1, "t", 3), 0);
    let leads = leader(&cluster, 1, "t");
    assert_eq!(produce(&cluster, leads, "t", -1, 9).error_code, 0);
    let others: Vec<i32> = (1..=3).filter(|node| *node != leads).collect();
    cluster.kill(&others);
    let after_append = ResponseError::NotEnoughReplicasAfterAppend.code();
    assert_eq!(produce(&cluster, leads, "t", -1, 9).error_code, after_append);
    assert_eq!(produce(&cluster, leads, "t", -1, 9).error_code, ResponseError::NotEnoughReplicas.code());
    assert_eq!(produce(&cluster, leads, "t", 1, 9).error_code, 0);
    cluster.launch(&others[..1]);
    cluster.await_ready(&others[..1]);
    eventually(LIMIT, "acks=-1 is taken again", || {
        (produce(&cluster, leads, "t", -1, 9).error_code == 0).then_some(())
    });
}

/// Lesson 23: what it missed is long gone from memory.
#[test]
fn a_follower_that_was_away_for_many_segments_is_in_sync_again_with_the_same_bytes() {
    let mut cluster = Cluster::start();
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, "t", 1, &[("segment.bytes", "1048576")]);
    let pump = Pump::start(&bootstrap, "t", 1, 1);
    pump.advance(100);
    cluster.await_in_sync(&[1, 2, 3]);
    let leads = leader(&cluster, 1, "t");
    let away = 1 + leads % 3;
    cluster.kill(&[away]);
    let segments = |node: i32| {
        let files = std::fs::read_dir(cluster[node].partition_dir("t", 0)).expect("it is there");
        files
            .filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|it| it == "log")))
            .count()
    };
    let before = segments(leads);
    eventually(LIMIT * 2, "the leader has rolled ten segments", || (segments(leads) >= before + 10).then_some(()));
    cluster.launch(&[away]);
    cluster.await_ready(&[away]);
    let ends = pump.finish();
    cluster.await_in_sync(&[1, 2, 3]);
    cluster.kill(&[1, 2, 3]);
    replicas::assert_same(&[1, 2, 3].map(|node| cluster[node].partition_dir("t", 0)), ends[0]);
}
