//! What can be said against a command without knowing the state it will meet.
//!
//! *Which core*: metadata. Pure. *Invariants*: what passes here can be taken literally: ids are ids, indexes follow each
//! other, a leader is in sync, whoever is in sync is a replica.

use super::{
    Action, AllocateProducerIds, CHANGE_FORMAT, Change, ChangeError, ConfigChange, ConfigOwner, Id, NO_LEADER,
    PartitionChange, PartitionRecord, RegisterBroker, TopicRecord,
};

/// Checks a command.
pub(super) fn change(change: &Change) -> Result<(), ChangeError> {
    let Some(action) = change.action.as_ref().filter(|_| change.format == CHANGE_FORMAT) else {
        return Err(ChangeError::Unknown(change.format));
    };
    match action {
        Action::CreateTopics(create) => create.topics.iter().try_for_each(topic),
        Action::DeleteTopics(delete) => delete.ids.iter().try_for_each(id),
        Action::CreatePartitions(create) => create.topics.iter().try_for_each(|new| {
            id(&new.topic_id)?;
            partitions(&new.partitions, new.partitions.first().map_or(0, |first| first.partition))
        }),
        Action::ChangePartitions(changes) => partition_changes(&changes.partitions),
        Action::SetConfigs(set) => set.changes.iter().try_for_each(configs),
        Action::RegisterBroker(register) => broker(register),
        Action::AllocateProducerIds(block) => producer_ids(block),
        Action::SetFeature(feature) => ensure(!feature.name.is_empty() && feature.level <= i16::MAX as u32, || {
            format!("feature {:?} at level {}", feature.name, feature.level)
        }),
        Action::BindVoter(bind) => id(&bind.directory_id),
        Action::FenceBrokers(fence) => {
            broker_ids("fenced brokers", &fence.brokers)?;
            partition_changes(&fence.partitions)
        }
        Action::BeginLeaving(leave) => {
            broker_ids("leaving brokers", &[leave.broker])?;
            partition_changes(&leave.partitions)
        }
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), ChangeError> {
    if holds { Ok(()) } else { Err(ChangeError::Invalid(otherwise())) }
}

fn id(id: &Id) -> Result<(), ChangeError> {
    ensure(*id != Id::default(), || "an id of zeros".to_owned())
}

/// Also used for the topics of a snapshot.
pub fn topic(topic: &TopicRecord) -> Result<(), ChangeError> {
    id(&topic.id)?;
    ensure(!topic.name.is_empty(), || "a topic without a name".to_owned())?;
    ensure(!topic.partitions.is_empty(), || format!("topic {} without partitions", topic.name))?;
    partitions(&topic.partitions, 0)
}

fn partitions(partitions: &[PartitionRecord], first: i32) -> Result<(), ChangeError> {
    for (expected, record) in (i64::from(first)..).zip(partitions) {
        ensure(i64::from(record.partition) == expected, || {
            format!("partition {} where {expected} should be", record.partition)
        })?;
        partition(record)?;
    }
    Ok(())
}

fn partition_changes(changes: &[PartitionChange]) -> Result<(), ChangeError> {
    changes.iter().try_for_each(|change| {
        id(&change.topic_id)?;
        partition(&change.partition)
    })
}

fn partition(record: &PartitionRecord) -> Result<(), ChangeError> {
    let PartitionRecord { partition, replicas, isr, leader, leader_epoch, partition_epoch, elr } = record;
    ensure(*partition >= 0 && *leader_epoch >= 0 && *partition_epoch >= 0, || {
        format!("partition {partition} at leader epoch {leader_epoch}, partition epoch {partition_epoch}")
    })?;
    ensure(!replicas.is_empty(), || format!("partition {partition} without replicas"))?;
    broker_ids("replicas", replicas)?;
    broker_ids("in-sync replicas", isr)?;
    ensure(isr.iter().all(|broker| replicas.contains(broker)), || format!("isr {isr:?} not within {replicas:?}"))?;
    broker_ids("eligible leaders", elr)?;
    ensure(elr.iter().all(|broker| replicas.contains(broker) && !isr.contains(broker)), || {
        format!("eligible leaders {elr:?} within isr {isr:?}, or not within {replicas:?}")
    })?;
    ensure(*leader == NO_LEADER || isr.contains(leader), || format!("leader {leader} not in isr {isr:?}"))
}

fn broker_ids(what: &str, brokers: &[i32]) -> Result<(), ChangeError> {
    let good = brokers.iter().enumerate().all(|(slot, broker)| *broker >= 0 && !brokers[..slot].contains(broker));
    ensure(good, || format!("{what} {brokers:?}"))
}

fn configs(change: &ConfigChange) -> Result<(), ChangeError> {
    match &change.owner {
        Some(ConfigOwner::Topic(topic)) => id(topic)?,
        Some(ConfigOwner::Broker(broker)) => ensure(*broker >= 0, || format!("configs of broker {broker}"))?,
        Some(ConfigOwner::AllBrokers(all)) => ensure(*all, || "configs of not all brokers".to_owned())?,
        None => return Err(ChangeError::Invalid("configs of nobody".to_owned())),
    }
    ensure(change.configs.iter().all(|config| !config.name.is_empty()), || "a config without a name".to_owned())
}

/// Also used for the brokers of a snapshot.
pub fn broker(register: &RegisterBroker) -> Result<(), ChangeError> {
    ensure(register.broker >= 0, || format!("broker {}", register.broker))?;
    id(&register.directory_id)?;
    partition_changes(&register.partitions)?;
    let endpoint_good = |port: u32, host: &str| (1..=u32::from(u16::MAX)).contains(&port) && !host.is_empty();
    ensure(register.endpoints.iter().all(|end| endpoint_good(end.port, &end.host)), || {
        format!("endpoints {:?} of broker {}", register.endpoints, register.broker)
    })?;
    ensure(register.peer.iter().all(|peer| endpoint_good(peer.port, &peer.host)), || {
        format!("peer address {:?} of broker {}", register.peer, register.broker)
    })
}

fn producer_ids(block: &AllocateProducerIds) -> Result<(), ChangeError> {
    let good =
        block.broker >= 0 && block.first >= 0 && block.count > 0 && block.first.checked_add(block.count).is_some();
    ensure(good, || format!("{} producer ids from {} for broker {}", block.count, block.first, block.broker))
}
