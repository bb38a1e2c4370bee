//! Frames and requests that are cut, inflated or nonsense (lesson 81).

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsRequest, BrokerId, InitProducerIdRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;
use rand::{Rng, RngCore, SeedableRng, rngs::SmallRng};

use crate::support::broker::Broker;
use crate::support::load::create_topic;
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, encode, frame, produce_request};
use crate::support::{fresh_name, shared};

/// A connection that is neither answered nor closed by then is left to its own clean-up.
const PATIENCE: Duration = Duration::from_millis(300);

/// The broker as each of these tests must leave it.
fn assert_it_serves(bootstrap: &str) {
    assert_eq!(Wire::connect(bootstrap).ask(&ApiVersionsRequest::default(), 0).error_code, 0);
}

#[test]
fn frames_of_impossible_sizes_close_the_connection() {
    let bootstrap = shared::bootstrap();
    for size in [-1, i32::MIN, i32::MAX, 200 << 20] {
        let mut wire = Wire::connect(&bootstrap);
        wire.send_raw(&size.to_be_bytes()).expect("open");
        assert!(wire.is_closed(), "{size}");
    }
    // Only a produce may be so large: anything else is refused before it is read.
    if shared::foreign().is_none() {
        let mut wire = Wire::connect(&bootstrap);
        wire.send_raw(&[&(17_i32 << 20).to_be_bytes()[..], b"\x00\x13\x00\x07"].concat()).expect("open");
        assert!(wire.is_closed());
    }
    for body in [&b""[..], b"\x00", b"\x00\x12\x00", b"\x00\x12\x00\x00\x00\x00\x00"] {
        let mut wire = Wire::connect(&bootstrap);
        wire.send_raw(&frame(body)).expect("open");
        assert!(wire.is_closed(), "{body:?}");
    }
    assert_it_serves(&bootstrap);
}

#[test]
fn unknown_requests_close_the_connection() {
    let bootstrap = shared::bootstrap();
    for (key, version) in [(9999_i16, 0_i16), (-1, 0), (0, 99), (1, 99), (3, -1), (0, i16::MIN), (i16::MAX, i16::MAX)] {
        let mut wire = Wire::connect(&bootstrap);
        let request = [&key.to_be_bytes()[..], &version.to_be_bytes(), b"\x00\x00\x00\x01\x00\x01c", &[0; 16]].concat();
        wire.send_raw(&frame(&request)).expect("open");
        assert!(wire.is_closed(), "key {key}, version {version}");
    }
    assert_it_serves(&bootstrap);
}

#[test]
fn other_protocols_close_the_connection() {
    let bootstrap = shared::bootstrap();
    for hello in [
        &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-x\r\n",
    ] {
        let mut wire = Wire::connect(&bootstrap);
        wire.send_raw(hello).expect("open");
        assert!(wire.is_closed(), "{hello:?}");
    }
    assert_it_serves(&bootstrap);
}

#[test]
fn garbage_is_never_more_than_a_closed_connection() {
    let bootstrap = shared::bootstrap();
    let mut random = SmallRng::seed_from_u64(7);
    for _ in 0..300 {
        let mut body = vec![0; random.random_range(8..400)];
        random.fill_bytes(&mut body);
        // A key that exists, so that the decoder gets to see the rest.
        body[..4].copy_from_slice(&[0, random.random_range(0..40), 0, random.random_range(0..14)]);
        spoil(&bootstrap, &body);
    }
    assert_it_serves(&bootstrap);
}

#[test]
fn a_request_cut_anywhere_is_refused() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("cut"));
    create_topic(&bootstrap, &topic, 1, &[]);
    for request in requests(&topic) {
        for end in 8..request.len() {
            spoil(&bootstrap, &request[..end]);
        }
    }
    assert_it_serves(&bootstrap);
}

#[test]
fn a_length_that_lies_takes_no_memory() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("inflated"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let resident = || if shared::foreign().is_none() { shared::with_ours(Broker::resident_bytes) } else { 0 };
    let before = resident();
    for request in requests(&topic) {
        for at in 8..request.len() {
            for lie in [
                &i32::MAX.to_be_bytes()[..],
                &(-2_i32).to_be_bytes(),
                b"\xff\xff\xff\xff\x0f",
                b"\xff\xff\xff\xff\xff\xff",
                b"\x00",
            ] {
                let mut spoiled = request.to_vec();
                let end = (at + lie.len()).min(spoiled.len());
                spoiled[at..end].copy_from_slice(&lie[..end - at]);
                spoil(&bootstrap, &spoiled);
            }
        }
    }
    assert_it_serves(&bootstrap);
    let grown = resident().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes more than before");
}

#[test]
fn a_produce_to_more_partitions_than_there_can_be_closes_the_connection() {
    let bootstrap = shared::bootstrap();
    let none = PartitionProduceData::default().with_records(None);
    let topic = TopicProduceData::default().with_partition_data(vec![none; (1 << 20) + 1]);
    let request = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    let mut wire = Wire::connect(&bootstrap);
    // It may be refused before it is sent whole.
    let _ = wire.send_raw(&frame(&encode(&request, 3, 1)));
    assert!(wire.is_closed());
    assert_it_serves(&bootstrap);
}

/// Sends a body on a connection of its own. An answer, a close and silence are all the same here: what counts is who is still alive.
fn spoil(bootstrap: &str, body: &[u8]) {
    let mut wire = Wire::connect(bootstrap);
    // Behind the spoiled request comes a good one: a broker that answered the first must answer the second, and so nothing is waited for.
    let then = frame(&encode(&ApiVersionsRequest::default(), 0, i32::MAX));
    if wire.send_raw(&[&frame(body)[..], &then].concat()).is_ok() {
        wire.set_limit(PATIENCE);
        while wire.receive_raw().is_ok_and(|response| !response.starts_with(&i32::MAX.to_be_bytes())) {}
    }
}

/// One good request of each kind that has lengths in it.
fn requests(topic: &str) -> Vec<Bytes> {
    let name = || TopicName(StrBytes::from_string(topic.to_owned()));
    let fetch_topic = FetchTopic::default().with_topic(name()).with_partitions(vec![FetchPartition::default()]);
    let list_topic =
        ListOffsetsTopic::default().with_name(name()).with_partitions(vec![ListOffsetsPartition::default()]);
    let new_topic = CreatableTopic::default().with_name(name()).with_num_partitions(1).with_replication_factor(1);
    let fetch = FetchRequest::default().with_topics(vec![fetch_topic]);
    let list = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![list_topic]);
    let metadata =
        MetadataRequest::default().with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name()))]));
    let create = CreateTopicsRequest::default().with_topics(vec![new_topic]).with_validate_only(true);
    let produce = produce_request(topic, 0, -1, batch(&[b"value"], Compression::None));
    vec![
        encode(&produce, PRODUCE_VERSION, 1),
        encode(&produce, 3, 1),
        encode(&fetch, 12, 1),
        encode(&fetch, 4, 1),
        encode(&list, 7, 1),
        encode(&list, 1, 1),
        encode(&metadata, 12, 1),
        encode(&metadata, 1, 1),
        encode(&create, 7, 1),
        encode(&create, 2, 1),
        encode(&InitProducerIdRequest::default(), 4, 1),
        encode(&ApiVersionsRequest::default(), 3, 1),
    ]
}
