//! Decisions as text: `testdata/controller/*.txt` hold requests (`> ...`) and, below each, what is answered and what is changed.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test transcripts` writes what is answered now; read the difference before it is committed.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::metadata::change::{ConfigOwner, PartitionChange, PartitionRecord};
use crate::metadata::image::{BrokerEpoch, Delta, Image, PartitionEpoch};
use crate::model::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use crate::partition::IsrProposal;
use crate::partition::isr::IsrMember;

#[test]
fn decisions_are_as_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metadata/testdata/controller");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "transcripts are there");
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(written, played, "{}", path.display());
        }
    }
}

fn play(transcript: &str) -> String {
    let mut stage = Stage { image: Image::empty("cluster", []), next_id: 1 };
    let mut out = String::new();
    for line in transcript.lines() {
        match line.strip_prefix("> ") {
            Some(request) => writeln!(out, "{line}\n{}", stage.perform(request)).unwrap(),
            None if line.starts_with("# ") => writeln!(out, "{line}").unwrap(),
            None => {}
        }
    }
    out
}

struct Stage {
    image: Image,
    next_id: u64,
}

impl Stage {
    fn perform(&mut self, request: &str) -> String {
        let (verb, rest) = request.split_once(' ').unwrap_or((request, ""));
        let items: Vec<&str> = rest.split(" ; ").filter(|item| !item.is_empty()).collect();
        match verb {
            "broker" => {
                let (broker, directory) = rest.split_once(" disk ").unwrap_or((rest, rest));
                let (broker, rack) = broker.split_once(" rack ").map_or((broker, None), |(id, rack)| (id, Some(rack)));
                let directory = directory.split(' ').next().unwrap().parse().unwrap();
                let registration = super::tests::registration(broker.parse().unwrap(), directory);
                let registration = BrokerRegistration { rack: rack.map(str::to_owned), ..registration };
                let decision = register_broker(&self.image, &registration, &rules());
                self.conclude(
                    decision.map(|result| lines(vec![(format!("broker {broker}"), result)], |()| "registered".into())),
                )
            }
            // A new cluster, of so many voters.
            "voters" => {
                self.image = super::tests::image_of(rest.parse().unwrap());
                String::new()
            }
            "beat" => self.beat(rest),
            "fence" => {
                let brokers: Vec<BrokerId> = rest.split(' ').map(|id| BrokerId(id.parse().unwrap())).collect();
                let changes = fence_brokers(&self.image, &brokers, &rules());
                self.conclude(Decision { outcome: String::new(), changes })
            }
            "isr" => self.alter_isr(&items),
            "elect" => self.elect(rest),
            "balance" => {
                let changes = balance(&self.image, &rules());
                self.conclude(Decision { outcome: String::new(), changes })
            }
            "create" => self.create(&items),
            "delete" => self.delete(&items),
            "grow" => self.grow(&items),
            "alter" => self.alter(&items),
            "ids" => {
                let (broker, epoch) = rest.split_once(' ').unwrap();
                let (broker, epoch) = (BrokerId(broker.parse().unwrap()), BrokerEpoch(epoch.parse().unwrap()));
                let decision = allocate_producer_ids(&self.image, broker, epoch);
                self.conclude(decision.map(|block| match block {
                    Ok(block) => format!("{} ids from {}\n", block.count, block.first.0),
                    Err(error) => format!("{error:?}: {error}\n"),
                }))
            }
            _ => panic!("what is {verb}?"),
        }
    }

    /// `ID [leave] [at EPOCH] [applied VERSION] [known VERSION]`
    fn beat(&mut self, rest: &str) -> String {
        let mut words = rest.split(' ');
        let broker = BrokerId(words.next().unwrap().parse().unwrap());
        let epoch = self.image.brokers().get(&broker).map_or(BrokerEpoch(0), |broker| broker.epoch);
        let mut beat = Beat { broker, epoch, wants_to_leave: false, applied: self.image.version() };
        let mut known_everywhere = self.image.version();
        while let Some(word) = words.next() {
            let mut number = || words.next().unwrap().parse::<u64>().unwrap();
            match word {
                "leave" => beat.wants_to_leave = true,
                "at" => beat.epoch = BrokerEpoch(number() as i64),
                "applied" => beat.applied = number(),
                "known" => known_everywhere = number(),
                _ => panic!("what is {word}?"),
            }
        }
        let decision = heartbeat(&self.image, beat, known_everywhere, &rules());
        self.conclude(decision.map(|result| match result {
            Ok(heard) => format!("{heard:?}\n"),
            Err(error) => format!("{error:?}: {error}\n"),
        }))
    }

    /// `BROKER ; #TOPIC PARTITION LEADER_EPOCH PARTITION_EPOCH MEMBER[@EPOCH],... ; ...`
    fn alter_isr(&mut self, items: &[&str]) -> String {
        let epoch_of = |broker: &BrokerId| self.image.brokers().get(broker).map(|broker| broker.epoch);
        let member = |text: &str| {
            let (id, epoch) = text.split_once('@').map_or((text, None), |(id, epoch)| (id, Some(epoch)));
            let broker = BrokerId(id.parse().unwrap());
            let named = epoch.map(|epoch| BrokerEpoch(epoch.parse().unwrap()));
            IsrMember { broker, broker_epoch: named.or_else(|| epoch_of(&broker)) }
        };
        let proposal = |item: &&str| {
            let mut words = item.split(' ');
            let topic_id = TopicId(Uuid::from_u64_pair(0, words.next().unwrap()[1..].parse().unwrap()));
            let mut number = || words.next().unwrap().parse().unwrap();
            IsrProposal {
                partition: PartitionId { topic_id, partition: number() },
                leader_epoch: LeaderEpoch(number()),
                partition_epoch: PartitionEpoch(number()),
                isr: words.next().unwrap().split(',').map(member).collect(),
            }
        };
        let leader = member(items[0]);
        let proposals: Vec<IsrProposal> = items[1..].iter().map(proposal).collect();
        let epoch = leader.broker_epoch.unwrap_or(BrokerEpoch(0));
        let decision = alter_isr(&self.image, leader.broker, epoch, &proposals, &rules());
        self.conclude(decision.map(|result| match result {
            Ok(answers) => answers.iter().map(|answer| format!("{answer:?}\n")).collect(),
            Err(error) => format!("{error:?}: {error}\n"),
        }))
    }

    /// `preferred|unclean [TOPIC-PARTITION ...]`
    fn elect(&mut self, rest: &str) -> String {
        let (election, named) = rest.split_once(' ').map_or((rest, None), |(kind, named)| (kind, Some(named)));
        let election = if election == "preferred" { Election::Preferred } else { Election::Unclean };
        let name = |text: &str| {
            let (topic, partition) = text.rsplit_once('-').unwrap();
            (topic.to_owned(), partition.parse().unwrap())
        };
        let partitions: Option<Vec<PartitionName>> = named.map(|named| named.split(' ').map(name).collect());
        let decision = elect_leaders(&self.image, partitions.as_deref(), election, &rules());
        self.conclude(decision.map(|outcome| {
            let named =
                outcome.into_iter().map(|((topic, partition), result)| (format!("{topic}-{partition}"), result));
            lines(named.collect(), |()| "elected".to_owned())
        }))
    }

    fn create(&mut self, items: &[&str]) -> String {
        let wishes: Vec<NewTopic> = items.iter().map(|item| new_topic(item)).collect();
        let ids: Vec<TopicId> =
            (self.next_id..).take(wishes.len()).map(|low| TopicId(Uuid::from_u64_pair(0, low))).collect();
        self.next_id += wishes.len() as u64;
        let decision = create_topics(&self.image, &wishes, &ids, &rules());
        self.conclude(decision.map(|outcome| {
            lines(outcome, |created| {
                let CreatedTopic { partitions, replication_factor, configs, .. } = created;
                format!("created, {partitions} partition(s) x {replication_factor} {configs:?}")
            })
        }))
    }

    fn delete(&mut self, items: &[&str]) -> String {
        let reference = |item: &&str| match item.strip_prefix('#') {
            Some(id) => TopicRef::Id(TopicId(Uuid::from_u64_pair(0, id.parse().unwrap()))),
            None => TopicRef::Name((*item).to_owned()),
        };
        let wishes: Vec<TopicRef> = items.iter().map(reference).collect();
        let decision = delete_topics(&self.image, &wishes);
        self.conclude(decision.map(|outcome| {
            let named = outcome.into_iter().map(|(topic, result)| match topic {
                TopicRef::Name(name) => (name, result),
                TopicRef::Id(id) => (format!("#{}", id.0.as_u64_pair().1), result),
            });
            lines(named.collect(), |deleted| format!("deleted {}", deleted.name))
        }))
    }

    fn grow(&mut self, items: &[&str]) -> String {
        let wish = |item: &&str| {
            let mut words = item.split(' ');
            PartitionIncrease {
                name: words.next().unwrap().to_owned(),
                count: words.next().unwrap().parse().unwrap(),
                assignments: words.next().map(|text| text.split('/').map(brokers).collect()),
            }
        };
        let wishes: Vec<PartitionIncrease> = items.iter().map(wish).collect();
        let decision = create_partitions(&self.image, &wishes);
        self.conclude(decision.map(|outcome| lines(outcome, |()| "grown".to_owned())))
    }

    fn alter(&mut self, items: &[&str]) -> String {
        let wish = |item: &&str| {
            let mut words = item.split(' ');
            let target = match words.next().unwrap() {
                "brokers" => ConfigTarget::AllBrokers,
                broker if broker.starts_with("broker:") => ConfigTarget::Broker(BrokerId(broker[7..].parse().unwrap())),
                topic => ConfigTarget::Topic(topic.to_owned()),
            };
            ConfigAlteration { target, operations: words.map(operation).collect() }
        };
        let wishes: Vec<ConfigAlteration> = items.iter().map(wish).collect();
        let decision = alter_configs(&self.image, &wishes, &rules());
        self.conclude(decision.map(|outcome| {
            let named = outcome.into_iter().map(|(target, result)| (format!("{target:?}"), result));
            lines(named.collect(), |()| "altered".to_owned())
        }))
    }

    /// Applies what was decided; gives the answers and what changed.
    fn conclude(&mut self, decision: Decision<String>) -> String {
        let mut text = decision.outcome;
        if decision.changes.is_empty() {
            return text + "= nothing changes\n";
        }
        for change in &decision.changes {
            let bytes = change.to_bytes().expect("what is decided can be written");
            assert_eq!(Change::from_bytes(&bytes).as_ref(), Ok(change));
            let (image, delta) = self.image.apply(self.image.version() + 1, change).expect("what is decided applies");
            assert_eq!(delta, Delta::between(&self.image, &image), "the step lists exactly what changed");
            self.image = image;
            describe(change, &mut text);
        }
        text
    }
}

fn describe(change: &Change, text: &mut String) {
    match change.action.as_ref().unwrap() {
        Action::CreateTopics(create) => {
            for topic in &create.topics {
                describe_partitions(&format!("{} #{}", short(&topic.name), topic.id.low), &topic.partitions, text);
            }
        }
        Action::CreatePartitions(create) => {
            for topic in &create.topics {
                describe_partitions(&format!("#{}", topic.topic_id.low), &topic.partitions, text);
            }
        }
        Action::SetConfigs(set) => {
            for change in &set.changes {
                let owner = match change.owner.as_ref().unwrap() {
                    ConfigOwner::Topic(id) => format!("#{}", id.low),
                    ConfigOwner::Broker(id) => format!("broker {id}"),
                    ConfigOwner::AllBrokers(_) => "brokers".to_owned(),
                };
                for config in &change.configs {
                    writeln!(text, "= {owner} {} := {:?}", config.name, config.value).unwrap();
                }
            }
        }
        Action::ChangePartitions(changes) => describe_changes(&changes.partitions, text),
        Action::RegisterBroker(register) => {
            let state = if register.fenced { "fenced" } else { "unfenced" };
            writeln!(text, "= broker {} on disk {}, {state}", register.broker, register.directory_id.low).unwrap();
            describe_changes(&register.partitions, text);
        }
        Action::FenceBrokers(fence) => {
            let what = if fence.fenced { "fenced" } else { "unfenced" };
            writeln!(text, "= brokers {:?} {what}", fence.brokers).unwrap();
            describe_changes(&fence.partitions, text);
        }
        Action::BeginLeaving(leave) => {
            writeln!(text, "= broker {} leaves", leave.broker).unwrap();
            describe_changes(&leave.partitions, text);
        }
        other => writeln!(text, "= {other:?}").unwrap(),
    }
}

fn describe_changes(changes: &[PartitionChange], text: &mut String) {
    for change in changes {
        describe_partitions(&format!("#{}", change.topic_id.low), std::slice::from_ref(&change.partition), text);
    }
}

fn describe_partitions(topic: &str, partitions: &[PartitionRecord], text: &mut String) {
    for record in partitions.iter().take(8) {
        let PartitionRecord { partition, replicas, isr, leader, leader_epoch, partition_epoch, elr } = record;
        let eligible = if elr.is_empty() { String::new() } else { format!(" eligible {elr:?}") };
        writeln!(
            text,
            "= {topic} partition {partition}: replicas {replicas:?} isr {isr:?} leader {leader}{eligible} epochs {leader_epoch} {partition_epoch}"
        )
        .unwrap();
    }
    if partitions.len() > 8 {
        writeln!(text, "= {topic} ... {} partitions in all", partitions.len()).unwrap();
    }
}

fn short(name: &str) -> String {
    if name.len() > 40 { format!("({} bytes)", name.len()) } else { name.to_owned() }
}

fn lines<T, E: std::error::Error>(outcome: Vec<(String, Result<T, E>)>, good: impl Fn(T) -> String) -> String {
    let mut text = String::new();
    for (name, result) in outcome {
        let name = short(&name);
        match result {
            Ok(value) => writeln!(text, "{name}: {}", good(value)),
            Err(error) => {
                let kind = format!("{error:?}");
                let kind = kind.split(['(', ' ']).next().unwrap();
                let message: String = error.to_string().chars().take(160).collect();
                writeln!(text, "{name}: {kind}: {message}")
            }
        }
        .unwrap();
    }
    text
}

/// `name [partitions=N] [rf=N] [0:1,2]... [config=value|config!]...`
fn new_topic(item: &str) -> NewTopic {
    let mut words = item.split(' ');
    let name = match words.next().unwrap() {
        "''" => String::new(),
        name => name.strip_prefix("long:").map_or(name.to_owned(), |bytes| "n".repeat(bytes.parse().unwrap())),
    };
    let mut topic = NewTopic { name, partitions: -1, replication_factor: -1, ..NewTopic::default() };
    for word in words {
        if let Some(partitions) = word.strip_prefix("partitions=") {
            topic.partitions = partitions.parse().unwrap();
        } else if let Some(factor) = word.strip_prefix("rf=") {
            topic.replication_factor = factor.parse().unwrap();
        } else if let Some(name) = word.strip_suffix('!') {
            topic.configs.push((name.to_owned(), None));
        } else if let Some((name, value)) = word.split_once('=') {
            topic.configs.push((name.to_owned(), Some(value.to_owned())));
        } else {
            let (partition, list) = word.split_once(':').unwrap();
            topic.assignments.push(ManualAssignment { partition: partition.parse().unwrap(), brokers: brokers(list) });
        }
    }
    topic
}

fn brokers(list: &str) -> Vec<BrokerId> {
    list.split(',').filter(|id| !id.is_empty()).map(|id| BrokerId(id.parse().unwrap())).collect()
}

/// `name=value`, `name-` (delete), `name+=value`, `name-=value`, `name=null`.
fn operation(word: &str) -> ConfigOperation {
    let (name, verb, value) = if let Some((name, value)) = word.split_once("+=") {
        (name, ConfigVerb::Append, Some(value))
    } else if let Some((name, value)) = word.split_once("-=") {
        (name, ConfigVerb::Subtract, Some(value))
    } else if let Some((name, value)) = word.split_once('=') {
        (name, ConfigVerb::Set, Some(value).filter(|value| *value != "null"))
    } else {
        (word.strip_suffix('-').unwrap(), ConfigVerb::Delete, None)
    };
    ConfigOperation { name: name.to_owned(), verb, value: value.map(str::to_owned) }
}

pub(crate) fn rules() -> Rules {
    fn check(name: &str, value: &str) -> Result<(), String> {
        match name {
            "retention.ms" if value.parse::<i64>().is_err() => {
                Err(format!("Invalid value {value} for configuration {name}: Not a number of type LONG"))
            }
            "retention.ms" | "cleanup.policy" | "segment.ms" => Ok(()),
            "min.insync.replicas" | "unclean.leader.election.enable" => Ok(()),
            _ => Err(format!("Unknown config name: {name}")),
        }
    }
    Rules {
        partitions_default: 2,
        replication_factor_default: 1,
        min_insync_replicas_default: 1,
        session: Duration::from_secs(2),
        balance_interval: None,
        check_topic_config: check,
        check_topic_configs: |configs| match configs.len() {
            3.. => Err("more configs than a topic in a transcript may have".to_owned()),
            _ => Ok(()),
        },
        check_broker_config: check,
        list_default: |name| (name == "cleanup.policy").then_some("delete"),
    }
}
