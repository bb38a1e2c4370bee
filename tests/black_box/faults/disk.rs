//! A disk that is full, one that is gone, one that is slow, and one that cannot be read.

use std::time::Duration;

use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, ProduceRequest};
use kafka_protocol::records::Compression;

use crate::support::broker::{Broker, Options};
use crate::support::eventually;
use crate::support::image::Image;
use crate::support::load::{
    LIMIT, Record, create_topic, delete_topic, offsets, produce, read, read_all, reader, try_produce,
};
use crate::support::pump::Pump;
use crate::support::shared;
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, produce_request};

const MIB: u64 = 1 << 20;

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_goes_on_when_there_is_space() {
    if !shared::is_ours() {
        return;
    }
    let Some(image) = Image::mounted(192 * MIB) else { return };
    let ballast = image.path().join("ballast");
    let mut broker = Broker::start_with(Options { data_dir: Some(image.path().join("data")), ..Options::default() });
    create_topic(&broker.bootstrap(), "t", 1, &[("segment.bytes", "4194304")]);
    let fill = std::fs::File::create(&ballast).expect("a file");
    use std::os::unix::fs::FileExt;
    for at in 0..64 {
        fill.write_all_at(&vec![1; MIB as usize], at * MIB).expect("there is space");
    }
    fill.sync_all().expect("there is space");
    let megabyte: Vec<Record> = (0..10).map(|n| Record::of(vec![n; 100_000])).collect();
    let quick = [("message.timeout.ms", "3000"), ("batch.num.messages", "1")];
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let refused = eventually(LIMIT * 2, "the disk is full", || {
        let outcomes = try_produce(&broker.bootstrap(), "t", 0, &quick, &megabyte);
        keep(&mut kept, &outcomes, &megabyte);
        outcomes.into_iter().find_map(Result::err)
    });
    println!("full after {} records: {refused}", kept.len());
    assert_holds(&broker, &kept);
    // Metadata and connections do not need the disk.
    assert_eq!(offsets(&broker.bootstrap(), "t", 0).0, 0);
    std::fs::remove_file(&ballast).expect("ours");
    drop(fill);
    eventually(LIMIT * 2, "there is space again", || {
        let outcomes = try_produce(&broker.bootstrap(), "t", 0, &quick, &megabyte);
        keep(&mut kept, &outcomes, &megabyte);
        outcomes.iter().all(Result::is_ok).then_some(())
    });
    broker.kill();
    broker.launch();
    assert_holds(&broker, &kept);
    broker.stop(LIMIT);
}

#[test]
fn a_broker_that_is_killed_on_a_full_disk_serves_what_is_there_and_appends_once_a_topic_is_deleted() {
    if !shared::is_ours() {
        return;
    }
    let Some(image) = Image::mounted(192 * MIB) else { return };
    let settings = vec!["log.retention.check.interval.ms=1000".into()];
    let data_dir = Some(image.path().join("data"));
    let mut broker = Broker::start_with(Options { data_dir, settings, ..Options::default() });
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    create_topic(&broker.bootstrap(), "unwanted", 1, &[]);
    let megabyte: Vec<Record> = (0..10).map(|n| Record::of(vec![n; 100_000])).collect();
    let quick = [("message.timeout.ms", "3000"), ("batch.num.messages", "1")];
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for _ in 0..32 {
        produce(&broker.bootstrap(), "unwanted", 0, &[], &megabyte);
        keep(&mut kept, &try_produce(&broker.bootstrap(), "t", 0, &quick, &megabyte), &megabyte);
    }
    fill_up(&image.path().join("ballast"));
    let refused = |broker: &Broker, kept: &mut Vec<Vec<u8>>| {
        let outcomes = try_produce(&broker.bootstrap(), "t", 0, &quick, &megabyte);
        keep(kept, &outcomes, &megabyte);
        outcomes.into_iter().find_map(Result::err)
    };
    eventually(LIMIT * 2, "the disk is full", || refused(&broker, &mut kept));
    // Twice: the second start finds what the first could not finish.
    for _ in 0..2 {
        broker.kill();
        fill_up(&image.path().join("more ballast"));
        broker.launch();
        assert_holds(&broker, &kept);
        eventually(LIMIT * 2, "nothing more is taken", || refused(&broker, &mut kept));
    }
    assert!(broker.log().contains("the files of the last start stay in use"), "it was full");
    delete_topic(&broker.bootstrap(), "unwanted");
    eventually(LIMIT * 2, "there is space again", || refused(&broker, &mut kept).is_none().then_some(()));
    broker.kill();
    broker.launch();
    assert_holds(&broker, &kept);
    broker.stop(LIMIT);
}

/// Takes what is left of the disk, to the last block.
fn fill_up(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).expect("a name takes no block here");
    for bytes in [MIB as usize, 4096] {
        while std::io::Write::write_all(&mut file, &vec![1; bytes]).is_ok() {}
    }
    // What was written to memory has its blocks reserved; if some of them are found missing now, so much the better.
    drop(file.sync_all());
}

/// Remembers what was acknowledged, at its offset. A refused record may be there all the same, if only its answer was lost.
fn keep(kept: &mut Vec<Vec<u8>>, outcomes: &[Result<i64, rdkafka::error::KafkaError>], records: &[Record]) {
    for (outcome, record) in outcomes.iter().zip(records) {
        if let Ok(offset) = outcome {
            let offset = usize::try_from(*offset).expect("not negative");
            kept.resize(kept.len().max(offset + 1), Vec::new());
            kept[offset] = record.value.clone().expect("it has one");
        }
    }
}

fn assert_holds(broker: &Broker, kept: &[Vec<u8>]) {
    let found = read_all(&broker.bootstrap(), "t", 0);
    assert!(found.len() >= kept.len(), "{} of {}", found.len(), kept.len());
    for (offset, (found, kept)) in found.iter().zip(kept).enumerate() {
        assert!(kept.is_empty() || found.value.as_ref() == Some(kept), "offset {offset}");
    }
}

#[test]
fn a_disk_that_fails_under_load_ends_the_broker_with_a_word_and_loses_nothing() {
    if !shared::is_ours() {
        return;
    }
    let Some(image) = Image::mounted(256 * MIB) else { return };
    let mut broker = Broker::start_with(Options { data_dir: Some(image.path().join("data")), ..Options::default() });
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let small: Vec<Record> = (0..500).map(|n| Record::of(format!("{n}"))).collect();
    let mut kept = Vec::new();
    let patient = [("message.timeout.ms", "10000"), ("linger.ms", "0")];
    keep(&mut kept, &try_produce(&broker.bootstrap(), "t", 0, &patient, &small), &small);
    assert_eq!(kept.len(), 500);
    image.shut_down();
    let after = try_produce(&broker.bootstrap(), "t", 0, &[("message.timeout.ms", "3000")], &[Record::of("lost")]);
    assert!(after[0].is_err(), "acknowledged though nothing can be written");
    // A write that fails takes one log offline, a flush that fails ends the process: here both may be first. Either way it says so.
    eventually(Duration::from_secs(10), "it says what has failed", || {
        let log = broker.log();
        (log.contains("Input/output error") || log.contains("os error 5") || log.contains("EIO")).then_some(())
    });
    broker.kill_if_running();
    image.remount();
    broker.launch();
    assert_holds(&broker, &kept);
    broker.stop(LIMIT);
}

#[test]
fn a_disk_that_stalls_for_two_seconds_delays_what_is_produced_and_nothing_else() {
    if !shared::is_ours() {
        return;
    }
    let Some(image) = Image::mounted(256 * MIB) else { return };
    let mut broker = Broker::start_with(Options { data_dir: Some(image.path().join("data")), ..Options::default() });
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 2, &[]);
    let pump = Pump::start(&bootstrap, "t", 2, 4);
    pump.advance(1000);
    let acknowledged = pump.acknowledged_each()[0];
    std::thread::scope(|scope| {
        let stalled = scope.spawn(|| image.stall(Duration::from_secs(2)));
        eventually(LIMIT, "nothing is acknowledged", || {
            let before = pump.acknowledged();
            std::thread::sleep(Duration::from_millis(300));
            (pump.acknowledged() == before).then_some(())
        });
        let before = pump.acknowledged();
        assert!(!stalled.is_finished());
        // Neither of these writes.
        assert_eq!(offsets(&bootstrap, "t", 0).0, 0);
        read(&bootstrap, "t", 0, (acknowledged - 100).max(0), acknowledged);
        assert!(!stalled.is_finished(), "what needs no disk has waited for it");
        assert_eq!(pump.acknowledged(), before, "acknowledged while nothing could be flushed");
    });
    pump.advance(1000);
    pump.finish();
    broker.stop(LIMIT);
}

/// Lesson 85.
#[test]
fn produces_that_fill_the_memory_while_the_disk_stalls_keep_no_one_from_asking() {
    if !shared::is_ours() {
        return;
    }
    let Some(image) = Image::mounted(1024 * MIB) else { return };
    let data_dir = Some(image.path().join("data"));
    let arguments = vec!["--shards=1".into()];
    let mut broker = Broker::start_with(Options { data_dir, arguments, ..Options::default() });
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    let produce = produce_request("t", 0, -1, batch(&[&[7; 1_000_000]], Compression::None));
    std::thread::scope(|scope| {
        let stalled = scope.spawn(|| image.stall(Duration::from_secs(8)));
        for _ in 0..12 {
            scope.spawn(|| {
                let mut wire = Wire::connect(&bootstrap);
                wire.set_limit(LIMIT);
                // As much as a connection may have in flight: the rest waits in the kernel.
                let sent: Vec<i32> = (0..16).map(|_| wire.send(&produce, PRODUCE_VERSION)).collect();
                for id in sent {
                    let answer = wire.receive::<ProduceRequest>(PRODUCE_VERSION, id);
                    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
                }
            });
        }
        eventually(LIMIT, "produces hold all that they may", || (broker.request_bytes() > 125e6).then_some(()));
        for _ in 0..5 {
            let mut wire = Wire::connect(&bootstrap);
            assert_eq!(wire.ask(&ApiVersionsRequest::default(), 0).error_code, 0);
            assert_eq!(wire.ask(&MetadataRequest::default().with_topics(None), 9).topics.len(), 1);
        }
        assert!(!stalled.is_finished(), "answered only when the disk went on");
    });
    broker.stop(LIMIT);
}

#[test]
fn what_cannot_be_read_is_an_error_to_its_reader_and_to_no_one_else() {
    if !shared::is_ours() {
        return;
    }
    let Some(image) = Image::mounted(256 * MIB) else { return };
    let mut broker = Broker::start_with(Options { data_dir: Some(image.path().join("data")), ..Options::default() });
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    let records: Vec<Record> = (0..20).map(|n| Record::of(vec![n; 1000])).collect();
    produce(&bootstrap, "t", 0, &[], &records);
    // Then nothing is in memory, and nothing waits to be written.
    assert!(broker.stop(LIMIT).success());
    broker.launch();
    image.shut_down();
    let reader = reader(&bootstrap, "t", 0, 0);
    let lost = reader.poll(Duration::from_secs(3));
    assert!(!matches!(lost, Some(Ok(_))), "read from a disk that is gone");
    eventually(LIMIT, "it says what cannot be read", || {
        let log = broker.log();
        (log.contains("read of") && log.contains("os error 5")).then_some(())
    });
    assert_eq!(offsets(&bootstrap, "t", 0), (0, 20), "it goes on");
    broker.kill();
}
