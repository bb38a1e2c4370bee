//! Producing and reading back through librdkafka, as the tests need it: everything acknowledged or the test fails.
//!
//! Not here: tests of librdkafka's own behaviour (`clients::librdkafka`).

use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

/// No single request takes longer, on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// One record, as sent or as read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `None` is Kafka's null.
    pub key: Option<Vec<u8>>,
    /// `None` is Kafka's null.
    pub value: Option<Vec<u8>>,
    /// In order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// `None` lets the client choose.
    pub timestamp_ms: Option<i64>,
}

impl Record {
    /// A record with just a value.
    pub fn of(value: impl Into<Vec<u8>>) -> Self {
        Self { value: Some(value.into()), ..Self::default() }
    }

    fn read(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().map_or(Vec::new(), |headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec))).collect()
        });
        Self {
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers,
            timestamp_ms: message.timestamp().to_millis(),
        }
    }
}

/// The client's settings that every test starts from.
pub fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("log_level", "2");
    config
}

/// An admin client.
pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap).create().expect("the settings are valid")
}

/// Time limits of an admin request.
pub fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))
}

/// Creates a topic, with the brokers' default number of replicas, and waits until every partition has a leader.
pub fn create_topic(bootstrap: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    let topic = configs.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let created = block_on(admin(bootstrap).create_topics([&topic], &admin_options())).expect("an answer");
    created[0].as_ref().unwrap_or_else(|error| panic!("{name} is not created: {error:?}"));
    let client: BaseConsumer = config(bootstrap).create().expect("the settings are valid");
    super::eventually(LIMIT, "every partition has a leader", || {
        let metadata = client.fetch_metadata(Some(name), LIMIT).ok()?;
        let found = metadata.topics().first()?.partitions();
        let led = found.iter().filter(|partition| partition.leader() >= 0).count();
        (usize::try_from(partitions) == Ok(led)).then_some(())
    });
}

/// Deletes a topic.
pub fn delete_topic(bootstrap: &str, name: &str) {
    let deleted = block_on(admin(bootstrap).delete_topics(&[name], &admin_options())).expect("an answer");
    deleted[0].as_ref().unwrap_or_else(|error| panic!("{name} is not deleted: {error:?}"));
}

/// What was passed along with a record, and its partition and offset, or why it failed.
pub type Delivery = (usize, Result<(i32, i64), KafkaError>);

/// A producer's context that counts what came back.
#[derive(Default)]
pub struct Deliveries {
    /// In the order of the acknowledgements.
    pub outcomes: std::sync::Mutex<Vec<Delivery>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, index: usize) {
        let outcome = match result {
            Ok(message) => Ok((message.partition(), message.offset())),
            Err((error, _)) => Err(error.clone()),
        };
        self.outcomes.lock().expect("no holder panics").push((index, outcome));
    }
}

/// Sends the records, in order, to one partition with acks=-1; returns their offsets. All are acknowledged or the test fails.
pub fn produce(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    settings: &[(&str, &str)],
    records: &[Record],
) -> Vec<i64> {
    let outcomes = try_produce(bootstrap, topic, partition, settings, records);
    outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|error| panic!("not acknowledged: {error}"))).collect()
}

/// As [`produce`], for those that may fail.
pub fn try_produce(
    bootstrap: &str,
    topic: &str,
    partition: i32,
    settings: &[(&str, &str)],
    records: &[Record],
) -> Vec<Result<i64, KafkaError>> {
    let mut config = config(bootstrap);
    config.set("acks", "-1").set("message.timeout.ms", "30000");
    for (key, value) in settings {
        config.set(*key, *value);
    }
    let producer: BaseProducer<Deliveries> =
        config.create_with_context(Deliveries::default()).expect("the settings are valid");
    for (index, record) in records.iter().enumerate() {
        send(&producer, topic, partition, record, index);
    }
    producer.flush(LIMIT * 2).expect("every record is acknowledged or has failed");
    let mut outcomes = std::mem::take(&mut *producer.context().outcomes.lock().expect("no holder panics"));
    outcomes.sort_by_key(|(index, _)| *index);
    assert_eq!(outcomes.len(), records.len());
    outcomes.into_iter().map(|(_, outcome)| outcome.map(|(_, offset)| offset)).collect()
}

fn send(producer: &BaseProducer<Deliveries>, topic: &str, partition: i32, record: &Record, index: usize) {
    let deadline = Instant::now() + LIMIT;
    loop {
        let mut message: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(topic, index).partition(partition);
        message.key = record.key.as_deref();
        message.payload = record.value.as_deref();
        message.timestamp = record.timestamp_ms;
        message.headers = headers(record);
        match producer.send(message) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) if Instant::now() < deadline => {
                producer.poll(Duration::from_millis(10));
            }
            Err((error, _)) => panic!("cannot be sent: {error}"),
        }
    }
}

fn headers(record: &Record) -> Option<OwnedHeaders> {
    (!record.headers.is_empty()).then(|| {
        record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: value.as_deref() }))
    })
}

/// The first offset and the end offset of a partition.
pub fn offsets(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    let client: BaseConsumer = config(bootstrap).create().expect("the settings are valid");
    client.fetch_watermarks(topic, partition, LIMIT).expect("the partition has offsets")
}

/// A consumer that reads from `offset` of one partition, without a group.
pub fn reader(bootstrap: &str, topic: &str, partition: i32, offset: i64) -> BaseConsumer {
    let mut config = config(bootstrap);
    // librdkafka wants a name even for a group that is never joined.
    config.set("group.id", "unused").set("enable.auto.commit", "false");
    config.set("check.crcs", "true").set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create().expect("the settings are valid");
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset that is not negative");
    consumer.assign(&assignment).expect("an assignment of one partition");
    consumer
}

/// Reads `[from, end_offset)`: every offset must be there, once, in order.
pub fn read(bootstrap: &str, topic: &str, partition: i32, from: i64, end_offset: i64) -> Vec<Record> {
    let consumer = reader(bootstrap, topic, partition, from);
    let mut records = Vec::new();
    let mut next = from;
    while next < end_offset {
        let message = consumer.poll(LIMIT).unwrap_or_else(|| panic!("nothing at {topic}-{partition}, offset {next}"));
        let message = message.unwrap_or_else(|error| panic!("{topic}-{partition}, offset {next}: {error}"));
        assert_eq!(message.offset(), next, "{topic}-{partition} has a gap or a duplicate");
        records.push(Record::read(&message));
        next += 1;
    }
    records
}

/// Reads a whole partition, from the first offset to the end of now.
pub fn read_all(bootstrap: &str, topic: &str, partition: i32) -> Vec<Record> {
    let (from, end_offset) = offsets(bootstrap, topic, partition);
    read(bootstrap, topic, partition, from, end_offset)
}
