//! Metadata at scale: ten thousand partitions in one answer.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::broker::Broker;
use crate::support::load::{self, Record, create_topic, produce, read_all};
use crate::support::shared;

const PARTITIONS: i32 = 10_000;

#[test]
fn ten_thousand_partitions_are_created_listed_used_and_opened_again() {
    if !shared::is_ours() {
        return;
    }
    let mut broker = Broker::start();
    let bootstrap = broker.bootstrap();
    let before = broker.resident_bytes();
    let started = Instant::now();
    create_topic(&bootstrap, "wide", PARTITIONS, &[]);
    println!("{PARTITIONS} partitions created in {:?}", started.elapsed());
    produce(&bootstrap, "wide", PARTITIONS - 1, &[], &[Record::of("last")]);
    let client: BaseConsumer = load::config(&bootstrap).create().expect("the settings are valid");
    let metadata = client.fetch_metadata(Some("wide"), load::LIMIT).expect("an answer");
    assert_eq!(metadata.topics()[0].partitions().len(), usize::try_from(PARTITIONS).expect("positive"));
    let each = broker.resident_bytes().saturating_sub(before) / PARTITIONS.unsigned_abs() as u64;
    println!("{each} bytes resident for each");
    assert!(broker.stop(Duration::from_secs(20)).success());
    let started = Instant::now();
    broker.launch();
    println!("started with them in {:?}", started.elapsed());
    assert_eq!(read_all(&bootstrap, "wide", PARTITIONS - 1).len(), 1);
}
