//! Applying a command: the next image, and what changed.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: all or nothing; every replica that applies the same entries has the same image.
//! *Why* it can fail: entries come from disk and from peers. The controller only proposes what fits, so a failure means
//! that somebody's log or code is wrong, and the node stops rather than diverge.

use std::sync::Arc;

use super::{
    Broker, BrokerEpoch, Configs, Delta, Endpoint, Image, OrderedMap, Partition, PartitionEpoch, PeerAddress, Topic,
    TopicName,
};
use crate::metadata::change::{
    Action, AllocateProducerIds, BeginLeaving, BindVoter, Change, ConfigChange, ConfigOwner, ConfigRecord,
    EndpointRecord, FenceBrokers, NO_LEADER, NewPartitions, PartitionChange, PartitionRecord, RegisterBroker,
    SetFeature, TopicRecord,
};
use crate::model::{BrokerId, LeaderEpoch, PartitionId, TopicId};

/// Why a command does not fit the image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index}: {reason}")]
pub struct ApplyError {
    /// The entry.
    pub index: u64,
    /// What does not fit.
    pub reason: String,
}

impl Image {
    /// The image after entry `index`, which carries `change`.
    ///
    /// # Errors
    /// A command that does not fit this image: nothing of it is applied.
    pub fn apply(&self, index: u64, change: &Change) -> Result<(Image, Delta), ApplyError> {
        let fault = |reason| ApplyError { index, reason };
        if index <= self.version {
            return Err(fault(format!("applied already: the image is at {}", self.version)));
        }
        let mut image = Image { version: index, ..self.clone() };
        let mut delta = Delta::default();
        image.take(change, &mut delta).map_err(fault)?;
        Ok((image, delta))
    }

    /// The image after entry `index`, which changes nothing (a new leader's first).
    #[must_use]
    pub fn skip(&self, index: u64) -> Image {
        assert!(index > self.version);
        Image { version: index, ..self.clone() }
    }

    fn take(&mut self, change: &Change, delta: &mut Delta) -> Result<(), String> {
        match change.action.as_ref().ok_or("no action")? {
            Action::CreateTopics(create) => create.topics.iter().try_for_each(|topic| {
                delta.topics_created.insert(topic.id.into());
                self.create_topic(topic)
            }),
            Action::DeleteTopics(delete) => delete.ids.iter().try_for_each(|id| self.delete_topic((*id).into(), delta)),
            Action::CreatePartitions(create) => {
                create.topics.iter().try_for_each(|new| self.create_partitions(new, delta))
            }
            Action::ChangePartitions(changes) => self.change_partitions(&changes.partitions, delta),
            Action::SetConfigs(set) => set.changes.iter().try_for_each(|change| self.set_configs(change, delta)),
            Action::RegisterBroker(register) => self.register(register, delta),
            Action::AllocateProducerIds(block) => self.allocate_producer_ids(block),
            Action::SetFeature(feature) => self.set_feature(feature, delta),
            Action::FenceBrokers(fence) => self.fence(fence, delta),
            Action::BindVoter(bind) => self.bind_voter(bind),
            Action::BeginLeaving(leave) => self.begin_leaving(leave, delta),
        }
    }

    fn bind_voter(&mut self, bind: &BindVoter) -> Result<(), String> {
        let voter = Arc::make_mut(&mut self.voters).get_mut(&bind.raft_id);
        let voter = voter.ok_or_else(|| format!("no voter {} to bind", bind.raft_id))?;
        let directory_id = bind.directory_id.into();
        if *voter.directory_id.get_or_insert(directory_id) != directory_id {
            return Err(format!("{voter:?} is not bound to {directory_id}"));
        }
        Ok(())
    }

    pub(super) fn create_topic(&mut self, record: &TopicRecord) -> Result<(), String> {
        let name: Arc<str> = record.name.as_str().into();
        let topic = Topic {
            id: record.id.into(),
            name: name.clone(),
            configs: Arc::new(record.configs.clone()),
            partitions: record.partitions.iter().map(numbered).collect(),
        };
        self.count_partitions([], topic.partitions.values().map(|partition| &**partition));
        let id = topic.id;
        if self.names.insert(TopicName(name), id).is_some() {
            return Err(format!("topic {} exists, or one that differs only in '.' and '_'", record.name));
        }
        match self.topics.insert(id, Arc::new(topic)) {
            None => Ok(()),
            Some(other) => Err(format!("topic {} has the id of topic {}", record.name, other.name)),
        }
    }

    fn delete_topic(&mut self, id: TopicId, delta: &mut Delta) -> Result<(), String> {
        let topic = self.topics.remove(&id).ok_or_else(|| format!("no topic {id:?} to delete"))?;
        self.names.remove(&TopicName(topic.name.clone()));
        self.count_partitions(topic.partitions.values().map(|partition| &**partition), []);
        delta.topics_deleted.insert(id, topic);
        Ok(())
    }

    fn create_partitions(&mut self, new: &NewPartitions, delta: &mut Delta) -> Result<(), String> {
        let added: Vec<Partition> = new.partitions.iter().map(Partition::from).collect();
        self.count_partitions([], &added);
        self.change_topic(new.topic_id.into(), |topic| {
            if new.partitions.first().is_some_and(|first| first.partition != topic.partition_count()) {
                return Err(format!("topic {} has {} partitions already", topic.name, topic.partition_count()));
            }
            for (record, partition) in new.partitions.iter().zip(added) {
                topic.partitions.insert(record.partition, Arc::new(partition));
                delta.partitions.insert(PartitionId { topic_id: topic.id, partition: record.partition });
            }
            Ok(())
        })
    }

    /// Changes of one topic that follow one another copy it once.
    fn change_partitions(&mut self, changes: &[PartitionChange], delta: &mut Delta) -> Result<(), String> {
        changes.chunk_by(|a, b| a.topic_id == b.topic_id).try_for_each(|of_topic| {
            let topic_id = of_topic[0].topic_id.into();
            let (mut gone, mut come) = (Vec::with_capacity(of_topic.len()), Vec::with_capacity(of_topic.len()));
            self.change_topic(topic_id, |topic| {
                for record in of_topic.iter().map(|change| &change.partition) {
                    let id = PartitionId { topic_id, partition: record.partition };
                    let after = Arc::new(Partition::from(record));
                    let before = topic.partitions.insert(id.partition, after.clone());
                    let before = before.ok_or_else(|| format!("no partition {id:?}"))?;
                    if after.partition_epoch.0 != before.partition_epoch.0 + 1
                        || after.leader_epoch < before.leader_epoch
                    {
                        return Err(format!("partition {id:?} goes from {before:?} to {after:?}"));
                    }
                    delta.partitions.insert(id);
                    gone.push(before);
                    come.push(after);
                }
                Ok(())
            })?;
            self.count_partitions(gone.iter().map(|partition| &**partition), come.iter().map(|partition| &**partition));
            Ok(())
        })
    }

    fn change_topic(
        &mut self,
        id: TopicId,
        change: impl FnOnce(&mut Topic) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut topic = Topic::clone(self.topics.get(&id).ok_or_else(|| format!("no topic {id:?}"))?);
        change(&mut topic)?;
        self.topics.insert(id, Arc::new(topic));
        Ok(())
    }

    /// Keeps the counts: partitions go, others come.
    fn count_partitions<'a>(
        &mut self,
        gone: impl IntoIterator<Item = &'a Partition>,
        come: impl IntoIterator<Item = &'a Partition>,
    ) {
        let counts = Arc::make_mut(&mut self.leader_counts);
        for partition in come {
            self.partition_count += 1;
            if let Some(leader) = partition.leader {
                *counts.entry(leader).or_default() += 1;
            }
        }
        for partition in gone {
            self.partition_count -= 1;
            if let Some(count) = partition.leader.and_then(|leader| counts.get_mut(&leader)) {
                *count -= 1;
            }
        }
        counts.retain(|_, count| *count > 0);
    }

    fn set_configs(&mut self, change: &ConfigChange, delta: &mut Delta) -> Result<(), String> {
        let owner = match change.owner.ok_or("configs of nobody")? {
            ConfigOwner::Topic(id) => {
                delta.topic_configs.insert(id.into());
                return self.change_topic(id.into(), |topic| {
                    change.apply_to(Arc::make_mut(&mut topic.configs));
                    Ok(())
                });
            }
            ConfigOwner::Broker(broker) => Some(BrokerId(broker)),
            ConfigOwner::AllBrokers(_) => None,
        };
        let owners = Arc::make_mut(&mut self.broker_configs);
        let configs = owners.entry(owner).or_default();
        change.apply_to(Arc::make_mut(configs));
        if configs.is_empty() {
            owners.remove(&owner);
        }
        delta.broker_configs.insert(owner);
        Ok(())
    }

    fn register(&mut self, register: &RegisterBroker, delta: &mut Delta) -> Result<(), String> {
        let epoch = i64::try_from(self.version).map_err(|_| "log index beyond i64")?;
        let broker = broker(register, BrokerEpoch(epoch))?;
        delta.brokers.insert(broker.id);
        Arc::make_mut(&mut self.brokers).insert(broker.id, Arc::new(broker));
        self.change_partitions(&register.partitions, delta)
    }

    fn fence(&mut self, fence: &FenceBrokers, delta: &mut Delta) -> Result<(), String> {
        for id in fence.brokers.iter().map(|id| BrokerId(*id)) {
            self.broker_mut(id)?.fenced = fence.fenced;
            delta.brokers.insert(id);
        }
        self.change_partitions(&fence.partitions, delta)
    }

    fn begin_leaving(&mut self, leave: &BeginLeaving, delta: &mut Delta) -> Result<(), String> {
        let (id, version) = (BrokerId(leave.broker), self.version);
        self.broker_mut(id)?.leaving = Some(version);
        delta.brokers.insert(id);
        self.change_partitions(&leave.partitions, delta)
    }

    fn broker_mut(&mut self, id: BrokerId) -> Result<&mut Broker, String> {
        let broker = Arc::make_mut(&mut self.brokers).get_mut(&id).ok_or_else(|| format!("no broker {}", id.0))?;
        Ok(Arc::make_mut(broker))
    }

    fn allocate_producer_ids(&mut self, block: &AllocateProducerIds) -> Result<(), String> {
        if block.first != self.next_producer_id {
            return Err(format!("producer ids from {}, the next one is {}", block.first, self.next_producer_id));
        }
        self.next_producer_id = block.first + block.count;
        Ok(())
    }

    fn set_feature(&mut self, feature: &SetFeature, delta: &mut Delta) -> Result<(), String> {
        let level = i16::try_from(feature.level).map_err(|_| format!("feature level {}", feature.level))?;
        let features = Arc::make_mut(&mut self.features);
        if level == 0 {
            features.remove(&feature.name);
        } else {
            features.insert(feature.name.clone(), level);
        }
        delta.features.insert(feature.name.clone());
        Ok(())
    }
}

impl ConfigChange {
    /// Sets and removes what it says.
    pub fn apply_to(&self, configs: &mut Configs) {
        for ConfigRecord { name, value } in &self.configs {
            match value {
                Some(value) => _ = configs.insert(name.clone(), value.clone()),
                None => _ = configs.remove(name),
            }
        }
    }
}

fn numbered(record: &PartitionRecord) -> (i32, Arc<Partition>) {
    (record.partition, Arc::new(Partition::from(record)))
}

impl From<&PartitionRecord> for Partition {
    fn from(record: &PartitionRecord) -> Partition {
        Partition {
            replicas: record.replicas.iter().map(|id| BrokerId(*id)).collect(),
            isr: record.isr.iter().map(|id| BrokerId(*id)).collect(),
            elr: record.elr.iter().map(|id| BrokerId(*id)).collect(),
            leader: (record.leader != NO_LEADER).then_some(BrokerId(record.leader)),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            partition_epoch: PartitionEpoch(record.partition_epoch),
        }
    }
}

pub(super) fn broker(register: &RegisterBroker, epoch: BrokerEpoch) -> Result<Broker, String> {
    let endpoint = |record: &EndpointRecord| {
        let port = u16::try_from(record.port).map_err(|_| format!("port {}", record.port))?;
        Ok::<_, String>(Endpoint { listener: record.listener.clone(), host: record.host.clone(), port })
    };
    Ok(Broker {
        id: BrokerId(register.broker),
        epoch,
        directory_id: register.directory_id.into(),
        endpoints: register.endpoints.iter().map(endpoint).collect::<Result<_, _>>()?,
        rack: register.rack.clone(),
        peer: register
            .peer
            .as_ref()
            .map(endpoint)
            .transpose()?
            .map(|Endpoint { host, port, .. }| PeerAddress { host, port }),
        shards: register.shards.max(1),
        fenced: register.fenced,
        leaving: None,
    })
}

impl RegisterBroker {
    /// The record that makes such a broker, and changes no partition.
    pub fn of(broker: &Broker) -> RegisterBroker {
        let endpoint = |end: &Endpoint| EndpointRecord {
            listener: end.listener.clone(),
            host: end.host.clone(),
            port: end.port.into(),
        };
        RegisterBroker {
            broker: broker.id.0,
            directory_id: broker.directory_id.into(),
            endpoints: broker.endpoints.iter().map(endpoint).collect(),
            rack: broker.rack.clone(),
            fenced: broker.fenced,
            peer: broker.peer.as_ref().map(|PeerAddress { host, port }| EndpointRecord {
                listener: String::new(),
                host: host.clone(),
                port: (*port).into(),
            }),
            shards: broker.shards,
            partitions: Vec::new(),
        }
    }
}

impl PartitionRecord {
    /// The record of a partition.
    pub fn of(partition: i32, state: &Partition) -> PartitionRecord {
        PartitionRecord {
            partition,
            replicas: state.replicas.iter().map(|id| id.0).collect(),
            isr: state.isr.iter().map(|id| id.0).collect(),
            leader: state.leader.map_or(NO_LEADER, |id| id.0),
            leader_epoch: state.leader_epoch.0,
            partition_epoch: state.partition_epoch.0,
            elr: state.elr.iter().map(|id| id.0).collect(),
        }
    }
}

impl OrderedMap<i32, Arc<Partition>> {
    pub(super) fn records(&self) -> Vec<PartitionRecord> {
        self.iter().map(|(partition, state)| PartitionRecord::of(*partition, state)).collect()
    }
}
