//! What the metadata core can be asked, and what it answers: plain data that crosses cores.
//!
//! *Which core*: any.
//! *Invariants*: a reply is given once its change is committed, applied, and acknowledged by every subscriber; so is a refusal
//! that rests on a change which was not yet committed when it was decided.
//! Both travel between brokers as postcard writes them: variants are only ever appended.
//! *Not here*: decisions (controller), Kafka's error codes (api).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::metadata::controller::{
    AllocateProducerIdsError, AlterConfigsError, BindVoterError, BrokerRegistration, ConfigAlteration, ConfigTarget,
    CreatePartitionsError, CreateTopicError, CreatedTopic, DeleteTopicError, DeletedTopic, ElectLeadersOutcome,
    Election, Heartbeat, IncarnationError, NewTopic, PartitionIncrease, PartitionName, ProducerIdBlock,
    RegisterBrokerError, TopicRef,
};
use crate::metadata::image::BrokerEpoch;
use crate::model::BrokerId;
use crate::partition::IsrProposal;
use crate::partition::isr::IsrAnswer;

/// A wish. `validate_only`: say what would be, and change nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// New topics.
    CreateTopics {
        /// The topics.
        topics: Vec<NewTopic>,
        /// Only say what would be.
        validate_only: bool,
    },
    /// Topics to delete.
    DeleteTopics {
        /// By name or id.
        topics: Vec<TopicRef>,
    },
    /// More partitions.
    CreatePartitions {
        /// By topic.
        topics: Vec<PartitionIncrease>,
        /// Only say what would be.
        validate_only: bool,
    },
    /// Other configs.
    AlterConfigs {
        /// By resource.
        resources: Vec<ConfigAlteration>,
        /// Only say what would be.
        validate_only: bool,
    },
    /// A broker's incarnation takes its place.
    RegisterBroker(BrokerRegistration),
    /// A block of producer ids.
    AllocateProducerIds {
        /// For whom.
        broker: BrokerId,
        /// In which incarnation.
        epoch: BrokerEpoch,
    },
    /// A voter shows up.
    BindVoter {
        /// The broker.
        node: BrokerId,
        /// Its data directory.
        directory_id: Uuid,
    },
    /// A broker lives.
    Heartbeat {
        /// Who.
        broker: BrokerId,
        /// In which incarnation.
        epoch: BrokerEpoch,
        /// Does it want to stop, once it leads nothing?
        wants_to_leave: bool,
        /// The version of the image that all of it acts on.
        applied: u64,
    },
    /// Other in-sync replicas.
    AlterIsr {
        /// The broker that leads them.
        broker: BrokerId,
        /// In which incarnation.
        epoch: BrokerEpoch,
        /// By partition.
        proposals: Vec<IsrProposal>,
    },
    /// Other leaders, because an operator wants them.
    ElectLeaders {
        /// Of which partitions; `None`: of all.
        partitions: Option<Vec<PartitionName>>,
        /// Which leaders.
        election: Election,
    },
    /// How the metadata group stands: nothing changes.
    DescribeQuorum,
}

/// The answer to the [`Request`] of the same name; one outcome for each thing that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// By name.
    CreateTopics(Vec<(String, Result<CreatedTopic, CreateTopicError>)>),
    /// By name or id.
    DeleteTopics(Vec<(TopicRef, Result<DeletedTopic, DeleteTopicError>)>),
    /// By name.
    CreatePartitions(Vec<(String, Result<(), CreatePartitionsError>)>),
    /// By resource.
    AlterConfigs(Vec<(ConfigTarget, Result<(), AlterConfigsError>)>),
    /// The incarnation's epoch.
    RegisterBroker(Result<BrokerEpoch, RegisterBrokerError>),
    /// The block.
    AllocateProducerIds(Result<ProducerIdBlock, AllocateProducerIdsError>),
    /// From now on its voice counts.
    BindVoter(Result<(), BindVoterError>),
    /// How it stands with the broker.
    Heartbeat(Result<Heartbeat, IncarnationError>),
    /// What became of each proposal, in the request's order.
    AlterIsr(Result<Vec<IsrAnswer>, IncarnationError>),
    /// By partition.
    ElectLeaders(ElectLeadersOutcome),
    /// As its leader sees it.
    DescribeQuorum(Quorum),
}

/// The metadata group, as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// The leader.
    pub leader: BrokerId,
    /// Its term.
    pub term: u64,
    /// Index of the last committed entry.
    pub committed_index: u64,
    /// The members, by id.
    pub voters: Vec<QuorumVoter>,
}

/// A member of the metadata group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumVoter {
    /// Who.
    pub node: BrokerId,
    /// On which data directory, if it has shown up.
    pub directory_id: Option<Uuid>,
    /// Index of the last entry that is durable there, as far as the leader knows.
    pub durable_index: u64,
    /// When the leader last heard of it, ms ago; `None`: not in this term.
    pub heard_ms_ago: Option<u64>,
    /// When it last had everything that the leader had, ms ago; `None`: not in this term.
    pub caught_up_ms_ago: Option<u64>,
}

/// Why a request was not decided, or its outcome is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SubmitError {
    /// Another broker decides, or none yet: nothing was changed; ask again, there if it is known.
    #[error("not the controller")]
    NotController {
        /// Who is, if known.
        controller: Option<BrokerId>,
    },
    /// Too much is waiting already: nothing was changed.
    #[error("too many metadata requests in flight")]
    Busy,
    /// More than one command can hold: nothing was changed.
    #[error("the request is too large: {0}")]
    TooLarge(String),
    /// Leadership was lost in between: the change may come to pass or not.
    #[error("leadership was lost, the outcome is unknown")]
    Unknown,
    /// The node stops, or has failed: the change may come to pass or not.
    #[error("the metadata node is stopping")]
    Stopping,
}
