//! The image: everything that the metadata group has agreed on, as of one entry of its log.
//!
//! *Which core*: made on the metadata core, read on every one (`Arc<Image>`): it never changes.
//! *Invariants*: `version` is the index of the last applied entry; a topic is found by its id and by its name or by neither;
//! two topics never differ only in '.' against '_'; partitions are 0, 1, 2, ... without a gap.
//! *Not here*: decisions (controller), logs and sockets.
//! *Why* shared structure: one command changes one topic of perhaps ten thousand, and every shard keeps the version that it
//! works with; so the maps share what did not change (`ordered_map`), and what they hold stands behind an `Arc`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use uuid::Uuid;

use crate::model::{BrokerId, LeaderEpoch, PartitionId, ProducerId, TopicId};

mod apply;
mod delta;
mod ordered_map;
mod snapshot;

pub use apply::ApplyError;
pub use delta::Delta;
pub use ordered_map::OrderedMap;
pub use snapshot::ImageError;

/// Number of a partition record's version: one more with every change of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionEpoch(pub i32);

/// Number of a broker's incarnation: the index of the entry that registered it, so that it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BrokerEpoch(pub i64);

/// A short list of brokers.
pub type BrokerList = SmallVec<[BrokerId; 4]>;
/// Names and values of what differs from the defaults.
pub type Configs = BTreeMap<String, String>;

/// One partition's assignment and leadership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Brokers that hold it, the preferred leader first.
    pub replicas: BrokerList,
    /// Those that are in sync.
    pub isr: BrokerList,
    /// Not in sync, but with everything below the high watermark, which stands still (KIP-966): they may lead if nobody in sync
    /// can.
    pub elr: BrokerList,
    /// The leader, if there is one.
    pub leader: Option<BrokerId>,
    /// The number of its reign.
    pub leader_epoch: LeaderEpoch,
    /// The number of this record's version.
    pub partition_epoch: PartitionEpoch,
}

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its id, for ever.
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// Configs that differ from the defaults.
    pub configs: Arc<Configs>,
    /// Its partitions, by index.
    pub partitions: OrderedMap<i32, Arc<Partition>>,
}

/// Where a broker can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name.
    pub listener: String,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Where the other brokers reach a broker; clients are never told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Who.
    pub id: BrokerId,
    /// Which incarnation.
    pub epoch: BrokerEpoch,
    /// Which data directory.
    pub directory_id: Uuid,
    /// Where it can be reached.
    pub endpoints: Vec<Endpoint>,
    /// The rack it stands in.
    pub rack: Option<String>,
    /// Where the other brokers reach it; `None`: it has no others.
    pub peer: Option<PeerAddress>,
    /// How many shards it runs, at least 1: who follows it asks the right one.
    pub shards: u32,
    /// Fenced: may lead nothing, be in no in-sync set beside others, and gets no new replicas.
    pub fenced: bool,
    /// About to stop, and as if it were fenced, though it still answers: since which version.
    pub leaving: Option<u64>,
}

impl Broker {
    /// May it lead, be in sync, and get replicas?
    pub fn is_live(&self) -> bool {
        !self.fenced && self.leaving.is_none()
    }
}

/// A member of the metadata group: a node on a data directory (KIP-853), under the number that raft knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voter {
    /// raft's name for it; never 0, never given to another.
    pub raft_id: u64,
    /// The broker.
    pub node_id: BrokerId,
    /// Its data directory; `None` until it first shows up: nothing that it says counts before.
    pub directory_id: Option<Uuid>,
}

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    version: u64,
    cluster_id: Arc<str>,
    controller: Option<BrokerId>,
    voters: Arc<BTreeMap<u64, Voter>>,
    brokers: Arc<BTreeMap<BrokerId, Arc<Broker>>>,
    topics: OrderedMap<TopicId, Arc<Topic>>,
    names: OrderedMap<TopicName, TopicId>,
    broker_configs: Arc<BTreeMap<Option<BrokerId>, Arc<Configs>>>,
    next_producer_id: i64,
    features: Arc<BTreeMap<String, i16>>,
    partition_count: usize,
    /// Derived, as is the count before it.
    leader_counts: Arc<BTreeMap<BrokerId, usize>>,
}

impl Image {
    /// The state before the first entry, of a cluster with these voters.
    pub fn empty(cluster_id: &str, voters: impl IntoIterator<Item = Voter>) -> Image {
        Image {
            version: 0,
            cluster_id: cluster_id.into(),
            controller: None,
            voters: Arc::new(voters.into_iter().map(|voter| (voter.raft_id, voter)).collect()),
            brokers: Arc::default(),
            topics: OrderedMap::default(),
            names: OrderedMap::default(),
            broker_configs: Arc::default(),
            next_producer_id: 0,
            features: Arc::default(),
            partition_count: 0,
            leader_counts: Arc::default(),
        }
    }

    /// Index of the last entry that this image contains.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The cluster's id.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The broker that leads the metadata group, as far as this node knows: the one thing here that is not agreed upon.
    pub fn controller(&self) -> Option<BrokerId> {
        self.controller
    }

    /// The same image, with another controller.
    #[must_use]
    pub fn with_controller(&self, controller: Option<BrokerId>) -> Image {
        Image { controller, ..self.clone() }
    }

    /// The metadata group's members, by raft id.
    pub fn voters(&self) -> &BTreeMap<u64, Voter> {
        &self.voters
    }

    /// The voter that a broker is, if it is one.
    pub fn voter(&self, node: BrokerId) -> Option<&Voter> {
        self.voters.values().find(|voter| voter.node_id == node)
    }

    /// The registered brokers, by id.
    pub fn brokers(&self) -> &BTreeMap<BrokerId, Arc<Broker>> {
        &self.brokers
    }

    /// Brokers that may lead, be in sync, and get replicas, by id.
    pub fn live_brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().map(|broker| &**broker).filter(|broker| broker.is_live())
    }

    /// Is a broker one of those?
    pub fn lives(&self, broker: BrokerId) -> bool {
        self.brokers.get(&broker).is_some_and(|broker| broker.is_live())
    }

    /// The topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// How many topics.
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// How many partitions, over all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// How many partitions each broker leads; none where a broker is not listed.
    pub fn leader_counts(&self) -> &BTreeMap<BrokerId, usize> {
        &self.leader_counts
    }

    /// A topic by id.
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// A topic by name.
    pub fn topic_by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topic_like(name).filter(|topic| *topic.name == *name)
    }

    /// The topic whose name equals `name` where '.' and '_' count as the same (they do in metric names): there is at most one.
    pub fn topic_like(&self, name: &str) -> Option<&Arc<Topic>> {
        let (_, id) = self.names.find(|probe| compare_names(&probe.0, name))?;
        self.topics.get(id)
    }

    /// A partition.
    pub fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.topic(id.topic_id)?.partition(id.partition)
    }

    /// Dynamic configs of one broker, or (`None`) of all that have none of their own.
    pub fn broker_configs(&self, broker: Option<BrokerId>) -> Option<&Arc<Configs>> {
        self.broker_configs.get(&broker)
    }

    /// The first producer id that was never handed out.
    pub fn next_producer_id(&self) -> ProducerId {
        ProducerId(self.next_producer_id)
    }

    /// Finalised features and their levels.
    pub fn features(&self) -> &BTreeMap<String, i16> {
        &self.features
    }
}

impl Topic {
    /// A partition by index.
    pub fn partition(&self, partition: i32) -> Option<&Partition> {
        self.partitions.get(&partition).map(|partition| &**partition)
    }

    /// How many partitions.
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("partition indexes are i32")
    }
}

/// A name, ordered so that '.' and '_' are the same.
#[derive(Clone, Debug)]
struct TopicName(Arc<str>);

impl PartialEq for TopicName {
    fn eq(&self, other: &TopicName) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for TopicName {}
impl PartialOrd for TopicName {
    fn partial_cmp(&self, other: &TopicName) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for TopicName {
    fn cmp(&self, other: &TopicName) -> Ordering {
        compare_names(&self.0, &other.0)
    }
}

fn compare_names(a: &str, b: &str) -> Ordering {
    let unify = |byte: u8| if byte == b'.' { b'_' } else { byte };
    a.bytes().map(unify).cmp(b.bytes().map(unify))
}

#[cfg(test)]
mod tests;
