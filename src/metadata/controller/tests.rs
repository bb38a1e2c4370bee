//! Brokers that come, go and lie: whatever happens, who leads holds what was acknowledged.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::transcripts::rules;
use super::*;
use crate::metadata::change::{Action, Change};
use crate::metadata::image::{BrokerEpoch, Delta, Endpoint, Image, Partition, PeerAddress, Voter};
use crate::model::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use crate::partition::IsrProposal;
use crate::partition::isr::{IsrAnswer, IsrMember};

/// A group of so many voters, without brokers.
pub(crate) fn image_of(voters: i32) -> Image {
    let voter = |id: i32| Voter { raft_id: id as u64 + 1, node_id: BrokerId(id), directory_id: None };
    Image::empty("cluster", (1..=voters).map(voter))
}

pub(crate) fn registration(broker: i32, directory: u64) -> BrokerRegistration {
    BrokerRegistration {
        broker: BrokerId(broker),
        directory_id: Uuid::from_u64_pair(0xd1, directory),
        endpoints: vec![Endpoint { listener: "PLAINTEXT".into(), host: "localhost".into(), port: 9092 }],
        rack: None,
        peer: Some(PeerAddress { host: "localhost".into(), port: 9192 }),
        shards: 1,
    }
}

/// With brokers 1, 2, ... that are registered and heard.
pub(crate) fn register_and_unfence(mut image: Image, brokers: i32) -> Image {
    for broker in 1..=brokers {
        image = after(&image, register_broker(&image, &registration(broker, broker as u64), &rules()).changes);
        image = after(&image, beat(&image, broker, false).changes);
        assert!(image.lives(BrokerId(broker)));
    }
    image
}

fn after(image: &Image, changes: Vec<Change>) -> Image {
    let apply = |image: Image, change: &Change| image.apply(image.version() + 1, change).unwrap().0;
    changes.iter().fold(image.clone(), apply)
}

fn beat(image: &Image, broker: i32, wants_to_leave: bool) -> Decision<Result<Heartbeat, IncarnationError>> {
    let broker = BrokerId(broker);
    let epoch = image.brokers().get(&broker).map_or(BrokerEpoch(0), |broker| broker.epoch);
    let beat = Beat { broker, epoch, wants_to_leave, applied: image.version() };
    heartbeat(image, beat, image.version(), &rules())
}

/// The cluster, and of each partition the replicas that hold every record that was acknowledged.
struct Cluster {
    image: Image,
    holders: std::collections::BTreeMap<PartitionId, BTreeSet<BrokerId>>,
    wipes: u64,
    next_id: u64,
    unclean: bool,
}

impl Cluster {
    fn new(brokers: i32) -> Cluster {
        let image = register_and_unfence(image_of(brokers), brokers);
        Cluster { image, holders: Default::default(), wipes: 100, next_id: 1, unclean: false }
    }

    /// Applies what was decided, and checks each step.
    fn conclude(&mut self, changes: &[Change]) {
        for change in changes {
            let bytes = change.to_bytes().expect("what is decided can be written");
            assert_eq!(Change::from_bytes(&bytes).as_ref(), Ok(change));
            let before = self.image.clone();
            let (image, delta) = before.apply(before.version() + 1, change).expect("what is decided applies");
            assert!(Delta::between(&before, &image).partitions.is_subset(&delta.partitions));
            self.image = image;
            for id in &delta.partitions {
                if let Some(old) = before.partition(*id) {
                    check_step(old, self.image.partition(*id).unwrap());
                }
            }
        }
        assert_eq!(settle(&self.image, &rules()), [], "what is settled stays");
        let ids: Vec<PartitionId> = self.partitions();
        self.holders.retain(|id, _| ids.contains(id));
        ids.into_iter().for_each(|id| self.check(id));
    }

    fn partitions(&self) -> Vec<PartitionId> {
        let of = |topic: &std::sync::Arc<crate::metadata::image::Topic>| {
            let topic_id = topic.id;
            topic.partitions.iter().map(move |(partition, _)| PartitionId { topic_id, partition: *partition }).collect()
        };
        self.image.topics().flat_map(|topic| -> Vec<PartitionId> { of(topic) }).collect()
    }

    fn check(&mut self, id: PartitionId) {
        let topic = self.image.topic(id.topic_id).unwrap();
        let min = topic.configs.get("min.insync.replicas").map_or(1, |min| min.parse().unwrap());
        let partition = self.image.partition(id).unwrap().clone();
        let Partition { replicas, isr, elr, leader, .. } = &partition;
        let live = |ids: &[BrokerId]| ids.iter().filter(|id| self.image.lives(**id)).count();
        assert!(isr.iter().chain(elr).all(|id| replicas.contains(id)), "{partition:?}");
        assert!(!elr.iter().any(|id| isr.contains(id)), "{partition:?}");
        match leader {
            Some(leader) => assert!(isr.contains(leader) && live(isr) == isr.len(), "{partition:?}"),
            None => assert_eq!(live(isr) + live(elr), 0, "nobody that may lead is left leaderless: {partition:?}"),
        }
        // The leader acknowledges what all in-sync replicas have, once there are enough of them: nobody else need have it.
        let holders = self.holders.entry(id).or_insert_with(|| replicas.iter().copied().collect());
        if self.unclean {
            holders.extend(isr);
        }
        assert!(leader.is_none_or(|leader| holders.contains(&leader)), "{partition:?} is held by {holders:?}");
        if leader.is_some() && isr.len() >= replicas.len().min(min) {
            *holders = isr.iter().copied().collect();
        }
    }

    /// The leader has seen that these hold what it holds.
    fn caught_up(&mut self, id: PartitionId, members: impl Iterator<Item = BrokerId>) {
        self.holders.entry(id).or_default().extend(members);
    }

    fn perform(&mut self, (kind, broker, pick, bits): Step) {
        let rules = rules();
        let brokers = self.image.brokers().len() as i32;
        let broker = i32::from(broker) % brokers + 1;
        let ids = self.partitions();
        let picked = (!ids.is_empty()).then(|| ids[pick % ids.len()]);
        match kind % 16 {
            0 | 1 => {
                if kind % 16 == 1 && bits % 2 == 0 {
                    self.wipes += 1;
                    self.holders.values_mut().for_each(|holders| _ = holders.remove(&BrokerId(broker)));
                }
                let known = self.image.brokers()[&BrokerId(broker)].directory_id.as_u64_pair().1;
                let directory = if kind % 16 == 1 && bits % 2 == 0 { self.wipes } else { known };
                let decision = register_broker(&self.image, &registration(broker, directory), &rules);
                assert_eq!(decision.outcome, Ok(()));
                self.conclude(&decision.changes);
            }
            2..=4 => self.beat(broker, false),
            5 => self.beat(broker, true),
            6 => {
                let silent: Vec<BrokerId> = (1..=brokers)
                    .filter(|id| bits >> id & 1 == 1)
                    .map(BrokerId)
                    .filter(|id| !self.image.brokers()[id].fenced)
                    .collect();
                if !silent.is_empty() {
                    self.conclude(&fence_brokers(&self.image, &silent, &rules));
                    assert!(silent.iter().all(|id| !self.image.lives(*id)));
                }
            }
            7..=10 => picked.into_iter().for_each(|id| self.propose(id, bits)),
            11 => {
                let election = if self.unclean && bits % 2 == 0 { Election::Unclean } else { Election::Preferred };
                let decision = elect_leaders(&self.image, None, election, &rules);
                self.conclude(&decision.changes);
            }
            12 | 13 => self.create(bits),
            14 if bits % 4 == 0 => {
                let Some(id) = picked else { return };
                self.conclude(&delete_topics(&self.image, &[TopicRef::Id(id.topic_id)]).changes);
            }
            14 => {
                let Some(id) = picked else { return };
                let name = self.image.topic(id.topic_id).unwrap().name.to_string();
                let value = Some((bits % 4).max(1).to_string());
                let operation = ConfigOperation { name: "min.insync.replicas".into(), verb: ConfigVerb::Set, value };
                let wish = ConfigAlteration { target: ConfigTarget::Topic(name), operations: vec![operation] };
                self.conclude(&alter_configs(&self.image, &[wish], &rules).changes);
            }
            _ => self.conclude(&balance(&self.image, &rules)),
        }
    }

    fn beat(&mut self, broker: i32, wants_to_leave: bool) {
        let decision = beat(&self.image, broker, wants_to_leave);
        self.conclude(&decision.changes);
        let (registered, heard) = (&self.image.brokers()[&BrokerId(broker)], decision.outcome.unwrap());
        assert_eq!(heard.fenced, registered.fenced);
        if heard.may_leave {
            assert!(!self.image.leader_counts().contains_key(&BrokerId(broker)), "who leads may not leave");
        }
    }

    /// A leader proposes; sometimes it is behind, or wrong.
    fn propose(&mut self, id: PartitionId, bits: u8) {
        let before = self.image.partition(id).unwrap().clone();
        let Some(leader) = before.leader else { return };
        let stale = bits >> 5 == 7;
        let members = before.replicas.iter().filter(|id| **id == leader || bits >> (id.0 % 5) & 1 == 1);
        let epoch_of = |id: &BrokerId| self.image.brokers()[id].epoch;
        let member = |id: &BrokerId| {
            let broker_epoch = if bits >> 5 == 6 { BrokerEpoch(1) } else { epoch_of(id) };
            IsrMember { broker: *id, broker_epoch: Some(broker_epoch) }
        };
        let proposal = IsrProposal {
            partition: id,
            leader_epoch: LeaderEpoch(before.leader_epoch.0),
            partition_epoch: crate::metadata::image::PartitionEpoch(before.partition_epoch.0 - i32::from(stale)),
            isr: members.map(member).collect(),
        };
        let decision =
            alter_isr(&self.image, leader, epoch_of(&leader), &[proposal.clone(), proposal.clone()], &rules());
        let answers = decision.outcome.clone().unwrap();
        let joins = |member: &IsrMember| {
            self.image.lives(member.broker) && member.broker_epoch == Some(epoch_of(&member.broker))
        };
        let is_good = !stale && proposal.isr.iter().all(joins);
        match answers[0] {
            IsrAnswer::Committed(epoch) => {
                assert!(is_good && epoch.0 == before.partition_epoch.0 + 1);
                assert_eq!(answers[1], IsrAnswer::Superseded, "the same again comes too late");
                self.caught_up(id, proposal.isr.iter().map(|member| member.broker));
            }
            IsrAnswer::Superseded => assert!(stale),
            IsrAnswer::Refused => assert!(!is_good && !stale),
            IsrAnswer::Unknown => panic!("it is known"),
        }
        self.conclude(&decision.changes);
    }

    fn create(&mut self, bits: u8) {
        self.next_id += 1;
        let min = ("min.insync.replicas".to_owned(), Some((bits >> 2 & 3).max(1).to_string()));
        let unclean = ("unclean.leader.election.enable".to_owned(), Some(self.unclean.to_string()));
        let wish = NewTopic {
            name: format!("t{}", self.next_id),
            partitions: i32::from(bits & 3) + 1,
            replication_factor: i16::from(bits >> 4 & 3),
            configs: vec![min, unclean],
            ..NewTopic::default()
        };
        let id = TopicId(Uuid::from_u64_pair(0, self.next_id));
        let decision = create_topics(&self.image, &[wish], &[id], &rules());
        self.conclude(&decision.changes);
    }
}

/// One more version; a new reign exactly where there is another leader.
fn check_step(old: &Partition, new: &Partition) {
    assert_eq!(new.partition_epoch.0, old.partition_epoch.0 + 1);
    assert_eq!(new.leader_epoch.0 - old.leader_epoch.0, i32::from(new.leader != old.leader), "{old:?} -> {new:?}");
    assert_eq!(new.replicas, old.replicas);
}

type Step = (u8, u8, usize, u8);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((any::<u8>(), any::<u8>(), any::<usize>(), any::<u8>()), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Traps 4 and 5 of the protocol, and the rest of its rules: restarts, wiped disks, silence, departures, proposals that are
    /// late or of dead incarnations, elections, other minimums. Nobody leads who lacks what was acknowledged.
    #[test]
    fn whoever_leads_holds_what_was_acknowledged(brokers in 3i32..6, steps in steps()) {
        let mut cluster = Cluster::new(brokers);
        cluster.create(0b1011_1011);
        steps.into_iter().for_each(|step| cluster.perform(step));
    }

    #[test]
    fn where_it_is_allowed_anybody_leads_rather_than_nobody(brokers in 3i32..6, steps in steps()) {
        let mut cluster = Cluster { unclean: true, ..Cluster::new(brokers) };
        cluster.create(0b1011_1011);
        for step in steps {
            cluster.perform(step);
            for id in cluster.partitions() {
                let partition = cluster.image.partition(id).unwrap();
                let is_anybody_there = partition.replicas.iter().any(|id| cluster.image.lives(*id));
                prop_assert_eq!(partition.leader.is_some(), is_anybody_there);
            }
        }
    }
}

#[test]
fn a_broker_that_led_a_thousand_partitions_goes_by_one_command_and_quickly() {
    let mut image = register_and_unfence(image_of(3), 3);
    let wishes: Vec<NewTopic> = (0..10)
        .map(|n| NewTopic { name: format!("t{n}"), partitions: 1000, replication_factor: 3, ..NewTopic::default() })
        .collect();
    let ids: Vec<TopicId> = (1..=10).map(|low| TopicId(Uuid::from_u64_pair(0, low))).collect();
    image = after(&image, create_topics(&image, &wishes, &ids, &rules()).changes);
    let begun = std::time::Instant::now();
    let changes = fence_brokers(&image, &[BrokerId(2)], &rules());
    let decided = begun.elapsed();
    let bytes: usize = changes.iter().map(|change| change.to_bytes().unwrap().len()).sum();
    let begun = std::time::Instant::now();
    let fenced = after(&image, changes.clone());
    println!("10,000 partitions: decided in {decided:?}, applied in {:?}, {bytes} bytes", begun.elapsed());
    assert_eq!(changes.len(), 1);
    assert_eq!(fenced.leader_counts().values().sum::<usize>(), 10_000);
    assert_eq!(fenced.leader_counts().get(&BrokerId(2)), None);
}

#[test]
fn partitions_that_one_command_cannot_hold_are_moved_before_the_broker_is_fenced() {
    let mut image = register_and_unfence(image_of(3), 3);
    for n in 0..12u64 {
        let wish = NewTopic { name: format!("t{n}"), partitions: 10_000, replication_factor: 3, ..NewTopic::default() };
        let ids = [TopicId(Uuid::from_u64_pair(7, n + 1))];
        image = after(&image, create_topics(&image, &[wish], &ids, &rules()).changes);
    }
    let changes = fence_brokers(&image, &[BrokerId(2)], &rules());
    assert!(changes.len() > 1 && changes.iter().all(|change| change.to_bytes().is_ok()));
    assert!(matches!(changes.last().unwrap().action, Some(Action::FenceBrokers(_))));
    let fenced = after(&image, changes);
    assert_eq!(fenced.leader_counts().values().sum::<usize>(), 120_000);
    assert!(!fenced.lives(BrokerId(2)) && settle(&fenced, &rules()).is_empty());
}

/// 10,000 partitions must not be rewritten at every start of a broker by itself.
#[test]
fn a_broker_by_itself_starts_anew_without_touching_its_partitions() {
    let mut image = image_of(1);
    image = after(&image, register_broker(&image, &registration(1, 1), &rules()).changes);
    let wish = NewTopic { name: "t".into(), partitions: 10, replication_factor: 1, ..NewTopic::default() };
    image = after(&image, create_topics(&image, &[wish], &[TopicId(Uuid::from_u64_pair(0, 1))], &rules()).changes);
    let decision = register_broker(&image, &registration(1, 1), &rules());
    let [Change { action: Some(Action::RegisterBroker(register)), .. }] = &decision.changes[..] else { panic!() };
    assert!(!register.fenced && register.partitions.is_empty());
    assert_eq!(after(&image, decision.changes).leader_counts()[&BrokerId(1)], 10);
}
