//! A group of one.

use std::time::Duration;

use storage::disk::{Fault, FaultOn, SimDisk, SimDiskOptions};

use super::world::{World, content, create, created, options};
use crate::metadata::controller::{ConfigAlteration, ConfigOperation, ConfigTarget, ConfigVerb, NewTopic, TopicRef};
use crate::metadata::node::{NodeFailure, NodeOptions};
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::metrics::MetadataMetrics;
use crate::metrics::instrument::{Instrument, Reading};
use crate::metrics::table::MetricSet;
use crate::model::{BrokerId, ProducerId};

fn names(prefix: &str, range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("{prefix}{n}")).collect()
}

#[test]
fn a_lone_node_leads_within_milliseconds_of_its_first_start() {
    let world = World::new(1);
    let node = world.open(options());
    assert!(world.runtime.now_ns() < 30_000_000, "{} ns of a slow disk", world.runtime.now_ns());
    assert_eq!(node.image().controller(), Some(BrokerId(0)));
    assert_eq!(node.image().cluster_id(), "cluster");
    let stats = node.stats();
    assert!(stats.am_controller && stats.election_count == 1 && stats.term == 2, "{stats:?}");
}

/// Lesson 17: nothing is done at a tick.
#[test]
fn a_change_takes_one_write_and_one_flush() {
    let world = World::new(2);
    let node = world.open(options());
    world.register(&node);
    let (before, begun) = (node.stats(), world.runtime.now_ns());
    world.create(&node, names("t", 0..1));
    assert_eq!(node.stats().flush_count, before.flush_count + 1);
    assert!(world.runtime.now_ns() - begun < 3_000_000, "{} ns", world.runtime.now_ns() - begun);
    assert_eq!(node.stats().commit_count, before.commit_count + 1);
}

/// Lesson 87: a name that never moves is a defect.
#[test]
fn every_metric_of_the_metadata_core_moves() {
    let world = World::new(20);
    let options = options();
    let metrics = options.metrics.clone();
    let node = world.open(options);
    world.register(&node);
    world.create(&node, names("t", 0..3));
    for (metric, reading) in MetadataMetrics::TABLE.iter().zip(metrics.read()) {
        let moved = match &reading {
            Reading::Number(value) => *value > 0,
            Reading::Labelled(values) => values.iter().any(|(_, value)| *value > 0),
            Reading::Histogram(histogram) => histogram.counts.iter().sum::<u64>() == 2,
        };
        assert!(moved, "{} is {reading:?}", metric.name);
    }
    assert_eq!((metrics.topics.get(), metrics.partitions.get(), metrics.raft_election_count.get()), (3, 3, 1));
    assert_eq!(metrics.raft_leader_count.read(), Reading::Labelled(vec![("node_id=\"0\"".to_owned(), 3)]));
}

#[test]
fn a_hundred_creators_share_a_few_flushes() {
    let world = World::new(3);
    let node = world.open(options());
    world.register(&node);
    let before = node.stats();
    let calls: Vec<_> = (0..100)
        .map(|n| {
            let node = node.clone();
            world.spawn(async move { node.submit(create([format!("topic-{n}")])).await })
        })
        .collect();
    while calls.iter().any(|call| call.borrow().is_none()) {
        assert!(world.step());
    }
    for call in &calls {
        assert_eq!(created(call.borrow().as_ref().unwrap().as_ref().unwrap()), Ok(()));
    }
    assert_eq!(node.image().topic_count(), 100);
    let flushes = node.stats().flush_count - before.flush_count;
    assert!(flushes <= 3, "{flushes} flushes");
}

#[test]
fn of_concurrent_creators_of_one_name_exactly_one_succeeds() {
    let world = World::new(4);
    let node = world.open(options());
    world.register(&node);
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let node = node.clone();
            world.spawn(async move { node.submit(create(["same".to_owned()])).await })
        })
        .collect();
    while calls.iter().any(|call| call.borrow().is_none()) {
        assert!(world.step());
    }
    let good = calls.iter().filter(|call| created(call.borrow().as_ref().unwrap().as_ref().unwrap()).is_ok()).count();
    assert_eq!(good, 1);
}

/// Lesson 54.
#[test]
fn fifty_topics_of_one_request_are_all_there_and_stay() {
    let mut world = World::new(5);
    let node = world.open(options());
    world.register(&node);
    let before = node.stats().flush_count;
    world.create(&node, names("t", 0..50));
    assert_eq!(node.stats().flush_count, before + 1);
    assert_eq!((node.image().topic_count(), node.image().partition_count()), (50, 50));
    world.end(true, 5);
    let node = world.open(options());
    assert!(names("t", 0..50).iter().all(|name| node.image().topic_by_name(name).is_some()));
}

/// Lessons 53 and 55: with snapshots and without.
#[test]
fn five_thousand_topics_are_the_same_after_every_restart() {
    for snapshot_bytes in [64 << 20, 100 << 10] {
        let mut world = World::new(6);
        let node = world.open(NodeOptions { snapshot_bytes, ..options() });
        world.register(&node);
        for batch in 0..10 {
            world.create(&node, names("topic-", batch * 500..(batch + 1) * 500));
        }
        let before = content(&node.image());
        assert_eq!(node.image().topic_count(), 5_000);
        for restart in 0..2 {
            world.end(restart == 0, restart);
            let node = world.open(options());
            assert_eq!(content(&node.image()), before, "restart {restart}, snapshots above {snapshot_bytes}");
        }
    }
}

/// Lesson 55.
#[test]
fn configs_deletions_and_partitions_survive_a_restart() {
    let mut world = World::new(7);
    let node = world.open(options());
    world.register(&node);
    world.create(&node, names("t", 0..3));
    let set = |target, value: Option<&str>| ConfigAlteration {
        target,
        operations: vec![ConfigOperation {
            name: "retention.ms".into(),
            verb: if value.is_some() { ConfigVerb::Set } else { ConfigVerb::Delete },
            value: value.map(str::to_owned),
        }],
    };
    let alter = |target, value| Request::AlterConfigs { resources: vec![set(target, value)], validate_only: false };
    world.submit(&node, alter(ConfigTarget::Topic("t0".into()), Some("5"))).unwrap();
    world.submit(&node, alter(ConfigTarget::AllBrokers, Some("6"))).unwrap();
    world.submit(&node, alter(ConfigTarget::Broker(BrokerId(0)), Some("7"))).unwrap();
    world.submit(&node, alter(ConfigTarget::Topic("t0".into()), None)).unwrap();
    world.submit(&node, Request::DeleteTopics { topics: vec![TopicRef::Name("t1".into())] }).unwrap();
    let more = crate::metadata::controller::PartitionIncrease { name: "t2".into(), count: 4, assignments: None };
    world.submit(&node, Request::CreatePartitions { topics: vec![more], validate_only: false }).unwrap();
    let before = content(&node.image());
    world.end(true, 7);
    let node = world.open(options());
    assert_eq!(content(&node.image()), before);
    let image = node.image();
    assert!(image.topic_by_name("t0").unwrap().configs.is_empty() && image.topic_by_name("t1").is_none());
    assert_eq!(image.topic_by_name("t2").unwrap().partition_count(), 4);
    assert_eq!(image.broker_configs(None).unwrap()["retention.ms"], "6");
    assert_eq!(image.broker_configs(Some(BrokerId(0))).unwrap()["retention.ms"], "7");
}

/// Lesson 70.
#[test]
fn no_producer_id_is_handed_out_twice_whatever_happens() {
    let mut world = World::new(8);
    let mut next = ProducerId(0);
    for restart in 0..6 {
        let node = world.open(NodeOptions { snapshot_entries: 7, ..options() });
        let epoch = world.register(&node);
        for _ in 0..5 {
            let block = world.producer_ids(&node, epoch);
            assert!(block.first >= next, "{block:?} after {next:?}");
            next = ProducerId(block.first.0 + block.count);
        }
        // One more is under way at the end; whether it counts is not known, but its ids are not used again.
        let asking = node.clone();
        let request = Request::AllocateProducerIds { broker: BrokerId(0), epoch };
        let call = world.spawn(async move { asking.submit(request).await });
        for _ in 0..restart {
            world.step();
        }
        if let Some(Ok(Reply::AllocateProducerIds(Ok(block)))) = call.borrow().as_ref() {
            next = ProducerId(block.first.0 + block.count);
        }
        world.end(restart % 2 == 0, restart);
    }
}

/// Lesson 56.
#[test]
fn snapshots_come_by_growth_and_the_log_stays_short() {
    let mut world = World::new(9);
    let node = world.open(NodeOptions { snapshot_entries: 50, ..options() });
    world.register(&node);
    for n in 0..500 {
        world.create(&node, [format!("t{n}")]);
    }
    let rt = world.rt.clone();
    world.run(async move { rt.sleep(Duration::from_secs(1)).await });
    let stats = node.stats();
    assert!((8..=10).contains(&stats.snapshot_count), "{stats:?}");
    assert!(stats.log_bytes < 40_000, "{stats:?}");
    let before = content(&node.image());
    // Nothing is applied any more: nothing is snapshotted either.
    let rt = world.rt.clone();
    world.run(async move { rt.sleep(Duration::from_secs(60)).await });
    assert_eq!(node.stats().snapshot_count, stats.snapshot_count);
    world.end(true, 9);
    let node = world.open(options());
    assert_eq!(content(&node.image()), before);
    let files = world.disk.file_bytes(&super::world::dir().join("raft.log")).unwrap().len();
    assert!(files <= 1 << 20, "{files} bytes of log");
}

#[test]
fn a_snapshot_is_due_by_bytes_too() {
    let world = World::new(10);
    let node = world.open(NodeOptions { snapshot_bytes: 20_000, ..options() });
    world.register(&node);
    for n in 0..60 {
        world.create(&node, names(&format!("t{n}-"), 0..20));
    }
    let stats = node.stats();
    assert!(stats.snapshot_count >= 2 && stats.log_bytes < 40_000, "{stats:?}");
}

#[test]
fn what_is_applied_while_a_snapshot_is_taken_goes_into_the_next_log() {
    // Renames are slow, so that more is applied during a snapshot than the tail keeps without need.
    let options_of_disk = SimDiskOptions { other_ns: 30_000_000..=30_000_000, ..SimDiskOptions::default() };
    let mut world = World { disk: SimDisk::new(19, options_of_disk), ..World::new(19) };
    let node = world.open(NodeOptions { snapshot_entries: 3, ..options() });
    world.register(&node);
    for n in 0..9 {
        let configs = vec![("c".to_owned(), Some("v".repeat(1_500_000)))];
        let name = format!("t{n}");
        let topic = NewTopic { name, partitions: -1, replication_factor: -1, configs, ..NewTopic::default() };
        world.submit(&node, Request::CreateTopics { topics: vec![topic], validate_only: false }).unwrap();
    }
    let log_bytes = node.stats().log_bytes;
    while node.stats().log_bytes >= log_bytes {
        assert!(world.step(), "a new log begins");
    }
    assert_eq!(node.stats().snapshot_count, 1);
    let before = content(&node.image());
    world.end(true, 3);
    assert_eq!(content(&world.open(options()).image()), before);
}

#[test]
fn an_answer_waits_for_every_subscriber() {
    let world = World::new(11);
    let node = world.open(options());
    let (quick, slow) = (node.subscribe(), node.subscribe());
    let registered = world.spawn({
        let node = node.clone();
        async move { node.submit(super::world::registration(0)).await }
    });
    let seen = world.run(async move {
        loop {
            let publication = quick.next().await.unwrap();
            quick.acknowledge(publication.image.version());
            if publication.delta.brokers.contains(&BrokerId(0)) {
                return quick;
            }
        }
    });
    for _ in 0..50 {
        world.step();
    }
    assert!(registered.borrow().is_none(), "one of two does not know yet");
    let first = world.run(async move {
        let publication = slow.next().await.unwrap();
        slow.acknowledge(publication.image.version());
        (slow, publication)
    });
    assert!(first.1.delta.brokers.contains(&BrokerId(0)), "what was not taken came joined");
    world.runtime.run_ready();
    assert!(matches!(registered.borrow().as_ref(), Some(Ok(Reply::RegisterBroker(Ok(_))))));
    drop((seen, first.0));
    world.create(&node, names("t", 0..1));
}

#[test]
fn a_refusal_waits_for_what_it_rests_on() {
    let world = World::new(12);
    let node = world.open(options());
    world.register(&node);
    let ask = || {
        let node = node.clone();
        world.spawn(async move { node.submit(create(["t".to_owned()])).await })
    };
    let (first, second) = (ask(), ask());
    while second.borrow().is_none() {
        assert!(first.borrow().is_some() || second.borrow().is_none());
        assert!(world.step());
    }
    assert!(first.borrow().is_some(), "the second's refusal would have told of a topic that was not durable");
    assert!(node.image().topic_by_name("t").is_some());
}

#[test]
fn validating_changes_nothing() {
    let world = World::new(13);
    let node = world.open(options());
    world.register(&node);
    let before = node.stats();
    let topic = NewTopic { name: "t".into(), partitions: 3, replication_factor: -1, ..NewTopic::default() };
    let request = Request::CreateTopics { topics: vec![topic], validate_only: true };
    match world.submit(&node, request).unwrap() {
        Reply::CreateTopics(topics) => assert_eq!(topics[0].1.as_ref().unwrap().partitions, 3),
        other => panic!("{other:?}"),
    }
    assert_eq!((node.image().topic_count(), node.stats().flush_count), (0, before.flush_count));
}

#[test]
fn a_failed_flush_ends_the_node_and_acknowledges_nothing() {
    for on in [FaultOn::Flush, FaultOn::Write] {
        let mut world = World::new(14);
        let node = world.open(options());
        world.register(&node);
        world.create(&node, names("kept", 0..1));
        world.disk.fail(Fault::every(on, "raft.log"));
        let refused = world.submit(&node, create(["lost".to_owned()]));
        assert_eq!(refused, Err(SubmitError::Stopping), "{on:?}");
        let failing = node.clone();
        let failure = world.run(async move { failing.failed().await });
        assert!(matches!(&failure, NodeFailure::Disk(error) if error.path.ends_with("raft.log")), "{failure}");
        assert_eq!(world.submit(&node, create(["more".to_owned()])), Err(SubmitError::Stopping));
        world.disk.heal();
        world.end(true, 1);
        let node = world.open(options());
        assert!(node.image().topic_by_name("kept0").is_some());
    }
}

#[test]
fn a_full_disk_makes_requests_wait_and_loses_nothing() {
    let mut world = World::new(15);
    let node = world.open(options());
    world.register(&node);
    let used = world.disk.file_bytes(&super::world::dir().join("raft.log")).unwrap().len() as u64;
    world.disk.set_capacity_bytes(Some(used + (64 << 10)));
    let asking = node.clone();
    let calls = world.spawn(async move {
        for batch in 0..100 {
            let names = (0..100).map(|n| format!("topic-{batch}-{n}"));
            assert_eq!(created(&asking.submit(create(names)).await.unwrap()), Ok(()));
        }
    });
    let rt = world.rt.clone();
    world.run(async move { rt.sleep(Duration::from_secs(3)).await });
    assert!(calls.borrow().is_none(), "it waits");
    world.disk.set_capacity_bytes(None);
    while calls.borrow().is_none() {
        assert!(world.step());
    }
    world.end(true, 2);
    assert_eq!(world.open(options()).image().topic_count(), 10_000);
}

#[test]
fn stopping_finishes_what_is_proposed_and_ends_subscriptions() {
    let mut world = World::new(16);
    let node = world.open(NodeOptions { snapshot_entries: 3, ..options() });
    world.register(&node);
    let subscription = node.subscribe();
    let told = world.spawn(async move {
        while let Some(publication) = subscription.next().await {
            subscription.acknowledge(publication.image.version());
        }
    });
    let calls: Vec<_> = (0..10)
        .map(|n| {
            let node = node.clone();
            world.spawn(async move { node.submit(create([format!("t{n}")])).await })
        })
        .collect();
    world.runtime.run_ready();
    let stopping = node.clone();
    world.run(async move { stopping.stop().await });
    world.runtime.run_ready();
    assert!(told.borrow().is_some() && calls.iter().all(|call| call.borrow().is_some()));
    assert_eq!(world.submit(&node, create(["late".to_owned()])), Err(SubmitError::Stopping));
    let good = calls.iter().filter(|call| call.borrow().as_ref().unwrap().is_ok()).count();
    drop(node);
    assert_eq!(world.runtime.task_count(world.executor), 0, "every task has ended");
    world.end(false, 0);
    assert!(world.open(options()).image().topic_count() >= good);
}

#[test]
fn a_request_that_no_command_can_hold_is_refused_and_others_go_on() {
    let world = World::new(17);
    let node = world.open(options());
    world.register(&node);
    let configs = (0..50).map(|n| (format!("c{n}"), Some("v".repeat(100_000)))).collect();
    let topic = NewTopic { name: "t".into(), partitions: -1, replication_factor: -1, configs, ..NewTopic::default() };
    let refused = world.submit(&node, Request::CreateTopics { topics: vec![topic], validate_only: false });
    assert!(matches!(refused, Err(SubmitError::TooLarge(_))), "{refused:?}");
    world.create(&node, names("t", 0..1));
}

#[test]
fn more_requests_than_may_wait_are_refused() {
    let world = World::new(18);
    let node = world.open(options());
    world.register(&node);
    let silent = node.subscribe();
    let calls: Vec<_> = (0..crate::metadata::node::WAITING_REQUESTS_MAX + 10)
        .map(|n| {
            let node = node.clone();
            world.spawn(async move { node.submit(create([format!("t{n}")])).await })
        })
        .collect();
    for _ in 0..200 {
        world.step();
    }
    let refused = calls.iter().filter(|call| matches!(call.borrow().as_ref(), Some(Err(SubmitError::Busy)))).count();
    assert_eq!(refused, 10);
    drop(silent);
    world.runtime.run_ready();
    assert!(calls.iter().all(|call| call.borrow().is_some()));
}
