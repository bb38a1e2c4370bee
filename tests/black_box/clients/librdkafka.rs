//! librdkafka through the Rust crate: what a record may look like, and what a producer and a reader may ask for.

use std::time::Duration;

use futures_lite::future::block_on;
use rdkafka::admin::{NewPartitions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::support::load::{self, LIMIT, Record, create_topic, produce, read, read_all};
use crate::support::{fresh_name, shared};

/// A Tuesday in 2023.
const PAST_MS: i64 = 1_690_000_000_000;

#[test]
fn every_shape_of_record_comes_back_as_it_was_sent_with_every_codec() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("shapes"));
    create_topic(&bootstrap, &topic, 5, &[]);
    let records = shapes();
    for (partition, codec) in ["none", "gzip", "snappy", "lz4", "zstd"].into_iter().enumerate() {
        let partition = i32::try_from(partition).expect("few");
        let settings = [("compression.codec", codec), ("linger.ms", "50"), ("enable.idempotence", "true")];
        let offsets = produce(&bootstrap, &topic, partition, &settings, &records);
        assert_eq!(offsets, (0..offsets.len() as i64).collect::<Vec<_>>(), "{codec}");
        assert_eq!(read_all(&bootstrap, &topic, partition), records, "{codec}");
    }
}

/// Null and empty are different things, for keys, values and headers alike.
fn shapes() -> Vec<Record> {
    let parts = [None, Some(Vec::new()), Some(b"x".to_vec()), Some(vec![0xff; 3000])];
    let mut records = Vec::new();
    for key in &parts {
        for value in &parts {
            let headers = vec![
                ("empty".to_owned(), Some(Vec::new())),
                ("null".to_owned(), None),
                ("twice".to_owned(), Some(b"1".to_vec())),
                ("twice".to_owned(), Some(b"2".to_vec())),
                ("\u{e4}\u{1f600}".to_owned(), Some(vec![0, 1, 2])),
            ];
            let timestamp_ms = Some(PAST_MS + records.len() as i64);
            let headers = if records.len() % 2 == 0 { headers } else { Vec::new() };
            records.push(Record { key: key.clone(), value: value.clone(), headers, timestamp_ms });
        }
    }
    records
}

#[test]
fn a_record_of_a_megabyte_goes_through_and_one_above_the_limit_is_refused() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("large"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let settings = [("message.max.bytes", "4000000")];
    // Bytes that no codec would shrink.
    let value = |bytes: u32| (0..bytes).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<u8>>();
    // The default limit, 1048588, counts the whole batch.
    let records: Vec<Record> = (0..5).map(|_| Record::of(value(1_000_000))).collect();
    let one_each = [("message.max.bytes", "4000000"), ("batch.num.messages", "1")];
    produce(&bootstrap, &topic, 0, &one_each, &records);
    assert_eq!(values(&read_all(&bootstrap, &topic, 0)), values(&records));
    let refused = load::try_produce(&bootstrap, &topic, 0, &settings, &[Record::of(value(1_100_000))]);
    let expected = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
    assert_eq!(refused, [Err(expected)]);
    let raised = fresh_name("larger");
    create_topic(&bootstrap, &raised, 1, &[("max.message.bytes", "3000000")]);
    produce(&bootstrap, &raised, 0, &settings, &[Record::of(value(2_500_000))]);
    assert_eq!(values(&read_all(&bootstrap, &raised, 0)), [value(2_500_000)]);
}

fn values(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.value.clone().expect("a value")).collect()
}

#[test]
fn a_topic_is_created_by_the_first_produce() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("auto"));
    produce(&bootstrap, &topic, 0, &[], &[Record::of("first")]);
    assert_eq!(values(&read_all(&bootstrap, &topic, 0)), [b"first".to_vec()]);
}

#[test]
fn every_level_of_acks_stores_the_record() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("acks"));
    create_topic(&bootstrap, &topic, 3, &[]);
    for (partition, acks) in ["0", "1", "-1"].into_iter().enumerate() {
        let partition = i32::try_from(partition).expect("few");
        produce(&bootstrap, &topic, partition, &[("acks", acks)], &[Record::of(acks)]);
        crate::support::eventually(LIMIT, "the record is there", || {
            (load::offsets(&bootstrap, &topic, partition) == (0, 1)).then_some(())
        });
        assert_eq!(values(&read(&bootstrap, &topic, partition, 0, 1)), [acks.as_bytes().to_vec()]);
    }
}

#[test]
fn offsets_are_found_by_time() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("times"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let records: Vec<Record> =
        (0..100).map(|n| Record { timestamp_ms: Some(PAST_MS + n * 1000), ..Record::of("x") }).collect();
    produce(&bootstrap, &topic, 0, &[("batch.num.messages", "7")], &records);
    let consumer: BaseConsumer = load::config(&bootstrap).create().expect("the settings are valid");
    for (timestamp_ms, expected) in [
        (PAST_MS - 1, Offset::Offset(0)),
        (PAST_MS + 41_999, Offset::Offset(42)),
        (PAST_MS + 42_000, Offset::Offset(42)),
        (PAST_MS + 44_500, Offset::Offset(45)),
        (PAST_MS + 99_000, Offset::Offset(99)),
        (PAST_MS + 99_001, Offset::End),
    ] {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset(&topic, 0, Offset::Offset(timestamp_ms)).expect("not negative");
        let found = consumer.offsets_for_times(asked, LIMIT).expect("an answer");
        assert_eq!(found.elements()[0].offset(), expected, "{timestamp_ms}");
    }
}

#[test]
fn reading_before_the_first_or_after_the_last_offset_says_so() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("range"));
    create_topic(&bootstrap, &topic, 1, &[]);
    produce(&bootstrap, &topic, 0, &[], &[Record::of("x")]);
    let consumer = load::reader(&bootstrap, &topic, 0, 7);
    let answer = consumer.poll(LIMIT).expect("an answer").map(|message| message.offset());
    let code = answer.expect_err("there is no offset 7").rdkafka_error_code();
    assert!(matches!(code, Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange)), "{code:?}");
}

#[test]
fn a_waiting_reader_gets_a_record_at_once() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("wake"));
    create_topic(&bootstrap, &topic, 1, &[]);
    produce(&bootstrap, &topic, 0, &[], &[Record::of("0")]);
    let consumer = load::reader(&bootstrap, &topic, 0, 0);
    consumer.poll(LIMIT).expect("a record").expect("the first");
    // It now waits in a fetch that would last 500 ms.
    std::thread::sleep(Duration::from_millis(100));
    produce(&bootstrap, &topic, 0, &[], &[Record::of("1")]);
    let message = consumer.poll(Duration::from_millis(300)).expect("woken by the record").expect("the second");
    assert_eq!(message.offset(), 1);
}

#[test]
fn partitions_are_added_and_topics_deleted() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("grow"));
    create_topic(&bootstrap, &topic, 1, &[]);
    produce(&bootstrap, &topic, 0, &[], &[Record::of("old")]);
    let (admin, options) = (load::admin(&bootstrap), load::admin_options());
    let grown = block_on(admin.create_partitions([&NewPartitions::new(&topic, 3)], &options)).expect("an answer");
    grown[0].as_ref().expect("three partitions");
    crate::support::eventually(LIMIT, "the third partition takes a record", || {
        load::try_produce(&bootstrap, &topic, 2, &[("message.timeout.ms", "2000")], &[Record::of("new")])[0]
            .is_ok()
            .then_some(())
    });
    assert_eq!(values(&read(&bootstrap, &topic, 0, 0, 1)), [b"old".to_vec()]);
    let deleted = block_on(admin.delete_topics(&[&topic], &options)).expect("an answer");
    deleted[0].as_ref().expect("deleted");
    // Its name is free again, and its records are gone.
    crate::support::eventually(LIMIT, "the name is free", || {
        let again = rdkafka::admin::NewTopic::new(&topic, 1, rdkafka::admin::TopicReplication::Fixed(1));
        block_on(admin.create_topics([&again], &options)).expect("an answer")[0].is_ok().then_some(())
    });
    crate::support::eventually(LIMIT, "it is empty", || (load::offsets(&bootstrap, &topic, 0) == (0, 0)).then_some(()));
}

#[test]
fn configs_are_described_with_where_they_come_from() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("described"));
    create_topic(&bootstrap, &topic, 1, &[("retention.ms", "1234567")]);
    let resource = ResourceSpecifier::Topic(&topic);
    let described =
        block_on(load::admin(&bootstrap).describe_configs([&resource], &load::admin_options())).expect("an answer");
    let resource = described[0].as_ref().expect("described");
    let entry = |name: &str| resource.get(name).unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(entry("retention.ms").value.as_deref(), Some("1234567"));
    assert!(!entry("retention.ms").is_default);
    assert_eq!(entry("cleanup.policy").value.as_deref(), Some("delete"));
    assert!(entry("cleanup.policy").is_default);
}

#[test]
fn many_producers_at_once_leave_no_gap_and_no_duplicate() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("crowd"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let mut offsets: Vec<i64> = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..32)
            .map(|n| {
                let records: Vec<Record> = (0..50).map(|m| Record::of(format!("{n}/{m}"))).collect();
                let (bootstrap, topic) = (&bootstrap, &topic);
                scope.spawn(move || produce(bootstrap, topic, 0, &[("linger.ms", "0")], &records))
            })
            .collect();
        producers.into_iter().flat_map(|producer| producer.join().expect("acknowledged")).collect()
    });
    offsets.sort_unstable();
    assert_eq!(offsets, (0..32 * 50).collect::<Vec<_>>());
    assert_eq!(read_all(&bootstrap, &topic, 0).len(), 32 * 50);
}
