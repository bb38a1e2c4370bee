//! Responses in request order, whatever the requests (lessons 75, 76, 79).

use bytes::Buf;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use crate::support::load::create_topic;
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, encode, frame, produce_request};
use crate::support::{fresh_name, shared};

const FETCH_VERSION: i16 = 12;

#[test]
fn an_unknown_version_of_api_versions_is_answered_as_version_0_with_the_list() {
    let mut wire = Wire::connect(&shared::bootstrap());
    // Key 18, version 99, correlation id 77, client id "c", no tags; then a body that only version 99 could read.
    wire.send_raw(&frame(b"\x00\x12\x00\x63\x00\x00\x00\x4d\x00\x01c\x00\xde\xad\xbe\xef")).expect("open");
    let mut body = wire.receive_raw().expect("a response");
    assert_eq!(body.get_i32(), 77);
    assert_eq!(body.get_i16(), 35);
    let listed: Vec<(i16, i16, i16)> =
        (0..body.get_i32()).map(|_| (body.get_i16(), body.get_i16(), body.get_i16())).collect();
    assert!(body.is_empty());
    let (_, min, max) = listed.iter().find(|(key, ..)| *key == 18).expect("it lists itself");
    assert!(*min == 0 && *max >= 4);
    // The connection goes on.
    assert_eq!(wire.ask(&ApiVersionsRequest::default(), 0).error_code, 0);
}

#[test]
fn requests_behind_a_long_poll_are_answered_in_order() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("poll"));
    create_topic(&bootstrap, &topic, 1, &[]);
    for behind in [3, 10, 100] {
        let mut wire = Wire::connect(&bootstrap);
        let poll = wire.send(&long_poll(&topic, 300), FETCH_VERSION);
        let ids: Vec<i32> = (0..behind)
            .map(|n| {
                if n % 2 == 0 {
                    wire.send(&ApiVersionsRequest::default(), 2)
                } else {
                    wire.send(&MetadataRequest::default(), 9)
                }
            })
            .collect();
        wire.receive::<FetchRequest>(FETCH_VERSION, poll);
        for (n, id) in ids.into_iter().enumerate() {
            if n % 2 == 0 {
                assert_eq!(wire.receive::<ApiVersionsRequest>(2, id).error_code, 0);
            } else {
                wire.receive::<MetadataRequest>(9, id);
            }
        }
    }
}

/// A fetch of an empty partition that waits.
fn long_poll(topic: &str, wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(vec![partition]);
    FetchRequest::default().with_max_wait_ms(wait_ms).with_min_bytes(1).with_max_bytes(1 << 20).with_topics(vec![topic])
}

#[test]
fn produces_sent_at_once_get_their_offsets_in_order() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("pipeline"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let mut wire = Wire::connect(&bootstrap);
    let two = batch(&[b"a", b"b"], Compression::None);
    let ids: Vec<i32> =
        (0..200).map(|_| wire.send(&produce_request(&topic, 0, -1, two.clone()), PRODUCE_VERSION)).collect();
    for (n, id) in (0..).zip(ids) {
        let response = wire.receive::<ProduceRequest>(PRODUCE_VERSION, id);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, 2 * n));
    }
}

#[test]
fn what_was_answered_before_a_malformed_request_is_written() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("before"));
    create_topic(&bootstrap, &topic, 1, &[]);
    // Its lengths are right, but no name is spelled like that; so it is found out only when its turn comes.
    let mut bad = encode(&long_poll("name", 0), FETCH_VERSION, 99).to_vec();
    let at = bad.windows(4).position(|window| window == b"name").expect("it is there");
    bad[at..at + 4].fill(0xff);
    let one = batch(&[b"a"], Compression::None);
    let good = |id| frame(&encode(&produce_request(&topic, 0, -1, one.clone()), PRODUCE_VERSION, id));
    let mut wire = Wire::connect(&bootstrap);
    wire.send_raw(&[&good(1)[..], &good(2), &good(3), &frame(&bad)].concat()).expect("open");
    for id in 1..=3 {
        wire.receive::<ProduceRequest>(PRODUCE_VERSION, id);
    }
    assert!(wire.is_closed());
}

#[test]
fn acks_0_gets_no_response() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("silent"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let mut wire = Wire::connect(&bootstrap);
    let one = batch(&[b"a"], Compression::None);
    wire.send(&produce_request(&topic, 0, 0, one.clone()), PRODUCE_VERSION);
    let id = wire.send(&ApiVersionsRequest::default(), 0);
    wire.receive::<ApiVersionsRequest>(0, id);
    let response = wire.ask(&produce_request(&topic, 0, -1, one), PRODUCE_VERSION);
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 1);
}
