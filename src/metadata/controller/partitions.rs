//! Adding partitions to topics.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a topic's partitions are never fewer than before.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::placement::Placer;
use super::{Decision, PARTITIONS_PER_REQUEST_MAX, duplicates, placement};
use crate::metadata::change::{Action, CreatePartitions, NewPartitions, PartitionRecord};
use crate::metadata::image::{Image, Topic};
use crate::model::BrokerId;

/// More partitions that a client wishes for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionIncrease {
    /// The topic's name.
    pub name: String,
    /// How many partitions it is to have in all.
    pub count: i32,
    /// Brokers of each new partition, in order; `None`: we choose.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

/// Why a topic gets no more partitions. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CreatePartitionsError {
    /// No topic of this name.
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    /// No increase.
    #[error("{0}")]
    InvalidPartitions(String),
    /// An assignment that can't be.
    #[error("{0}")]
    InvalidReplicaAssignment(String),
    /// Fewer live brokers than the topic's partitions have replicas.
    #[error("{0}")]
    InvalidReplicationFactor(String),
    /// The request contradicts itself.
    #[error("{0}")]
    InvalidRequest(String),
    /// More than [`PARTITIONS_PER_REQUEST_MAX`] partitions in the request.
    #[error("Excessively large number of partitions per request.")]
    TooManyPartitions,
}

/// What becomes of each topic, by name as first mentioned.
pub type CreatePartitionsOutcome = Vec<(String, Result<(), CreatePartitionsError>)>;

/// Decides over more partitions.
pub fn create_partitions(image: &Image, wishes: &[PartitionIncrease]) -> Decision<CreatePartitionsOutcome> {
    let twice = duplicates(wishes.iter().map(|wish| &wish.name));
    let (mut answered, mut topics) = (BTreeSet::new(), Vec::new());
    let (mut room, mut placer) = (PARTITIONS_PER_REQUEST_MAX, Placer::new(image));
    let mut outcome = Vec::with_capacity(wishes.len());
    for wish in wishes.iter().filter(|wish| answered.insert(&wish.name)) {
        let result = if twice.contains(&&wish.name) {
            Err(CreatePartitionsError::InvalidRequest("Duplicate topic name.".to_owned()))
        } else {
            increase(image, wish, room, &mut placer)
        };
        let result = result.map(|new| {
            room -= new.partitions.len();
            topics.push(new);
        });
        outcome.push((wish.name.clone(), result));
    }
    if topics.is_empty() {
        return Decision::nothing(outcome);
    }
    Decision::propose(outcome, Action::CreatePartitions(CreatePartitions { topics }))
}

fn increase(
    image: &Image,
    wish: &PartitionIncrease,
    room: usize,
    placer: &mut Placer,
) -> Result<NewPartitions, CreatePartitionsError> {
    let topic = image.topic_by_name(&wish.name).ok_or(CreatePartitionsError::UnknownTopic)?;
    let present = topic.partition_count();
    if wish.count == present {
        let text = format!("Topic already has {present} partition(s).");
        return Err(CreatePartitionsError::InvalidPartitions(text));
    }
    if wish.count < present {
        let text = format!(
            "The topic {} currently has {present} partition(s); {} would not be an increase.",
            wish.name, wish.count
        );
        return Err(CreatePartitionsError::InvalidPartitions(text));
    }
    let additional = wish.count - present;
    let partitions = match &wish.assignments {
        Some(assignments) => take_assignments(image, topic, additional, assignments)?,
        None if usize::try_from(additional).is_ok_and(|additional| additional <= room) => {
            choose_replicas(placer, topic, additional)?
        }
        None => return Err(CreatePartitionsError::TooManyPartitions),
    };
    if partitions.len() > room {
        return Err(CreatePartitionsError::TooManyPartitions);
    }
    Ok(NewPartitions { topic_id: topic.id.into(), partitions })
}

fn replication_factor(topic: &Topic) -> usize {
    topic.partition(0).expect("a topic has partitions").replicas.len()
}

fn choose_replicas(
    placer: &mut Placer,
    topic: &Topic,
    additional: i32,
) -> Result<Vec<PartitionRecord>, CreatePartitionsError> {
    let factor = i16::try_from(replication_factor(topic)).unwrap_or(i16::MAX);
    placer.place(topic.id, topic.partition_count(), additional, factor).map_err(|reason| {
        let text = format!("Unable to replicate the partition {factor} time(s): {reason}");
        CreatePartitionsError::InvalidReplicationFactor(text)
    })
}

fn take_assignments(
    image: &Image,
    topic: &Topic,
    additional: i32,
    assignments: &[Vec<BrokerId>],
) -> Result<Vec<PartitionRecord>, CreatePartitionsError> {
    let invalid = CreatePartitionsError::InvalidReplicaAssignment;
    if usize::try_from(additional) != Ok(assignments.len()) {
        return Err(invalid(format!(
            "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
            assignments.len()
        )));
    }
    let factor = Some(replication_factor(topic));
    (topic.partition_count()..)
        .zip(assignments)
        .map(|(partition, brokers)| placement::assigned(image, partition, brokers, factor).map_err(invalid))
        .collect()
}
