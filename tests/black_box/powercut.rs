//! One life between two power cuts: find what was acknowledged before the last one, and produce until the next.
//!
//! Runs inside the machine of `cargo xtask powercut`, which logs every write to the disk. Marks in that log say what had been
//! acknowledged by then, so that a cut at any place of it knows what must be found.
//! Invariants: small segments, so that a cut finds rolls and removals under way; only this test gives records up, so that one that
//! is missing at the front of a log is a loss as well.

mod mark;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::{DeleteRecordsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::broker::{Broker, Options};
use crate::support::load::{LIMIT, config, create_topic, offsets};
use crate::support::pump::{Pump, audit};
use crate::support::skipped;
use crate::support::wire::Wire;
use mark::Marker;

const TOPIC: &str = "powercut";
const PARTITIONS: usize = 3;

/// The device of which dm-log-writes keeps a log.
const DEVICE: &str = "writes";
/// A mark follows an acknowledgement at once, and comes no later than this.
const MARK_INTERVAL_MAX: Duration = Duration::from_millis(5);

/// Records of each partition that are kept.
const KEPT: i64 = 1000;
const TRIM_INTERVAL: Duration = Duration::from_millis(300);
const DELETE_RECORDS_VERSION: i16 = 2;

/// What must be found of a partition: every record from `trimmed`, at the latest, up to `acknowledged`, at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    trimmed: i64,
    acknowledged: i64,
}

#[test]
fn what_was_acknowledged_before_the_power_cut_is_there() {
    let Some(disk) = std::env::var_os("CHRONIK_POWERCUT_DISK") else {
        return skipped("needs a machine of its own: cargo xtask powercut");
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let ledger = variable("CHRONIK_POWERCUT_LEDGER");
    let seconds = variable("CHRONIK_POWERCUT_SECONDS").parse().expect("a number");
    let data_dir = Some(PathBuf::from(disk).join("data"));
    let mut broker = Broker::start_with(Options { data_dir, ..Options::default() });
    let known = find(&broker, &ledger);
    println!("everything is there");
    if seconds > 0 {
        produce(&mut broker, known, Duration::from_secs(seconds));
    }
}

/// Checks that everything of the ledger is there, each record in its place; returns what is known now.
fn find(broker: &Broker, ledger: &str) -> Vec<Known> {
    let bootstrap = broker.bootstrap();
    if ledger.is_empty() && !topic_exists(&bootstrap) {
        let count = i32::try_from(PARTITIONS).expect("few");
        create_topic(&bootstrap, TOPIC, count, &[("internal.segment.bytes", "65536"), ("retention.ms", "-1")]);
    }
    let known = if ledger.is_empty() { vec![Known::default(); PARTITIONS] } else { read_ledger(ledger) };
    let check = |(partition, known): (i32, &Known)| {
        let (first, end) = offsets(&bootstrap, TOPIC, partition);
        let Known { trimmed, acknowledged } = known;
        println!("partition {partition}: {first} to {end}, known {trimmed} to {acknowledged}");
        assert!(end >= *acknowledged, "partition {partition} ends at {end}, but {acknowledged} were acknowledged");
        assert!(first <= *trimmed, "partition {partition} begins at {first}, but {trimmed} was the first to be kept");
        audit(&bootstrap, TOPIC, partition, first, end);
        Known { trimmed: *trimmed, acknowledged: end }
    };
    (0..).zip(&known).map(check).collect()
}

fn topic_exists(bootstrap: &str) -> bool {
    let client: BaseConsumer = config(bootstrap).create().expect("the settings are valid");
    // All topics: to ask for one by name would create it.
    let metadata = client.fetch_metadata(None, LIMIT).expect("an answer");
    metadata.topics().iter().any(|topic| topic.name() == TOPIC)
}

/// Produces for a while and gives old records up, with a mark for all that becomes known, and one kill -9 half way.
fn produce(broker: &mut Broker, mut known: Vec<Known>, time: Duration) {
    let marker = Marker::open(DEVICE);
    let ends: Vec<i64> = known.iter().map(|known| known.acknowledged).collect();
    let seed = ends.iter().sum::<i64>().unsigned_abs();
    let pump = Pump::go_on(&broker.bootstrap(), TOPIC, &ends, seed);
    pump.advance(1);
    let deadline = Instant::now() + time;
    let mut next_trim = Instant::now();
    let mut to_kill = seed % 2 == 0;
    let mut marked = Vec::new();
    while Instant::now() < deadline {
        pump.assert_sound();
        for (known, acknowledged) in known.iter_mut().zip(pump.acknowledged_each()) {
            known.acknowledged = acknowledged;
        }
        let trims = Instant::now() >= next_trim;
        if trims {
            known.iter_mut().for_each(|known| known.trimmed = known.trimmed.max(known.acknowledged - KEPT));
        }
        if known != marked {
            marker.mark(&write_ledger(&known));
            marked.clone_from(&known);
        }
        if trims {
            // After the mark, for a cut may find the records gone at once.
            trim(&broker.bootstrap(), &known);
            next_trim = Instant::now() + TRIM_INTERVAL;
        }
        if to_kill && Instant::now() + time / 2 > deadline {
            broker.kill();
            broker.launch();
            to_kill = false;
        }
        pump.wait_for_news(MARK_INTERVAL_MAX);
    }
}

fn trim(bootstrap: &str, known: &[Known]) {
    let partition = |(partition, known): (i32, &Known)| {
        DeleteRecordsPartition::default().with_partition_index(partition).with_offset(known.trimmed)
    };
    let topic = DeleteRecordsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partitions((0..).zip(known).map(partition).collect());
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    let response = Wire::connect(bootstrap).ask(&request, DELETE_RECORDS_VERSION);
    let refused = response.topics[0].partitions.iter().find(|partition| partition.error_code != 0);
    assert_eq!(refused, None);
}

/// `trimmed-acknowledged` of each partition, with commas between.
fn write_ledger(known: &[Known]) -> String {
    let texts = known.iter().map(|known| format!("{}-{}", known.trimmed, known.acknowledged));
    texts.collect::<Vec<_>>().join(",")
}

fn read_ledger(ledger: &str) -> Vec<Known> {
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text} in {ledger} is no number"));
    let known = ledger.split(',').map(|known| {
        let (trimmed, acknowledged) = known.split_once('-').unwrap_or_else(|| panic!("{ledger} is no ledger"));
        Known { trimmed: number(trimmed), acknowledged: number(acknowledged) }
    });
    known.collect()
}
