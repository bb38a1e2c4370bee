//! Who leads a partition and who is in sync, as it follows from who lives: one rule for every coming and going of brokers.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: the leader is in sync and lives; beside a leader nobody is in sync who does not live; a partition has no leader
//! only if nobody lives who may lead it; eligible leaders (ELR) are not in sync, and hold everything below the high watermark.
//! *Why* one rule: fencing, unfencing, leaving and registering differ only in who lives afterwards. What [`settle`] has settled it
//! leaves alone, which is the property test.
//!
//! The last in-sync replicas stay on record, though dead: they hold what was acknowledged. While fewer than the minimum are in sync
//! the high watermark stands still, so that whoever leaves meanwhile still holds all below it: it stays eligible (KIP-966). Kafka
//! empties the in-sync set into the eligible one instead; the outcome of every election is the same.

use prost::Message as _;

use super::Rules;
use crate::metadata::change::{
    Action, CHANGE_BYTES_MAX, Change, ChangePartitions, PartitionChange, PartitionRecord, Reason,
};
use crate::metadata::image::{BrokerList, Configs, Image, Partition, PartitionEpoch, Topic};
use crate::model::{BrokerId, LeaderEpoch, TopicId};

/// Bytes of partitions in one command; the rest of it has room beside them.
const PARTITION_BYTES_MAX: usize = CHANGE_BYTES_MAX - (64 << 10);

/// What a topic's configs say about elections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    min_insync_replicas: usize,
    /// May a replica lead that is neither in sync nor eligible?
    unclean: bool,
}

impl Terms {
    pub(super) fn of(configs: &Configs, rules: &Rules) -> Terms {
        let min = configs.get("min.insync.replicas").and_then(|count| count.parse().ok());
        Terms {
            min_insync_replicas: min.unwrap_or(rules.min_insync_replicas_default),
            unclean: configs.get("unclean.leader.election.enable").is_some_and(|enabled| enabled == "true"),
        }
    }

    /// The same, but that any replica may lead.
    pub(super) fn unclean(self) -> Terms {
        Terms { unclean: true, ..self }
    }
}

/// The partition's next record, if who lives makes another one of it. `lost` comes back on an empty disk.
pub(super) fn settle(
    before: &Partition,
    lives: impl Fn(BrokerId) -> bool,
    lost: Option<BrokerId>,
    terms: Terms,
) -> Option<Partition> {
    let kept: BrokerList = before.isr.iter().copied().filter(|member| Some(*member) != lost).collect();
    let live: BrokerList = kept.iter().copied().filter(|member| lives(*member)).collect();
    let first =
        |may_lead: &dyn Fn(BrokerId) -> bool| before.replicas.iter().copied().find(|id| lives(*id) && may_lead(*id));
    let leader = before.leader.filter(|leader| live.contains(leader)).or_else(|| first(&|id| live.contains(&id)));
    let outsider = || {
        let eligible = first(&|id| before.elr.contains(&id) && Some(id) != lost);
        eligible.or_else(|| if terms.unclean { first(&|_| true) } else { None })
    };
    let after = match leader.or_else(outsider) {
        Some(leader) if live.contains(&leader) => successor(before, live, Some(leader), lost, terms),
        Some(outsider) => successor(before, [outsider].into_iter().collect(), Some(outsider), lost, terms),
        None => successor(before, kept, None, lost, terms),
    };
    let is_other = (after.leader, &after.isr, &after.elr) != (before.leader, &before.isr, &before.elr);
    is_other.then_some(after)
}

/// The record that has this leader and these in-sync replicas next.
pub(super) fn successor(
    before: &Partition,
    isr: BrokerList,
    leader: Option<BrokerId>,
    lost: Option<BrokerId>,
    terms: Terms,
) -> Partition {
    let is_enough = isr.len() >= terms.min_insync_replicas.min(before.replicas.len());
    let stays_eligible = |id: &BrokerId| {
        (before.elr.contains(id) || before.isr.contains(id)) && !isr.contains(id) && Some(*id) != lost && !is_enough
    };
    let elr = before.replicas.iter().copied().filter(stays_eligible).collect();
    let leader_epoch = LeaderEpoch(before.leader_epoch.0 + i32::from(leader != before.leader));
    Partition {
        isr,
        elr,
        leader,
        leader_epoch,
        partition_epoch: PartitionEpoch(before.partition_epoch.0 + 1),
        ..before.clone()
    }
}

/// What follows for every partition from who lives.
pub(super) fn settle_all(
    image: &Image,
    rules: &Rules,
    lives: impl Fn(BrokerId) -> bool,
    lost: Option<BrokerId>,
) -> Vec<PartitionChange> {
    image.topics().flat_map(|topic| settle_topic(topic, Terms::of(&topic.configs, rules), &lives, lost)).collect()
}

/// What follows for a topic's partitions.
pub(super) fn settle_topic(
    topic: &Topic,
    terms: Terms,
    lives: &impl Fn(BrokerId) -> bool,
    lost: Option<BrokerId>,
) -> impl Iterator<Item = PartitionChange> {
    topic.partitions.iter().filter_map(move |(partition, before)| {
        let after = settle(before, lives, lost, terms)?;
        Some(change(topic.id, *partition, &after))
    })
}

pub(super) fn change(topic_id: TopicId, partition: i32, after: &Partition) -> PartitionChange {
    PartitionChange { topic_id: topic_id.into(), partition: PartitionRecord::of(partition, after) }
}

/// One command, or as few as can hold the partitions: `last` makes it, and those before it hold what is too much.
pub(super) fn commands(
    mut partitions: Vec<PartitionChange>,
    last: impl FnOnce(Vec<PartitionChange>) -> Action,
) -> Vec<Change> {
    let mut commands = Vec::new();
    loop {
        let mut bytes = 0;
        let fits = partitions.iter().take_while(|change| {
            // Each has a tag and a length of at most three bytes before it.
            bytes += change.encoded_len() + 4;
            bytes <= PARTITION_BYTES_MAX
        });
        let fits = fits.count();
        if fits == partitions.len() {
            commands.push(Change::new(last(partitions)));
            return commands;
        }
        let rest = partitions.split_off(fits);
        let reason = Reason::Part.into();
        commands.push(Change::new(Action::ChangePartitions(ChangePartitions { partitions, reason })));
        partitions = rest;
    }
}

/// The commands that change these partitions and nothing else: none for none.
pub(super) fn changes(partitions: Vec<PartitionChange>, reason: Reason) -> Vec<Change> {
    if partitions.is_empty() {
        return Vec::new();
    }
    let reason = reason.into();
    commands(partitions, |partitions| Action::ChangePartitions(ChangePartitions { partitions, reason }))
}
