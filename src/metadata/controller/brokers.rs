//! Brokers: their registration, and the producer ids they hand out.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a producer id is in one block only, for ever (lesson 70); a broker's epoch only grows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Decision;
use crate::metadata::change::{self, Action, PRODUCER_ID_BLOCK, RegisterBroker};
use crate::metadata::image::{Broker, BrokerEpoch, Endpoint, Image};
use crate::model::{BrokerId, ProducerId};

/// A broker that takes its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokerRegistration {
    /// Who.
    pub broker: BrokerId,
    /// On which data directory.
    pub directory_id: Uuid,
    /// Where clients reach it.
    pub endpoints: Vec<Endpoint>,
    /// The rack it stands in.
    pub rack: Option<String>,
    /// Where the other brokers reach it: host and port; `None`: it has no others.
    pub peer: Option<(String, u16)>,
    /// How many shards it runs.
    pub shards: u32,
}

/// Why a broker is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterBrokerError {
    /// No id, no directory, or an endpoint that nobody could connect to.
    #[error("{0}")]
    Invalid(String),
}

/// Decides over a registration. The broker's epoch is the index that the change gets in the log.
///
/// # Errors
/// As [`RegisterBrokerError`] says.
pub fn register_broker(registration: &BrokerRegistration) -> Result<change::Change, RegisterBrokerError> {
    let BrokerRegistration { broker, directory_id, endpoints, rack, peer, shards } = registration.clone();
    let epoch = BrokerEpoch(0);
    let record = RegisterBroker::of(&Broker {
        id: broker,
        epoch,
        directory_id,
        endpoints,
        rack,
        peer,
        shards,
        fenced: false,
        leaving: false,
    });
    change::check_broker(&record).map_err(|error| RegisterBrokerError::Invalid(error.to_string()))?;
    Ok(change::Change::new(Action::RegisterBroker(record)))
}

/// A broker lives, and says how far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// May it lead nothing, as it is fenced?
    pub fenced: bool,
    /// It may stop: it leads nothing, and everybody knows.
    pub may_leave: bool,
}

/// Why a broker's word does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum IncarnationError {
    /// It is not registered.
    #[error("broker {} is not registered", .0.0)]
    NotRegistered(BrokerId),
    /// It is an earlier incarnation.
    #[error("broker epoch {} is stale, the broker is at {}", .asked.0, .registered.0)]
    StaleBrokerEpoch {
        /// The epoch it says it has.
        asked: BrokerEpoch,
        /// The epoch it has.
        registered: BrokerEpoch,
    },
}

/// The broker, if this is its present incarnation.
pub(super) fn incarnation(image: &Image, broker: BrokerId, epoch: BrokerEpoch) -> Result<&Broker, IncarnationError> {
    let registered = image.brokers().get(&broker).ok_or(IncarnationError::NotRegistered(broker))?;
    if registered.epoch != epoch {
        return Err(IncarnationError::StaleBrokerEpoch { asked: epoch, registered: registered.epoch });
    }
    Ok(registered)
}

/// Decides over a heartbeat.
pub fn heartbeat(image: &Image, broker: BrokerId, epoch: BrokerEpoch) -> Decision<Result<Heartbeat, IncarnationError>> {
    let registered = incarnation(image, broker, epoch);
    Decision::nothing(registered.map(|broker| Heartbeat { fenced: broker.fenced, may_leave: false }))
}

/// Producer ids that one broker may hand out, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: ProducerId,
    /// How many.
    pub count: i64,
}

/// Why a broker gets no producer ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AllocateProducerIdsError {
    /// Who asks is no broker, or not any more.
    #[error(transparent)]
    Incarnation(#[from] IncarnationError),
    /// There are none left.
    #[error("no producer ids left")]
    Exhausted,
}

/// Decides over a block of producer ids.
pub fn allocate_producer_ids(
    image: &Image,
    broker: BrokerId,
    epoch: BrokerEpoch,
) -> Decision<Result<ProducerIdBlock, AllocateProducerIdsError>> {
    if let Err(error) = incarnation(image, broker, epoch) {
        return Decision::nothing(Err(error.into()));
    }
    let first = image.next_producer_id();
    if first.0.checked_add(PRODUCER_ID_BLOCK).is_none() {
        return Decision::nothing(Err(AllocateProducerIdsError::Exhausted));
    }
    let block = change::AllocateProducerIds { broker: broker.0, first: first.0, count: PRODUCER_ID_BLOCK };
    let outcome = Ok(ProducerIdBlock { first, count: PRODUCER_ID_BLOCK });
    Decision::propose(outcome, Action::AllocateProducerIds(block))
}
