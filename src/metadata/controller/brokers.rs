//! Brokers: their registration, and the producer ids they hand out.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a producer id is in one block only, for ever (lesson 70); a broker's epoch only grows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Decision;
use crate::metadata::change::{self, Action, EndpointRecord, PRODUCER_ID_BLOCK, RegisterBroker};
use crate::metadata::image::{BrokerEpoch, Endpoint, Image};
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
    let endpoint = |end: &Endpoint| EndpointRecord {
        listener: end.listener.clone(),
        host: end.host.clone(),
        port: end.port.into(),
    };
    let record = RegisterBroker {
        broker: registration.broker.0,
        directory_id: registration.directory_id.into(),
        endpoints: registration.endpoints.iter().map(endpoint).collect(),
        rack: registration.rack.clone(),
        fenced: false,
    };
    change::check_broker(&record).map_err(|error| RegisterBrokerError::Invalid(error.to_string()))?;
    Ok(change::Change::new(Action::RegisterBroker(record)))
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
    /// Who asks is not registered.
    #[error("broker {} is not registered", .0.0)]
    BrokerNotRegistered(BrokerId),
    /// Who asks is an earlier incarnation.
    #[error("broker epoch {} is stale, the broker is at {}", .asked.0, .registered.0)]
    StaleBrokerEpoch {
        /// The epoch it says it has.
        asked: BrokerEpoch,
        /// The epoch it has.
        registered: BrokerEpoch,
    },
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
    let Some(registered) = image.brokers().get(&broker).map(|broker| broker.epoch) else {
        return Decision::nothing(Err(AllocateProducerIdsError::BrokerNotRegistered(broker)));
    };
    if registered != epoch {
        return Decision::nothing(Err(AllocateProducerIdsError::StaleBrokerEpoch { asked: epoch, registered }));
    }
    let first = image.next_producer_id();
    if first.0.checked_add(PRODUCER_ID_BLOCK).is_none() {
        return Decision::nothing(Err(AllocateProducerIdsError::Exhausted));
    }
    let block = change::AllocateProducerIds { broker: broker.0, first: first.0, count: PRODUCER_ID_BLOCK };
    let outcome = Ok(ProducerIdBlock { first, count: PRODUCER_ID_BLOCK });
    Decision::propose(outcome, Action::AllocateProducerIds(block))
}
