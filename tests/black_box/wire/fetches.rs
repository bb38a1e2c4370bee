//! Fetches that find less than they want: who waits, for what, and what that costs (lesson 86).

use std::time::{Duration, Instant};

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use crate::support::broker::{Broker, Options};
use crate::support::load::create_topic;
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, produce_request};
use crate::support::{fresh_name, shared};

const FETCH_VERSION: i16 = 12;
/// Enough for both shards to have some.
const PARTITIONS: i32 = 8;

/// Of all partitions, from the first offset.
fn fetch(topic: &str, bytes_min: i32, partition_bytes_max: i32, wait_ms: i32) -> FetchRequest {
    let partitions = (0..PARTITIONS)
        .map(|index| FetchPartition::default().with_partition(index).with_partition_max_bytes(partition_bytes_max));
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(bytes_min)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

fn bytes_of(response: &FetchResponse) -> usize {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.filter_map(|partition| partition.records.as_ref()).map(bytes::Bytes::len).sum()
}

/// Appends a small batch to each partition.
fn produce_to_all(bootstrap: &str, topic: &str) {
    let mut wire = Wire::connect(bootstrap);
    for partition in 0..PARTITIONS {
        let request = produce_request(topic, partition, -1, batch(&[b"value"], Compression::None));
        let response = wire.ask::<ProduceRequest>(&request, PRODUCE_VERSION);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
    }
}

#[test]
fn a_fetch_that_finds_too_little_waits_without_work() {
    if !shared::is_ours() {
        return;
    }
    let arguments = ["--shards", "2"].map(str::to_owned).to_vec();
    let broker = Broker::start_with(Options { arguments, ..Options::default() });
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", PARTITIONS, &[]);
    produce_to_all(&bootstrap, "t");
    let mut wire = Wire::connect(&bootstrap);
    let there = i32::try_from(bytes_of(&wire.ask(&fetch("t", 1, 1 << 20, 0), FETCH_VERSION))).expect("small");
    // A byte too little: what lies there already, on either shard, must not count again.
    let (begun, used) = (Instant::now(), broker.cpu_seconds());
    let found = wire.ask(&fetch("t", there + 1, 1 << 20, 2000), FETCH_VERSION);
    let used = broker.cpu_seconds() - used;
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(bytes_of(&found) > 0);
    assert!(used < 0.5, "{used} s of CPU in two seconds of waiting");

    // What comes meanwhile, a little on every shard, is enough together.
    let waiting = wire.send(&fetch("t", 2 * there, 1 << 20, 60_000), FETCH_VERSION);
    produce_to_all(&bootstrap, "t");
    let found = wire.receive::<FetchRequest>(FETCH_VERSION, waiting);
    assert_eq!(i32::try_from(bytes_of(&found)), Ok(2 * there));
}

#[test]
fn a_fetch_that_a_bound_of_its_own_cuts_is_answered_at_once() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("bound"));
    create_topic(&bootstrap, &topic, PARTITIONS, &[]);
    for _ in 0..3 {
        produce_to_all(&bootstrap, &topic);
    }
    // It waits for ten seconds less.
    let found = Wire::connect(&bootstrap).ask(&fetch(&topic, 1 << 20, 100, 60_000), FETCH_VERSION);
    assert!(bytes_of(&found) > 0);
}
