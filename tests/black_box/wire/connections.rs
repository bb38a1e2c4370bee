//! Many connections, and what their ends never do: finish a request, read a response, say goodbye (lesson 84).

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::{ApiVersionsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::support::broker::{Broker, Options};
use crate::support::load::{LIMIT, Record, create_topic, produce, read_all};
use crate::support::wire::{Wire, encode, frame};
use crate::support::{eventually, shared};

const MIB: u64 = 1 << 20;

#[test]
fn two_thousand_connections_that_send_half_a_request_cost_little_and_stop_nobody() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start();
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    let before = broker.resident_bytes();
    // Each says that a megabyte comes, and sends a kilobyte of it.
    let mut half = BytesMut::new();
    half.put_i32(1 << 20);
    half.put_slice(&encode(&ApiVersionsRequest::default(), 0, 1));
    half.put_bytes(0, 1000);
    let connections: Vec<Wire> = (0..2000)
        .map(|_| {
            let mut wire = Wire::connect(&bootstrap);
            wire.send_raw(&half).expect("open");
            wire
        })
        .collect();
    produce(&bootstrap, "t", 0, &[], &[Record::of("served")]);
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 200 * MIB, "{grown} bytes for {} connections", connections.len());
    assert_eq!(read_all(&bootstrap, "t", 0).len(), 1);
}

#[test]
fn small_requests_that_wait_on_many_connections_hold_no_more_memory_than_there_is_for_them_and_stop_nobody() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start_with(Options { arguments: vec!["--shards=1".into()], ..Options::default() });
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    let before = broker.resident_bytes();
    let topic = FetchTopic::default()
        .with_topic(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![FetchPartition::default().with_partition_max_bytes(1 << 20)]);
    let long_poll = FetchRequest::default()
        .with_max_wait_ms(5_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_rack_id(StrBytes::from_string("r".repeat(30_000)))
        .with_topics(vec![topic]);
    let request = frame(&encode(&long_poll, 11, 1));
    let mut connections: Vec<Wire> = (0..300).map(|_| Wire::connect(&bootstrap)).collect();
    for wire in &mut connections {
        for _ in 0..30 {
            wire.send_raw(&request).expect("what the broker does not read the kernel keeps");
        }
    }
    let held = eventually(LIMIT, "it holds what it may", || Some(broker.request_bytes()).filter(|held| *held > 32e6));
    assert!(held <= 34e6, "{held} bytes of small requests");
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 100 * MIB, "{grown} bytes for {} connections", connections.len());
    assert_eq!(Wire::connect(&bootstrap).ask(&ApiVersionsRequest::default(), 0).error_code, 0);
    drop(connections);
    eventually(LIMIT, "all of it is given back", || (broker.request_bytes() == 0.0).then_some(()));
}

#[test]
fn readers_that_never_read_their_responses_cost_little_and_stop_nobody() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start();
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    let records: Vec<Record> = (0..100).map(|_| Record::of(vec![7; 100_000])).collect();
    produce(&bootstrap, "t", 0, &[], &records);
    let before = broker.resident_bytes();
    let partition = FetchPartition::default().with_partition_max_bytes(10 << 20);
    let topic =
        FetchTopic::default().with_topic(TopicName(StrBytes::from_static_str("t"))).with_partitions(vec![partition]);
    let fetch = FetchRequest::default().with_max_bytes(50 << 20).with_max_wait_ms(500).with_topics(vec![topic]);
    let request = frame(&encode(&fetch, 12, 1));
    let connections: Vec<Wire> = (0..100)
        .map(|_| {
            let mut wire = Wire::connect(&bootstrap);
            for _ in 0..20 {
                wire.send_raw(&request).expect("the requests are small");
            }
            wire
        })
        .collect();
    // All of it would be 20 GB.
    std::thread::sleep(Duration::from_secs(1));
    let grown = broker.resident_bytes().saturating_sub(before);
    assert!(grown < 1024 * MIB, "{grown} bytes for {} connections", connections.len());
    assert_eq!(read_all(&bootstrap, "t", 0).len(), 100);
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start();
    let bootstrap = broker.bootstrap();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).expect("it runs").count();
    Wire::connect(&bootstrap).ask(&ApiVersionsRequest::default(), 0);
    let before = descriptors();
    for n in 0..2000 {
        let mut wire = Wire::connect(&bootstrap);
        match n % 3 {
            0 => drop(wire.ask(&ApiVersionsRequest::default(), 0)),
            1 => wire.send_raw(b"\x00\x00").expect("open"),
            _ => {}
        }
    }
    eventually(LIMIT, "all are closed", || (descriptors() <= before + 2).then_some(()));
    let used = broker.cpu_seconds();
    std::thread::sleep(Duration::from_secs(1));
    let used = broker.cpu_seconds() - used;
    assert!(used < 0.2, "{used} s of CPU in an idle second");
}
