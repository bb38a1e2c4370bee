//! Creating and deleting topics.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: however many topics a request creates or deletes, it is one change.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::placement::Placer;
use super::{Decision, PARTITIONS_PER_REQUEST_MAX, Rules, duplicates, names, placement};
use crate::metadata::change::{Action, CreateTopics, DeleteTopics, PartitionRecord, TopicRecord};
use crate::metadata::image::{Configs, Image};
use crate::model::{BrokerId, TopicId};

/// A topic that a client wishes for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1 for the default, or where `assignments` says it.
    pub partitions: i32,
    /// Replicas of each; -1 for the default, or where `assignments` says it.
    pub replication_factor: i16,
    /// Which brokers hold which partition; empty: we choose.
    pub assignments: Vec<ManualAssignment>,
    /// Configs; a name without a value is refused.
    pub configs: Vec<(String, Option<String>)>,
}

/// The brokers that are to hold a partition, the preferred leader first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManualAssignment {
    /// The partition.
    pub partition: i32,
    /// Its brokers.
    pub brokers: Vec<BrokerId>,
}

/// A topic that is (or, when only validated, would be) created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// How many partitions it has.
    pub partitions: i32,
    /// Replicas of each.
    pub replication_factor: i16,
    /// The configs it was given.
    pub configs: Configs,
}

/// Why a topic is not created. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CreateTopicError {
    /// The name is taken.
    #[error("Topic '{0}' already exists.")]
    AlreadyExists(String),
    /// No name for a topic, or one too close to another's.
    #[error("{0}")]
    InvalidName(String),
    /// No number of partitions.
    #[error("Number of partitions was set to an invalid non-positive value.")]
    InvalidPartitions,
    /// No replication factor, or more than there are brokers.
    #[error("{0}")]
    InvalidReplicationFactor(String),
    /// An assignment that can't be.
    #[error("{0}")]
    InvalidReplicaAssignment(String),
    /// A config that is refused.
    #[error("{0}")]
    InvalidConfig(String),
    /// The request contradicts itself.
    #[error("{0}")]
    InvalidRequest(String),
    /// More than [`PARTITIONS_PER_REQUEST_MAX`] partitions in the request.
    #[error("Excessively large number of partitions per request.")]
    TooManyPartitions,
}

/// What becomes of each topic, by name as first mentioned.
pub type CreateTopicsOutcome = Vec<(String, Result<CreatedTopic, CreateTopicError>)>;

/// Decides over new topics. `ids` are fresh, random, and at least as many as `wishes`.
pub fn create_topics(
    image: &Image,
    wishes: &[NewTopic],
    ids: &[TopicId],
    rules: &Rules,
) -> Decision<CreateTopicsOutcome> {
    assert!(ids.len() >= wishes.len());
    let twice = duplicates(wishes.iter().map(|wish| &wish.name));
    let too_many = total_partitions(wishes, rules) > PARTITIONS_PER_REQUEST_MAX;
    let (mut outcome, mut topics) = (Vec::with_capacity(wishes.len()), Vec::new());
    let (mut answered, mut taken) = (BTreeSet::new(), BTreeSet::new());
    let mut placer = Placer::new(image);
    for (wish, id) in wishes.iter().zip(ids) {
        if !answered.insert(&wish.name) {
            continue;
        }
        let result = if twice.contains(&&wish.name) {
            Err(CreateTopicError::InvalidRequest("Duplicate topic name.".to_owned()))
        } else if too_many {
            Err(CreateTopicError::TooManyPartitions)
        } else {
            check_name(image, &wish.name, &mut taken).and_then(|()| create_topic(image, wish, *id, rules, &mut placer))
        };
        let result = result.map(|record| {
            let created = CreatedTopic::of(&record);
            topics.push(record);
            created
        });
        outcome.push((wish.name.clone(), result));
    }
    if topics.is_empty() {
        return Decision::nothing(outcome);
    }
    Decision::propose(outcome, Action::CreateTopics(CreateTopics { topics }))
}

fn total_partitions(wishes: &[NewTopic], rules: &Rules) -> usize {
    let partitions = |wish: &NewTopic| match (wish.assignments.len(), wish.partitions) {
        (0, -1) => usize::try_from(rules.partitions_default).unwrap_or(0),
        (0, partitions) => usize::try_from(partitions).unwrap_or(0),
        (assigned, _) => assigned,
    };
    wishes.iter().map(partitions).fold(0, usize::saturating_add)
}

/// `taken` holds the names accepted so far in this request, unified as metric names are.
fn check_name(image: &Image, name: &str, taken: &mut BTreeSet<String>) -> Result<(), CreateTopicError> {
    if names::is_reserved(name) {
        return Err(CreateTopicError::InvalidRequest(format!("Creation of internal topic {name} is prohibited.")));
    }
    if let Some(fault) = names::fault(name) {
        return Err(CreateTopicError::InvalidName(fault));
    }
    if let Some(other) = image.topic_like(name) {
        let collision = format!("Topic '{name}' collides with existing topic: {}", other.name);
        let exists = *other.name == *name;
        return Err(if exists {
            CreateTopicError::AlreadyExists(name.to_owned())
        } else {
            CreateTopicError::InvalidName(collision)
        });
    }
    if !taken.insert(name.replace('.', "_")) {
        let collision = format!("Topic '{name}' collides with another topic of the same request.");
        return Err(CreateTopicError::InvalidName(collision));
    }
    Ok(())
}

fn create_topic(
    image: &Image,
    wish: &NewTopic,
    id: TopicId,
    rules: &Rules,
    placer: &mut Placer,
) -> Result<TopicRecord, CreateTopicError> {
    let configs = check_configs(&wish.configs, rules)?;
    let partitions = if wish.assignments.is_empty() {
        choose_replicas(placer, wish, id, rules)?
    } else {
        take_assignments(image, wish)?
    };
    Ok(TopicRecord { id: id.into(), name: wish.name.clone(), partitions, configs })
}

fn check_configs(configs: &[(String, Option<String>)], rules: &Rules) -> Result<Configs, CreateTopicError> {
    let mut accepted = BTreeMap::new();
    for (name, value) in configs {
        let Some(value) = value else {
            let text = format!("Null value not supported for topic configs: {name}");
            return Err(CreateTopicError::InvalidConfig(text));
        };
        (rules.check_topic_config)(name, value).map_err(CreateTopicError::InvalidConfig)?;
        accepted.insert(name.clone(), value.clone());
    }
    (rules.check_topic_configs)(&accepted).map_err(CreateTopicError::InvalidConfig)?;
    Ok(accepted)
}

fn choose_replicas(
    placer: &mut Placer,
    wish: &NewTopic,
    id: TopicId,
    rules: &Rules,
) -> Result<Vec<PartitionRecord>, CreateTopicError> {
    let replication_factor = match wish.replication_factor {
        -1 => rules.replication_factor_default,
        factor if factor > 0 => factor,
        _ => {
            let text = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(CreateTopicError::InvalidReplicationFactor(text.to_owned()));
        }
    };
    let partitions = match wish.partitions {
        -1 => rules.partitions_default,
        partitions if partitions > 0 => partitions,
        _ => return Err(CreateTopicError::InvalidPartitions),
    };
    placer.place(id, 0, partitions, replication_factor).map_err(|reason| {
        let text = format!("Unable to replicate the partition {replication_factor} time(s): {reason}");
        CreateTopicError::InvalidReplicationFactor(text)
    })
}

fn take_assignments(image: &Image, wish: &NewTopic) -> Result<Vec<PartitionRecord>, CreateTopicError> {
    let contradiction = |what| {
        CreateTopicError::InvalidRequest(format!(
            "A manual partition assignment was specified, but {what} was not set to -1."
        ))
    };
    if wish.replication_factor != -1 {
        return Err(contradiction("replication factor"));
    }
    if wish.partitions != -1 {
        return Err(contradiction("numPartitions"));
    }
    let invalid = CreateTopicError::InvalidReplicaAssignment;
    let (mut records, mut replication_factor) = (BTreeMap::new(), None);
    for ManualAssignment { partition, brokers } in &wish.assignments {
        if records.contains_key(partition) {
            return Err(invalid(format!("Found multiple manual partition assignments for partition {partition}")));
        }
        let record = placement::assigned(image, *partition, brokers, replication_factor).map_err(invalid)?;
        replication_factor = Some(brokers.len());
        records.insert(*partition, record);
    }
    if (0..).zip(records.keys()).any(|(expected, partition)| expected != *partition) {
        return Err(invalid("partitions should be a consecutive 0-based integer sequence".to_owned()));
    }
    Ok(records.into_values().collect())
}

impl CreatedTopic {
    fn of(record: &TopicRecord) -> CreatedTopic {
        CreatedTopic {
            id: record.id.into(),
            partitions: i32::try_from(record.partitions.len()).expect("bounded by the request's limit"),
            replication_factor: i16::try_from(record.partitions[0].replicas.len()).unwrap_or(i16::MAX),
            configs: record.configs.clone(),
        }
    }
}

/// A topic, as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// A topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// The id it had.
    pub id: TopicId,
    /// The name it had.
    pub name: String,
}

/// Why a topic is not deleted. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DeleteTopicError {
    /// No topic of this name.
    #[error("This server does not host this topic-partition.")]
    UnknownName,
    /// No topic of this id.
    #[error("This server does not host this topic ID.")]
    UnknownId,
    /// The request contradicts itself.
    #[error("{0}")]
    InvalidRequest(String),
}

/// What becomes of each topic, in the request's order, each mentioned once.
pub type DeleteTopicsOutcome = Vec<(TopicRef, Result<DeletedTopic, DeleteTopicError>)>;

/// Decides over topics to delete.
pub fn delete_topics(image: &Image, wishes: &[TopicRef]) -> Decision<DeleteTopicsOutcome> {
    let twice = duplicates(wishes.iter());
    let (mut answered, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut outcome = Vec::with_capacity(wishes.len());
    for wish in wishes.iter().filter(|wish| answered.insert(*wish)) {
        let result = if twice.contains(&wish) {
            let what = if matches!(wish, TopicRef::Name(_)) { "name" } else { "id" };
            Err(DeleteTopicError::InvalidRequest(format!("Duplicate topic {what}.")))
        } else {
            delete_topic(image, wish, &mut ids)
        };
        outcome.push((wish.clone(), result));
    }
    if ids.is_empty() {
        return Decision::nothing(outcome);
    }
    let ids = ids.into_iter().map(Into::into).collect();
    Decision::propose(outcome, Action::DeleteTopics(DeleteTopics { ids }))
}

fn delete_topic(image: &Image, wish: &TopicRef, ids: &mut BTreeSet<TopicId>) -> Result<DeletedTopic, DeleteTopicError> {
    let topic = match wish {
        TopicRef::Name(name) => image.topic_by_name(name).ok_or(DeleteTopicError::UnknownName)?,
        TopicRef::Id(id) => image.topic(*id).ok_or(DeleteTopicError::UnknownId)?,
    };
    if !ids.insert(topic.id) {
        let text = "The provided topic name maps to an ID that was already supplied.";
        return Err(DeleteTopicError::InvalidRequest(text.to_owned()));
    }
    Ok(DeletedTopic { id: topic.id, name: topic.name.to_string() })
}
