//! One life between two power cuts: find what was acknowledged before the last one, and produce until the next.
//!
//! Runs inside the machine of `cargo xtask powercut`, which logs every write to the disk. Marks in that log say what had been
//! acknowledged by then, so that a cut at any place of it knows what must be found.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::broker::{Broker, Options};
use crate::support::load::{LIMIT, config, create_topic, offsets};
use crate::support::pump::{Pump, audit};
use crate::support::skipped;

const TOPIC: &str = "powercut";
const PARTITIONS: usize = 3;

/// The device of which dm-log-writes keeps a log.
const DEVICE: &str = "writes";
const MARK_INTERVAL: Duration = Duration::from_millis(50);

#[test]
fn what_was_acknowledged_before_the_power_cut_is_there() {
    let Some(disk) = std::env::var_os("CHRONIK_POWERCUT_DISK") else {
        return skipped("needs a machine of its own: cargo xtask powercut");
    };
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let ledger = variable("CHRONIK_POWERCUT_LEDGER");
    let seconds = variable("CHRONIK_POWERCUT_SECONDS").parse().expect("a number");
    let data_dir = Some(PathBuf::from(disk).join("data"));
    // Segments that roll within seconds, and go again within seconds: their files are used again.
    let settings = vec!["log.retention.check.interval.ms=500".into()];
    let mut broker = Broker::start_with(Options { settings, data_dir, ..Options::default() });
    let ends = find(&broker, &ledger);
    if seconds > 0 {
        produce(&mut broker, &ends, Duration::from_secs(seconds));
    }
}

/// Checks that everything of the ledger is there, each record in its place; returns where each partition ends.
fn find(broker: &Broker, ledger: &str) -> Vec<i64> {
    let bootstrap = broker.bootstrap();
    if ledger.is_empty() && !topic_exists(&bootstrap) {
        let count = i32::try_from(PARTITIONS).expect("few");
        create_topic(&bootstrap, TOPIC, count, &[("segment.bytes", "1048576"), ("retention.bytes", "2097152")]);
    }
    let acknowledged: Vec<i64> = if ledger.is_empty() {
        vec![0; PARTITIONS]
    } else {
        ledger.split(',').map(|end| end.parse().expect("a number")).collect()
    };
    let check = |(partition, acknowledged): (i32, &i64)| {
        let (first, end) = offsets(&bootstrap, TOPIC, partition);
        assert!(end >= *acknowledged, "partition {partition} ends at {end}, but {acknowledged} were acknowledged");
        println!("partition {partition}: {first} to {end}, {acknowledged} acknowledged");
        audit(&bootstrap, TOPIC, partition, first, end);
        end
    };
    (0..).zip(&acknowledged).map(check).collect()
}

fn topic_exists(bootstrap: &str) -> bool {
    let client: BaseConsumer = config(bootstrap).create().expect("the settings are valid");
    // All topics: to ask for one by name would create it.
    let metadata = client.fetch_metadata(None, LIMIT).expect("an answer");
    metadata.topics().iter().any(|topic| topic.name() == TOPIC)
}

/// Produces for a while, with a mark for what is acknowledged again and again, and one kill -9 half way.
fn produce(broker: &mut Broker, ends: &[i64], time: Duration) {
    let seed = ends.iter().sum::<i64>().unsigned_abs();
    let pump = Pump::go_on(&broker.bootstrap(), TOPIC, ends, seed);
    let deadline = Instant::now() + time;
    let mut to_kill = seed % 2 == 0;
    while Instant::now() < deadline {
        pump.assert_sound();
        mark(&pump.acknowledged_each());
        if to_kill && Instant::now() + time / 2 > deadline {
            broker.kill();
            broker.launch();
            to_kill = false;
        }
        std::thread::sleep(MARK_INTERVAL);
    }
    assert!(pump.acknowledged() > ends.iter().sum(), "nothing was acknowledged");
    mark(&pump.acknowledged_each());
}

fn mark(acknowledged: &[i64]) {
    let text = acknowledged.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
    let status = Command::new("dmsetup").args(["message", DEVICE, "0", "mark", &text]).status().expect("dmsetup runs");
    assert!(status.success(), "{status}");
}
