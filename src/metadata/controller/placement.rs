//! Which brokers hold a partition: by round robin over the live ones, or as the client says.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: replicas of one partition are on different brokers; over a topic, leaders and followers spread evenly.
//! *Why* the start comes from the topic's id: no randomness here, and the leaders of many small topics still spread.

use crate::metadata::change::PartitionRecord;
use crate::metadata::image::Image;
use crate::model::{BrokerId, TopicId};

/// `count` partitions from `first`, `replication_factor` replicas each, over `live`.
///
/// # Errors
/// Too few live brokers, in Kafka's words.
pub(super) fn place(
    topic_id: TopicId,
    first: i32,
    count: i32,
    replication_factor: i16,
    live: &[BrokerId],
) -> Result<Vec<PartitionRecord>, String> {
    let replicas = usize::try_from(replication_factor).unwrap_or(0);
    if live.is_empty() {
        return Err("All brokers are currently fenced.".to_owned());
    }
    if replicas == 0 || replicas > live.len() {
        return Err(format!(
            "The target replication factor of {replication_factor} cannot be reached because only {} broker(s) are registered.",
            live.len()
        ));
    }
    let start = start(topic_id, live.len());
    Ok((first..first.saturating_add(count))
        .map(|partition| {
            let index = start + usize::try_from(partition).unwrap_or(0);
            in_sync(partition, (0..replicas).map(|replica| live[slot(index, replica, live.len())].0).collect())
        })
        .collect())
}

fn start(topic_id: TopicId, brokers: usize) -> usize {
    let (high, low) = topic_id.0.as_u64_pair();
    usize::try_from((high ^ low) % brokers as u64).unwrap_or(0)
}

/// Leaders go round; followers go round too, one place further with every full round of leaders, so that the load of a dead
/// leader falls on all others.
fn slot(index: usize, replica: usize, brokers: usize) -> usize {
    let leader = index % brokers;
    if replica == 0 {
        return leader;
    }
    let shift = (index / brokers + replica - 1) % (brokers - 1);
    (leader + 1 + shift) % brokers
}

fn in_sync(partition: i32, replicas: Vec<i32>) -> PartitionRecord {
    let leader = replicas[0];
    let isr = replicas.clone();
    PartitionRecord { partition, isr, replicas, leader, leader_epoch: 0, partition_epoch: 0, elr: Vec::new() }
}

/// A partition as the client assigned it: in sync are those of its brokers that live.
///
/// # Errors
/// What is wrong with the assignment, in Kafka's words.
pub(super) fn assigned(
    image: &Image,
    partition: i32,
    brokers: &[BrokerId],
    replication_factor: Option<usize>,
) -> Result<PartitionRecord, String> {
    if brokers.is_empty() {
        return Err("The manual partition assignment includes an empty replica list.".to_owned());
    }
    for (slot, broker) in brokers.iter().enumerate() {
        let id = broker.0;
        if !image.brokers().contains_key(broker) {
            return Err(format!(
                "The manual partition assignment includes broker {id}, but no such broker is registered."
            ));
        }
        if brokers[..slot].contains(broker) {
            return Err(format!("The manual partition assignment includes the broker {id} more than once."));
        }
    }
    if let Some(expected) = replication_factor.filter(|expected| *expected != brokers.len()) {
        return Err(format!(
            "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
             previous partitions, which have {expected} replica(s).",
            brokers.len()
        ));
    }
    let live = super::live(image);
    let isr: Vec<i32> = brokers.iter().filter(|broker| live.contains(broker)).map(|broker| broker.0).collect();
    let Some(leader) = isr.first().copied() else {
        return Err(format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
             controlled shutdown."
        ));
    };
    let replicas = brokers.iter().map(|broker| broker.0).collect();
    Ok(PartitionRecord { partition, replicas, isr, leader, leader_epoch: 0, partition_epoch: 0, elr: Vec::new() })
}
