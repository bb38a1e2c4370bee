//! What one step between two images changed: the list that a shard walks instead of both images.
//!
//! *Which core*: made on the metadata core, read on every one.
//! *Invariants*: a topic is in at most one of created, deleted and changed; what happened inside a created or deleted topic is
//! not listed apart. `between(a, b)` equals the deltas of the steps from a to b, joined, except that it leaves out what
//! changed and changed back.
//! *Not here*: the new values: they are in the newer image.
//! *Why* deltas can be joined: whoever is slow gets one larger step instead of a queue that grows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Image, OrderedMap, Topic};
use crate::model::{BrokerId, PartitionId, TopicId};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delta {
    /// Topics that are new; all their partitions are.
    pub topics_created: BTreeSet<TopicId>,
    /// Topics that are gone, as they last were.
    pub topics_deleted: BTreeMap<TopicId, Arc<Topic>>,
    /// Partitions of topics that stay: new ones, and those with another leader, in-sync set or assignment.
    pub partitions: BTreeSet<PartitionId>,
    /// Topics that stay, and whose configs changed.
    pub topic_configs: BTreeSet<TopicId>,
    /// Brokers that are new or changed.
    pub brokers: BTreeSet<BrokerId>,
    /// Whose dynamic configs changed; `None` are those of all brokers.
    pub broker_configs: BTreeSet<Option<BrokerId>>,
    /// Features whose level changed.
    pub features: BTreeSet<String>,
    /// Another controller, or none any more.
    pub controller: bool,
}

impl Delta {
    /// Did nothing change that anybody could act on?
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// This step and the one after it, as one.
    pub fn join(&mut self, later: Delta) {
        for (id, topic) in later.topics_deleted {
            self.partitions.retain(|partition| partition.topic_id != id);
            self.topic_configs.remove(&id);
            if !self.topics_created.remove(&id) {
                self.topics_deleted.insert(id, topic);
            }
        }
        self.topics_created.extend(later.topics_created);
        let created = &self.topics_created;
        self.partitions.extend(later.partitions.into_iter().filter(|id| !created.contains(&id.topic_id)));
        self.topic_configs.extend(later.topic_configs.into_iter().filter(|id| !created.contains(id)));
        self.brokers.extend(later.brokers);
        self.broker_configs.extend(later.broker_configs);
        self.features.extend(later.features);
        self.controller |= later.controller;
    }

    /// What a reader of `older` has to know to be a reader of `newer`.
    pub fn between(older: &Image, newer: &Image) -> Delta {
        let mut delta = Delta { controller: older.controller != newer.controller, ..Delta::default() };
        for (id, before, after) in changes(older.topics.iter(), newer.topics.iter(), Arc::ptr_eq) {
            match (before, after) {
                (None, _) => _ = delta.topics_created.insert(*id),
                (Some(before), None) => _ = delta.topics_deleted.insert(*id, before.clone()),
                (Some(before), Some(after)) => delta.topic_changed(before, after),
            }
        }
        delta.brokers.extend(changes(older.brokers.iter(), newer.brokers.iter(), Arc::ptr_eq).map(|(id, ..)| *id));
        let configs = changes(older.broker_configs.iter(), newer.broker_configs.iter(), Arc::ptr_eq);
        delta.broker_configs.extend(configs.map(|(owner, ..)| *owner));
        let features = changes(older.features.iter(), newer.features.iter(), |a, b| a == b);
        delta.features.extend(features.map(|(name, ..)| name.clone()));
        delta
    }

    fn topic_changed(&mut self, before: &Topic, after: &Topic) {
        if before.configs != after.configs {
            self.topic_configs.insert(after.id);
        }
        if !OrderedMap::same_version(&before.partitions, &after.partitions) {
            let changed = changes(before.partitions.iter(), after.partitions.iter(), Arc::ptr_eq);
            let name = |partition: &i32| PartitionId { topic_id: after.id, partition: *partition };
            self.partitions.extend(changed.map(|(partition, ..)| name(partition)));
        }
    }
}

/// The keys whose values differ, with both values; `surely_equal` spares the comparison where it can.
fn changes<'a, K: Ord + 'a, V: PartialEq + 'a>(
    before: impl Iterator<Item = (&'a K, &'a V)>,
    after: impl Iterator<Item = (&'a K, &'a V)>,
    surely_equal: impl Fn(&V, &V) -> bool,
) -> impl Iterator<Item = (&'a K, Option<&'a V>, Option<&'a V>)> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    std::iter::from_fn(move || {
        loop {
            let order = match (before.peek(), after.peek()) {
                (None, None) => return None,
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
            };
            let old = if order.is_le() { before.next() } else { None };
            let new = if order.is_ge() { after.next() } else { None };
            match (old, new) {
                (Some((_, a)), Some((_, b))) if surely_equal(a, b) || a == b => {}
                (old, new) => {
                    let key = old.or(new).map(|(key, _)| key)?;
                    return Some((key, old.map(|(_, value)| value), new.map(|(_, value)| value)));
                }
            }
        }
    })
}
