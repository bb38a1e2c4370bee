//! The controller's decisions: a client's wish and the image in; what to propose, and what to tell the client, out.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: changes that are decided here apply, in order, to the image they were decided over; one request gives at most
//! one, but for partitions that one command can't hold; a wish that fails changes nothing, and the others of the same request are not touched by it.
//! *Not here*: when a decision counts (the node answers once it is committed and known everywhere), Kafka's error codes (api).
//! *Why* the order of the checks and the words of the messages are Kafka's: tools and tests of users match on them.
//! Source: Kafka 4.1, `ReplicationControlManager`, `ConfigurationControlManager`, `ControllerApis`.

use std::time::Duration;

use crate::metadata::change::{Action, Change};
use crate::metadata::image::Configs;

mod brokers;
mod configs;
mod elections;
mod isr;
mod liveness;
mod names;
mod partitions;
mod placement;
mod succession;
mod topics;
mod voters;

pub use brokers::{
    AllocateProducerIdsError, Beat, BrokerRegistration, Heartbeat, IncarnationError, ProducerIdBlock,
    RegisterBrokerError, allocate_producer_ids, fence_brokers, heartbeat, register_broker, settle,
};
pub use configs::{AlterConfigsError, ConfigAlteration, ConfigOperation, ConfigTarget, ConfigVerb, alter_configs};
pub use elections::{ElectLeaderError, ElectLeadersOutcome, Election, PartitionName, balance, elect_leaders};
pub use isr::alter_isr;
pub use liveness::Liveness;
pub use names::{CLUSTER_METADATA, TOPIC_NAME_BYTES_MAX};
pub use partitions::{CreatePartitionsError, PartitionIncrease, create_partitions};
pub use topics::{
    CreateTopicError, CreatedTopic, DeleteTopicError, DeletedTopic, ManualAssignment, NewTopic, TopicRef,
    create_topics, delete_topics,
};

pub use voters::{BindVoterError, bind_voter};

/// Partitions that one request may create (Kafka's `MAX_PARTITIONS_PER_BATCH`).
pub const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// What the decisions are made by, beside the image: settings of this broker and the table of configs.
#[derive(Clone, Copy)]
pub struct Rules {
    /// `num.partitions`.
    pub partitions_default: i32,
    /// `default.replication.factor`.
    pub replication_factor_default: i16,
    /// `min.insync.replicas` of topics that have none of their own.
    pub min_insync_replicas_default: usize,
    /// How long a broker may be silent before it is fenced.
    pub session: Duration,
    /// How often leaders are brought back to where they are preferred; `None`: never.
    pub balance_interval: Option<Duration>,
    /// May a topic have this config with this value? If not, why.
    pub check_topic_config: ConfigCheck,
    /// May it have all of these together?
    pub check_topic_configs: fn(&Configs) -> Result<(), String>,
    /// May a broker's dynamic configs have it?
    pub check_broker_config: ConfigCheck,
    /// The default of a config that is a list; `None` if it is none.
    pub list_default: fn(&str) -> Option<&'static str>,
}

/// Says why a config (name, value) is refused.
pub type ConfigCheck = fn(&str, &str) -> Result<(), String>;

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Rules { partitions_default, replication_factor_default, .. } = self;
        write!(f, "Rules {{ partitions: {partitions_default}, replication factor: {replication_factor_default} }}")
    }
}

/// What to propose, if anything, and what to tell the client once that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<T> {
    /// For the client.
    pub outcome: T,
    /// For the log, in order; none: nothing changes.
    pub changes: Vec<Change>,
}

impl<T> Decision<T> {
    fn nothing(outcome: T) -> Decision<T> {
        Decision { outcome, changes: Vec::new() }
    }

    fn propose(outcome: T, action: Action) -> Decision<T> {
        Decision { outcome, changes: vec![Change::new(action)] }
    }

    /// The same decision with another form of outcome.
    pub fn map<U>(self, form: impl FnOnce(T) -> U) -> Decision<U> {
        Decision { outcome: form(self.outcome), changes: self.changes }
    }
}

/// Names that occur more than once, in order of their second occurrence.
fn duplicates<'a, T: Ord + 'a>(items: impl Iterator<Item = &'a T>) -> Vec<&'a T> {
    let (mut seen, mut twice) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    items.filter(|item| !seen.insert(*item) && twice.insert(*item)).collect()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod transcripts;
