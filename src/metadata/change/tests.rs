//! Tests of the commands and their bytes.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use proptest::prelude::*;

fn id(low: u64) -> Id {
    Id { high: 0, low }
}

fn partition(partition: i32) -> PartitionRecord {
    let (replicas, isr) = (vec![1, 2, 3], vec![2, 1]);
    PartitionRecord { partition, replicas, isr, leader: 2, leader_epoch: 4, partition_epoch: 9, elr: vec![] }
}

/// One command of each kind.
fn samples() -> Vec<Action> {
    let configs = [("retention.ms".to_owned(), "1".to_owned())].into();
    let topic = TopicRecord { id: id(7), name: "t".into(), partitions: vec![partition(0), partition(1)], configs };
    let endpoint = EndpointRecord { listener: "PLAINTEXT".into(), host: "h".into(), port: 9092 };
    let set = |value: Option<&str>| ConfigRecord { name: "a".into(), value: value.map(str::to_owned) };
    let owned = |owner, configs| ConfigChange { owner: Some(owner), configs };
    let leaderless = PartitionChange {
        topic_id: id(7),
        partition: PartitionRecord { leader: NO_LEADER, isr: vec![], elr: vec![3], ..partition(1) },
    };
    vec![
        Action::CreateTopics(CreateTopics { topics: vec![topic] }),
        Action::DeleteTopics(DeleteTopics { ids: vec![id(7), Id { high: u64::MAX, low: 1 }] }),
        Action::CreatePartitions(CreatePartitions {
            topics: vec![NewPartitions { topic_id: id(7), partitions: vec![partition(2)] }],
        }),
        Action::ChangePartitions(ChangePartitions {
            partitions: vec![leaderless.clone()],
            reason: Reason::Proposed.into(),
        }),
        Action::SetConfigs(SetConfigs {
            changes: vec![
                owned(ConfigOwner::Topic(id(7)), vec![set(Some("")), set(None)]),
                owned(ConfigOwner::Broker(0), vec![set(Some("b"))]),
                owned(ConfigOwner::AllBrokers(true), vec![]),
            ],
        }),
        Action::RegisterBroker(RegisterBroker {
            broker: 1,
            directory_id: id(3),
            endpoints: vec![endpoint],
            rack: Some("r".into()),
            fenced: true,
            peer: Some(EndpointRecord { listener: "".into(), host: "h".into(), port: 9192 }),
            shards: 4,
            partitions: vec![leaderless.clone()],
        }),
        Action::AllocateProducerIds(AllocateProducerIds { broker: 1, first: 3000, count: PRODUCER_ID_BLOCK }),
        Action::SetFeature(SetFeature { name: "f".into(), level: 2 }),
        Action::FenceBrokers(FenceBrokers { brokers: vec![1, 2], fenced: true, partitions: vec![leaderless.clone()] }),
        Action::BeginLeaving(BeginLeaving { broker: 1, partitions: vec![leaderless] }),
        Action::BindVoter(BindVoter { raft_id: 4, directory_id: id(5) }),
    ]
}

#[test]
fn the_bytes_of_every_command_stay_what_they_are() {
    let golden = include_str!("../testdata/change.golden");
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let written: Vec<String> =
        samples().into_iter().map(|action| hex(Change::new(action).to_bytes().unwrap())).collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/metadata/testdata/change.golden");
        std::fs::write(path, written.join("\n") + "\n").unwrap();
    } else {
        assert_eq!(golden.lines().collect::<Vec<_>>(), written);
    }
}

#[test]
fn every_command_comes_back_as_it_was() {
    for action in samples() {
        let change = Change::new(action);
        assert_eq!(Change::from_bytes(&change.to_bytes().unwrap()), Ok(change));
    }
}

#[test]
fn newer_formats_and_unknown_kinds_are_refused() {
    let newer = Change { format: CHANGE_FORMAT + 1, ..Change::new(samples().remove(0)) };
    assert_eq!(Change::from_bytes(&newer.encode_to_vec()), Err(ChangeError::Unknown(CHANGE_FORMAT + 1)));
    let unknown_kind = [0x08, 0x01, 0xfa, 0x01, 0x00];
    assert_eq!(Change::from_bytes(&unknown_kind), Err(ChangeError::Unknown(CHANGE_FORMAT)));
    assert_eq!(Change::from_bytes(&[]), Err(ChangeError::Unknown(0)));
}

#[test]
fn a_command_above_the_bound_is_neither_written_nor_read() {
    let config = ConfigRecord { name: "n".into(), value: Some("v".repeat(CHANGE_BYTES_MAX)) };
    let owner = Some(ConfigOwner::AllBrokers(true));
    let set = SetConfigs { changes: vec![ConfigChange { owner, configs: vec![config] }] };
    let change = Change::new(Action::SetConfigs(set));
    assert!(matches!(change.to_bytes(), Err(ChangeError::TooLarge(_))));
    assert!(matches!(Change::from_bytes(&change.encode_to_vec()), Err(ChangeError::TooLarge(_))));
}

#[test]
fn contradictions_are_refused() {
    let topic = |edit: fn(&mut TopicRecord)| {
        let mut topic =
            TopicRecord { id: id(1), name: "t".into(), partitions: vec![partition(0)], configs: Default::default() };
        edit(&mut topic);
        Change::new(Action::CreateTopics(CreateTopics { topics: vec![topic] }))
    };
    assert!(topic(|_| {}).to_bytes().is_ok());
    for bad in [
        topic(|topic| topic.id = Id::default()),
        topic(|topic| topic.name.clear()),
        topic(|topic| topic.partitions.clear()),
        topic(|topic| topic.partitions[0].partition = 1),
        topic(|topic| topic.partitions[0].replicas.clear()),
        topic(|topic| topic.partitions[0].replicas = vec![1, 2, 2, 3]),
        topic(|topic| topic.partitions[0].replicas = vec![-1, 1, 2]),
        topic(|topic| topic.partitions[0].isr = vec![2, 4]),
        topic(|topic| topic.partitions[0].leader = 3),
        topic(|topic| topic.partitions[0].leader_epoch = -1),
        topic(|topic| topic.partitions[0].elr = vec![1]),
        topic(|topic| topic.partitions[0].elr = vec![4]),
    ] {
        assert!(matches!(bad.to_bytes(), Err(ChangeError::Invalid(_))), "{bad:?}");
        assert!(matches!(Change::from_bytes(&bad.encode_to_vec()), Err(ChangeError::Invalid(_))), "{bad:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn garbage_is_an_error_or_a_command_that_can_be_written(
        sample in 0usize..11, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let mut bytes = Change::new(samples().remove(sample)).to_bytes().unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(change) = Change::from_bytes(&bytes) {
            prop_assert!(change.to_bytes().is_ok());
        }
    }
}
