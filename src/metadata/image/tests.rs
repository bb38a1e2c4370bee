//! Tests of images, steps between them, and snapshots.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::metadata::change::*;
use proptest::prelude::*;

fn step(image: &Image, action: Action) -> (Image, Delta) {
    image.apply(image.version() + 1, &Change::new(action)).unwrap()
}

fn partition(partition: i32) -> PartitionRecord {
    PartitionRecord {
        partition,
        replicas: vec![1],
        isr: vec![1],
        leader: 1,
        leader_epoch: 0,
        partition_epoch: 0,
        elr: vec![],
    }
}

fn topic(low: u64, name: &str, partitions: i32) -> TopicRecord {
    let partitions = (0..partitions).map(partition).collect();
    TopicRecord { id: Id { high: 1, low }, name: name.into(), partitions, configs: Configs::new() }
}

fn create(topics: Vec<TopicRecord>) -> Action {
    Action::CreateTopics(CreateTopics { topics })
}

fn voter() -> Voter {
    Voter { raft_id: 1, node_id: BrokerId(0), directory_id: Some(Uuid::from_u64_pair(3, 4)) }
}

/// A raw wish of the property tests, made into a command that fits the image.
fn fit(image: &Image, kind: u8, pick: usize, value: u8) -> Option<Action> {
    let topics: Vec<_> = image.topics().collect();
    let picked = (!topics.is_empty()).then(|| topics[pick % topics.len()]);
    let low = image.version() + 1;
    Some(match kind % 9 {
        0 | 1 => create((0..u64::from(value % 3) + 1).map(|n| topic(low * 8 + n, &format!("t{low}.{n}"), 3)).collect()),
        2 => Action::DeleteTopics(DeleteTopics { ids: vec![picked?.id.into()] }),
        3 => {
            let first = picked?.partition_count();
            let new = NewPartitions { topic_id: picked?.id.into(), partitions: vec![partition(first)] };
            Action::CreatePartitions(CreatePartitions { topics: vec![new] })
        }
        4 => {
            let mut record = PartitionRecord::of(0, picked?.partition(0)?);
            record.partition_epoch += 1;
            record.leader_epoch += i32::from(value % 2);
            let change = PartitionChange { topic_id: picked?.id.into(), partition: record };
            Action::ChangePartitions(ChangePartitions { partitions: vec![change], reason: 0 })
        }
        5 => {
            let owner = match (value % 3, picked) {
                (0, Some(topic)) => ConfigOwner::Topic(topic.id.into()),
                (1, _) => ConfigOwner::Broker(i32::from(value)),
                _ => ConfigOwner::AllBrokers(true),
            };
            let config = ConfigRecord { name: "c".into(), value: Some(format!("{low}")) };
            let configs = vec![config, ConfigRecord { name: format!("d{value}"), value: None }];
            Action::SetConfigs(SetConfigs { changes: vec![ConfigChange { owner: Some(owner), configs }] })
        }
        6 => Action::RegisterBroker(RegisterBroker {
            broker: i32::from(value % 4),
            directory_id: Id { high: 9, low },
            endpoints: vec![EndpointRecord { listener: "PLAINTEXT".into(), host: "h".into(), port: 9092 }],
            rack: value.is_multiple_of(2).then(|| "r".into()),
            fenced: value.is_multiple_of(3),
            peer: value.is_multiple_of(2).then(|| EndpointRecord { listener: "".into(), host: "h".into(), port: 9192 }),
            shards: u32::from(value),
            partitions: vec![],
        }),
        7 if value.is_multiple_of(2) => match image.brokers().keys().next() {
            Some(broker) => Action::BeginLeaving(BeginLeaving { broker: broker.0, partitions: vec![] }),
            None => return None,
        },
        7 => Action::AllocateProducerIds(AllocateProducerIds {
            broker: 1,
            first: image.next_producer_id().0,
            count: 1000,
        }),
        _ => Action::SetFeature(SetFeature { name: format!("f{}", value % 3), level: u32::from(value % 4) }),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_history_comes_back_from_its_snapshot_and_its_steps_list_what_changed(
        wishes in proptest::collection::vec((any::<u8>(), any::<usize>(), any::<u8>()), 1..80),
        start in any::<prop::sample::Index>(),
    ) {
        let mut image = Image::empty("cluster", [voter()]);
        let mut history = vec![(image.clone(), Delta::default())];
        for (kind, pick, value) in wishes {
            if let Some(action) = fit(&image, kind, pick, value) {
                let (next, delta) = step(&image, action);
                prop_assert!(Delta::between(&image, &next).is_within(&delta));
                image = next.clone();
                history.push((next, delta));
            }
        }
        prop_assert_eq!(&Image::from_bytes(&image.to_bytes()).unwrap(), &image);
        // A reader who joins the steps from anywhere on knows what one who compares the images knows.
        let start = start.index(history.len());
        let mut joined = Delta::default();
        for (_, delta) in &history[start + 1..] {
            joined.join(delta.clone());
        }
        prop_assert!(Delta::between(&history[start].0, &image).is_within(&joined));
        prop_assert_eq!(Delta::between(&Image::empty("cluster", [voter()]), &image).topics_created.len(), image.topic_count());
        let counted: usize = image.topics().map(|topic| topic.partitions.len()).sum();
        prop_assert_eq!(counted, image.partition_count());
        let mut leaders = BTreeMap::new();
        for leader in image.topics().flat_map(|topic| topic.partitions.values()).filter_map(|partition| partition.leader) {
            *leaders.entry(leader).or_insert(0usize) += 1;
        }
        prop_assert_eq!(&leaders, image.leader_counts());
        for topic in image.topics() {
            prop_assert_eq!(image.topic_by_name(&topic.name).unwrap().id, topic.id);
            prop_assert!((0..).zip(topic.partitions.iter()).all(|(expected, (partition, _))| expected == *partition));
        }
    }
}

impl Delta {
    /// The same topics created and deleted, and no change that the other does not list.
    fn is_within(&self, other: &Delta) -> bool {
        let deleted = |delta: &Delta| delta.topics_deleted.keys().copied().collect::<Vec<_>>();
        self.topics_created == other.topics_created
            && deleted(self) == deleted(other)
            && self.partitions.is_subset(&other.partitions)
            && self.topic_configs.is_subset(&other.topic_configs)
            && self.brokers.is_subset(&other.brokers)
            && self.broker_configs.is_subset(&other.broker_configs)
            && self.features.is_subset(&other.features)
    }
}

#[test]
fn a_change_among_ten_thousand_topics_leaves_the_others_shared() {
    let topics = (0..10_000).map(|n| topic(n + 1, &format!("topic-{n}"), 1)).collect();
    let (image, _) = step(&Image::empty("c", []), create(topics));
    let (next, delta) = step(&image, create(vec![topic(20_000, "one-more", 1)]));
    assert_eq!((next.topic_count(), delta.topics_created.len()), (10_001, 1));
    let shared = image.topics().filter(|topic| Arc::ptr_eq(topic, next.topic(topic.id).unwrap())).count();
    assert_eq!(shared, 10_000);
}

#[test]
fn a_command_that_does_not_fit_changes_nothing() {
    let (image, _) = step(&Image::empty("c", []), create(vec![topic(1, "a.b", 2)]));
    let mut epoch_gap = partition(0);
    epoch_gap.partition_epoch = 2;
    let topic_id = Id { high: 1, low: 1 };
    for misfit in [
        create(vec![topic(2, "new", 1), topic(3, "a_b", 1)]),
        create(vec![topic(1, "other", 1)]),
        Action::DeleteTopics(DeleteTopics { ids: vec![topic_id, topic_id] }),
        Action::CreatePartitions(CreatePartitions {
            topics: vec![NewPartitions { topic_id, partitions: vec![partition(3)] }],
        }),
        Action::ChangePartitions(ChangePartitions {
            partitions: vec![PartitionChange { topic_id, partition: epoch_gap }],
            reason: 0,
        }),
        Action::AllocateProducerIds(AllocateProducerIds { broker: 1, first: 1000, count: 1000 }),
        Action::FenceBrokers(FenceBrokers { brokers: vec![4], fenced: true, partitions: vec![] }),
    ] {
        assert!(image.apply(image.version() + 1, &Change::new(misfit)).is_err());
    }
    assert_eq!((image.topic_count(), image.partition_count()), (1, 2));
    assert!(
        image.apply(image.version(), &Change::new(create(vec![]))).is_err(),
        "an entry is applied once (lesson 49)"
    );
}

#[test]
fn names_that_differ_in_dots_and_underscores_are_found_as_neighbours() {
    let (image, _) =
        step(&Image::empty("c", []), create(vec![topic(1, "a.b", 1), topic(2, "a-b", 1), topic(3, "ab", 1)]));
    assert_eq!(image.topic_by_name("a.b").map(|topic| topic.id), Some(Id { high: 1, low: 1 }.into()));
    assert!(image.topic_by_name("a_b").is_none());
    assert_eq!(image.topic_like("a_b").map(|topic| &*topic.name), Some("a.b"));
    assert!(image.topic_like("a+b").is_none());
}

#[test]
fn damaged_snapshots_are_errors() {
    let (image, _) = step(&Image::empty("cluster", [voter()]), create(vec![topic(1, "a", 3)]));
    let bytes = image.to_bytes();
    for cut in 0..bytes.len() {
        assert!(Image::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        // zstd has no checksum here (the file that holds this has one): anything but a panic will do.
        let _ = Image::from_bytes(&damaged);
    }
}
