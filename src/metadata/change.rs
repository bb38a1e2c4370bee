//! The committed commands: what the metadata group agrees on, entry by entry, and the bytes they are on disk and wire.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a command is whole: a topic comes with its id, configs, partitions, replicas, leaders and in-sync
//! replicas in one entry, so that no reader ever sees half of it; it is bounded by [`CHANGE_BYTES_MAX`]; field numbers are
//! never used again for something else.
//! *Not here*: whether a command fits the present state (the image says so when it applies it) or should be made (controller).
//! *Why* prost messages written by hand: no protoc to install, and a reader of this file sees the format.

use prost::Message;
use uuid::Uuid;

use crate::model::{BrokerId, TopicId};

mod check;

pub(super) use check::{broker as check_broker, topic as check_topic};

/// The version of the format that this build writes, and the newest that it reads.
pub const CHANGE_FORMAT: u32 = 1;
/// An encoded command's largest size, in bytes.
pub const CHANGE_BYTES_MAX: usize = 4 << 20;
/// Producer ids handed out at a time (KIP-730).
pub const PRODUCER_ID_BLOCK: i64 = 1000;
/// Stands for "none" where a leader is named.
pub const NO_LEADER: i32 = -1;

/// One committed command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Change {
    /// [`CHANGE_FORMAT`] of the build that wrote it.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// What is to be done; always present in what [`Change::from_bytes`] returns.
    #[prost(oneof = "Action", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20")]
    pub action: Option<Action>,
}

/// What a command does.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Action {
    /// Creates topics, whole.
    #[prost(message, tag = "2")]
    CreateTopics(CreateTopics),
    /// Deletes topics and everything that hangs on them.
    #[prost(message, tag = "3")]
    DeleteTopics(DeleteTopics),
    /// Adds partitions to topics.
    #[prost(message, tag = "4")]
    CreatePartitions(CreatePartitions),
    /// Changes leaders and in-sync replicas.
    #[prost(message, tag = "5")]
    ChangePartitions(ChangePartitions),
    /// Sets and removes configs of topics and brokers.
    #[prost(message, tag = "6")]
    SetConfigs(SetConfigs),
    /// A broker's incarnation takes its place.
    #[prost(message, tag = "7")]
    RegisterBroker(RegisterBroker),
    /// Hands a block of producer ids to a broker.
    #[prost(message, tag = "8")]
    AllocateProducerIds(AllocateProducerIds),
    /// Finalises a feature's level (KIP-584).
    #[prost(message, tag = "9")]
    SetFeature(SetFeature),
    /// Fences or unfences brokers.
    #[prost(message, tag = "10")]
    FenceBrokers(FenceBrokers),
    /// A voter's data directory becomes known, for ever (KIP-853).
    #[prost(message, tag = "20")]
    BindVoter(BindVoter),
    /// A broker is about to stop, and gives up what it leads.
    #[prost(message, tag = "11")]
    BeginLeaving(BeginLeaving),
}

/// A UUID as two words: no length to check, no allocation.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Id {
    /// The more significant half.
    #[prost(fixed64, tag = "1")]
    pub high: u64,
    /// The less significant half.
    #[prost(fixed64, tag = "2")]
    pub low: u64,
}

/// A config's name and value; no value removes it, so that the default holds again.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfigRecord {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The value.
    #[prost(string, optional, tag = "2")]
    pub value: Option<String>,
}

/// A partition, whole.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PartitionRecord {
    /// Its index within the topic, from 0.
    #[prost(int32, tag = "1")]
    pub partition: i32,
    /// Brokers that hold it, the preferred leader first.
    #[prost(int32, repeated, tag = "2")]
    pub replicas: Vec<i32>,
    /// Those of them that are in sync.
    #[prost(int32, repeated, tag = "3")]
    pub isr: Vec<i32>,
    /// The leader, or [`NO_LEADER`].
    #[prost(sint32, tag = "4")]
    pub leader: i32,
    /// Number of the leader's reign.
    #[prost(int32, tag = "5")]
    pub leader_epoch: i32,
    /// Number of the record's version.
    #[prost(int32, tag = "6")]
    pub partition_epoch: i32,
    /// Those that may lead if nobody in sync can (KIP-966).
    #[prost(int32, repeated, tag = "7")]
    pub elr: Vec<i32>,
}

/// A topic, whole.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TopicRecord {
    /// Its id, for ever.
    #[prost(message, required, tag = "1")]
    pub id: Id,
    /// Its name.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Partitions 0, 1, 2, ... in order.
    #[prost(message, repeated, tag = "3")]
    pub partitions: Vec<PartitionRecord>,
    /// Configs that differ from the defaults, by name.
    #[prost(btree_map = "string, string", tag = "4")]
    pub configs: std::collections::BTreeMap<String, String>,
}

/// See [`Action::CreateTopics`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CreateTopics {
    /// The topics.
    #[prost(message, repeated, tag = "1")]
    pub topics: Vec<TopicRecord>,
}

/// See [`Action::DeleteTopics`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeleteTopics {
    /// Their ids.
    #[prost(message, repeated, tag = "1")]
    pub ids: Vec<Id>,
}

/// New partitions of one topic.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NewPartitions {
    /// The topic.
    #[prost(message, required, tag = "1")]
    pub topic_id: Id,
    /// The partitions that follow those it has, in order.
    #[prost(message, repeated, tag = "2")]
    pub partitions: Vec<PartitionRecord>,
}

/// See [`Action::CreatePartitions`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CreatePartitions {
    /// By topic.
    #[prost(message, repeated, tag = "1")]
    pub topics: Vec<NewPartitions>,
}

/// A partition's new record; its partition epoch is one above the present one.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PartitionChange {
    /// The topic.
    #[prost(message, required, tag = "1")]
    pub topic_id: Id,
    /// The partition as it is to be.
    #[prost(message, required, tag = "2")]
    pub partition: PartitionRecord,
}

/// See [`Action::ChangePartitions`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ChangePartitions {
    /// Each at most once.
    #[prost(message, repeated, tag = "1")]
    pub partitions: Vec<PartitionChange>,
    /// Why: for whoever reads the log.
    #[prost(enumeration = "Reason", tag = "2")]
    pub reason: i32,
}

/// Why partitions change that no broker's coming or going changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
pub enum Reason {
    /// It was not said.
    Unknown = 0,
    /// Their leaders proposed other in-sync replicas.
    Proposed = 1,
    /// An operator asked for an election.
    Asked = 2,
    /// Too many partitions were led by others than their preferred leaders.
    Balanced = 3,
    /// Their topics' configs change.
    Reconfigured = 4,
    /// The first part of what one command cannot hold; the last part says why.
    Part = 5,
}

/// Whose configs.
#[derive(Clone, Copy, PartialEq, Eq, prost::Oneof)]
pub enum ConfigOwner {
    /// A topic's.
    #[prost(message, tag = "1")]
    Topic(Id),
    /// One broker's.
    #[prost(int32, tag = "2")]
    Broker(i32),
    /// Every broker's that has none of its own.
    #[prost(bool, tag = "3")]
    AllBrokers(bool),
}

/// Changes to the configs of one owner: the result of the client's operations, not the operations.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfigChange {
    /// Whose.
    #[prost(oneof = "ConfigOwner", tags = "1, 2, 3")]
    pub owner: Option<ConfigOwner>,
    /// What is set and what is removed.
    #[prost(message, repeated, tag = "4")]
    pub configs: Vec<ConfigRecord>,
}

/// See [`Action::SetConfigs`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetConfigs {
    /// By owner.
    #[prost(message, repeated, tag = "1")]
    pub changes: Vec<ConfigChange>,
}

/// Where a broker can be reached.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct EndpointRecord {
    /// The listener's name, such as PLAINTEXT.
    #[prost(string, tag = "1")]
    pub listener: String,
    /// Host name or address.
    #[prost(string, tag = "2")]
    pub host: String,
    /// Port, 1 to 65535.
    #[prost(uint32, tag = "3")]
    pub port: u32,
}

/// See [`Action::RegisterBroker`]. The broker's epoch is the index of the entry that carries this, as in Kafka.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RegisterBroker {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub broker: i32,
    /// The data directory it runs on: another one is another replica (KIP-858).
    #[prost(message, required, tag = "2")]
    pub directory_id: Id,
    /// Where clients reach it.
    #[prost(message, repeated, tag = "3")]
    pub endpoints: Vec<EndpointRecord>,
    /// The rack it stands in.
    #[prost(string, optional, tag = "4")]
    pub rack: Option<String>,
    /// Does it start fenced: holds replicas, but leads nothing and gets no new ones?
    #[prost(bool, tag = "5")]
    pub fenced: bool,
    /// Where the other brokers reach it.
    #[prost(message, optional, tag = "6")]
    pub peer: Option<EndpointRecord>,
    /// How many shards it runs; 0 is 1.
    #[prost(uint32, tag = "7")]
    pub shards: u32,
    /// What becomes of the partitions that its earlier incarnation led or was in sync with.
    #[prost(message, repeated, tag = "8")]
    pub partitions: Vec<PartitionChange>,
}

/// See [`Action::AllocateProducerIds`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct AllocateProducerIds {
    /// Who gets them.
    #[prost(int32, tag = "1")]
    pub broker: i32,
    /// The first id of the block: the image's next one.
    #[prost(int64, tag = "2")]
    pub first: i64,
    /// How many.
    #[prost(int64, tag = "3")]
    pub count: i64,
}

/// See [`Action::SetFeature`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SetFeature {
    /// The feature's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its level; 0 removes it.
    #[prost(uint32, tag = "2")]
    pub level: u32,
}

/// See [`Action::FenceBrokers`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FenceBrokers {
    /// The brokers.
    #[prost(int32, repeated, tag = "1")]
    pub brokers: Vec<i32>,
    /// Fence, or unfence?
    #[prost(bool, tag = "2")]
    pub fenced: bool,
    /// What becomes of the partitions that they led, were in sync with, or can lead now.
    #[prost(message, repeated, tag = "3")]
    pub partitions: Vec<PartitionChange>,
}

/// See [`Action::BeginLeaving`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BeginLeaving {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub broker: i32,
    /// What becomes of the partitions that it led or was in sync with.
    #[prost(message, repeated, tag = "2")]
    pub partitions: Vec<PartitionChange>,
}

/// See [`Action::BindVoter`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct BindVoter {
    /// raft's name for the voter.
    #[prost(uint64, tag = "1")]
    pub raft_id: u64,
    /// Its data directory.
    #[prost(message, required, tag = "2")]
    pub directory_id: Id,
}

/// Why bytes are no command, or a command gives no bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No protobuf, or not this one.
    #[error("malformed command: {0}")]
    Malformed(String),
    /// A newer build wrote it.
    #[error("command of format {0}, newer than this build's {CHANGE_FORMAT}, or of a kind it does not know")]
    Unknown(u32),
    /// Above [`CHANGE_BYTES_MAX`].
    #[error("command of {0} bytes, at most {CHANGE_BYTES_MAX} are allowed")]
    TooLarge(usize),
    /// It can be read, and says something that no command may.
    #[error("invalid command: {0}")]
    Invalid(String),
}

impl Change {
    /// A command of this build's format.
    pub fn new(action: Action) -> Change {
        Change { format: CHANGE_FORMAT, action: Some(action) }
    }

    /// The bytes of a raft entry.
    ///
    /// # Errors
    /// [`ChangeError::TooLarge`], and [`ChangeError::Invalid`] where reading it back would say so.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ChangeError> {
        check::change(self)?;
        let bytes = self.encoded_len();
        if bytes > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge(bytes));
        }
        Ok(self.encode_to_vec())
    }

    /// Reads what [`Change::to_bytes`] gave, checking everything that can be checked without the image.
    ///
    /// # Errors
    /// Anything that this build cannot take literally.
    pub fn from_bytes(bytes: &[u8]) -> Result<Change, ChangeError> {
        if bytes.len() > CHANGE_BYTES_MAX {
            return Err(ChangeError::TooLarge(bytes.len()));
        }
        let change = Change::decode(bytes).map_err(|error| ChangeError::Malformed(error.to_string()))?;
        check::change(&change)?;
        Ok(change)
    }
}

impl From<Uuid> for Id {
    fn from(uuid: Uuid) -> Id {
        let (high, low) = uuid.as_u64_pair();
        Id { high, low }
    }
}
impl From<Id> for Uuid {
    fn from(id: Id) -> Uuid {
        Uuid::from_u64_pair(id.high, id.low)
    }
}
impl From<TopicId> for Id {
    fn from(id: TopicId) -> Id {
        id.0.into()
    }
}
impl From<Id> for TopicId {
    fn from(id: Id) -> TopicId {
        TopicId(id.into())
    }
}
impl From<BrokerId> for ConfigOwner {
    fn from(broker: BrokerId) -> ConfigOwner {
        ConfigOwner::Broker(broker.0)
    }
}

#[cfg(test)]
mod tests;
