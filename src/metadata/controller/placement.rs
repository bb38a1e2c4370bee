//! Which brokers hold a partition: by round robin over the live ones, or as the client says.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: replicas of one partition are on different brokers, and in different racks as far as there are such; over a topic,
//! leaders and followers spread evenly; a topic begins with the broker that leads the fewest.
//! *Why* ties are broken by the topic's id: no randomness here, and small topics still spread.

use crate::metadata::change::PartitionRecord;
use crate::metadata::image::Image;
use crate::model::{BrokerId, TopicId};

/// The live brokers and what they lead, as one request goes on.
pub(super) struct Placer {
    brokers: Vec<Candidate>,
}

struct Candidate {
    id: BrokerId,
    rack: Option<String>,
    leads: usize,
}

impl Placer {
    pub(super) fn new(image: &Image) -> Placer {
        let candidate = |broker: &crate::metadata::image::Broker| Candidate {
            id: broker.id,
            rack: broker.rack.clone(),
            leads: image.leader_counts().get(&broker.id).copied().unwrap_or(0),
        };
        Placer { brokers: image.live_brokers().map(candidate).collect() }
    }

    /// `count` partitions from `first`, `replication_factor` replicas each.
    ///
    /// # Errors
    /// Too few live brokers, in Kafka's words.
    pub(super) fn place(
        &mut self,
        topic_id: TopicId,
        first: i32,
        count: i32,
        replication_factor: i16,
    ) -> Result<Vec<PartitionRecord>, String> {
        let (replicas, live) = (usize::try_from(replication_factor).unwrap_or(0), self.brokers.len());
        if live == 0 {
            return Err("All brokers are currently fenced.".to_owned());
        }
        if replicas == 0 || replicas > live {
            return Err(format!(
                "The target replication factor of {replication_factor} cannot be reached because only {live} broker(s) are registered."
            ));
        }
        let start = self.start(topic_id);
        let placed = (0..usize::try_from(count).unwrap_or(0)).map(|nth| {
            let brokers = self.replicas(start + nth, replicas);
            self.brokers[brokers[0]].leads += 1;
            let replicas: Vec<i32> = brokers.into_iter().map(|slot| self.brokers[slot].id.0).collect();
            let partition = first.saturating_add(i32::try_from(nth).unwrap_or(i32::MAX));
            fresh(partition, replicas.clone(), replicas)
        });
        Ok(placed.collect())
    }

    fn start(&self, topic_id: TopicId) -> usize {
        let (high, low) = topic_id.0.as_u64_pair();
        let live = self.brokers.len();
        let dice = usize::try_from((high ^ low) % live as u64).unwrap_or(0);
        (dice..dice + live).min_by_key(|slot| self.brokers[slot % live].leads).unwrap_or(dice)
    }

    /// Leaders go round; followers go round too, one place further with every full round of leaders, so that the load of a dead
    /// leader falls on all others. A rack that the partition has already comes last.
    fn replicas(&self, index: usize, count: usize) -> Vec<usize> {
        let live = self.brokers.len();
        let leader = index % live;
        let others = (0..live - 1).map(|nth| (leader + 1 + (index / live + nth) % (live - 1)) % live);
        let mut others: Vec<usize> = others.collect();
        let mut chosen = vec![leader];
        while chosen.len() < count {
            let rack = |slot: &usize| self.brokers[*slot].rack.as_ref();
            let in_other_rack =
                |slot: &usize| rack(slot).is_some() && chosen.iter().all(|taken| rack(taken) != rack(slot));
            let next = others.iter().position(in_other_rack).unwrap_or(0);
            chosen.push(others.remove(next));
        }
        chosen
    }
}

fn fresh(partition: i32, replicas: Vec<i32>, isr: Vec<i32>) -> PartitionRecord {
    let leader = isr[0];
    PartitionRecord { partition, replicas, isr, leader, leader_epoch: 0, partition_epoch: 0, elr: Vec::new() }
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
    let isr: Vec<i32> = brokers.iter().filter(|broker| image.lives(**broker)).map(|broker| broker.0).collect();
    if isr.is_empty() {
        return Err(format!(
            "All brokers specified in the manual partition assignment for partition {partition} are fenced or in \
             controlled shutdown."
        ));
    }
    Ok(fresh(partition, brokers.iter().map(|broker| broker.0).collect(), isr))
}
