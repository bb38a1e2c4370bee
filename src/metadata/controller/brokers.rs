//! Brokers: how they come, stay and go, and the producer ids they hand out.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a producer id is in one block only, for ever (lesson 70); a broker's epoch only grows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Decision, Rules, succession};
use crate::metadata::change::{
    self, Action, BeginLeaving, Change, FenceBrokers, PRODUCER_ID_BLOCK, PartitionChange, Reason, RegisterBroker,
};
use crate::metadata::image::{Broker, BrokerEpoch, Endpoint, Image, PeerAddress};
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
    /// Where the other brokers reach it; `None`: it has no others.
    pub peer: Option<PeerAddress>,
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

/// Decides over a registration. The broker's epoch is the index that the last change gets in the log.
///
/// Who comes back is a new incarnation: what it led it leads no more, and where others are in sync it has to show that it is, too. It
/// keeps its place in what it held alone and where it is eligible, for it has claimed only what it had flushed; unless it comes on
/// another disk. It is fenced until it has seen itself in the metadata. A broker that is alone goes on as if nothing had been.
pub fn register_broker(
    image: &Image,
    registration: &BrokerRegistration,
    rules: &Rules,
) -> Decision<Result<(), RegisterBrokerError>> {
    let BrokerRegistration { broker: id, directory_id, endpoints, rack, peer, shards } = registration.clone();
    let is_alone = image.voters().len() <= 1 && image.brokers().keys().all(|known| *known == id);
    let earlier = image.brokers().get(&id);
    let lost = earlier.filter(|earlier| earlier.directory_id != directory_id).map(|earlier| earlier.id);
    let record = RegisterBroker::of(&Broker {
        id,
        epoch: BrokerEpoch(0),
        directory_id,
        endpoints,
        rack,
        peer,
        shards,
        fenced: !is_alone,
        leaving: None,
    });
    if let Err(error) = change::check_broker(&record) {
        return Decision::nothing(Err(RegisterBrokerError::Invalid(error.to_string())));
    }
    let lives = |other| if other == id { is_alone } else { image.lives(other) };
    let partitions = succession::settle_all(image, rules, lives, lost);
    let register = |partitions| Action::RegisterBroker(RegisterBroker { partitions, ..record });
    Decision { outcome: Ok(()), changes: succession::commands(partitions, register) }
}

/// Decides over brokers that were not heard for too long.
pub fn fence_brokers(image: &Image, silent: &[BrokerId], rules: &Rules) -> Vec<Change> {
    let lives = |broker| image.lives(broker) && !silent.contains(&broker);
    fence(silent, true, succession::settle_all(image, rules, lives, None))
}

fn fence(brokers: &[BrokerId], fenced: bool, partitions: Vec<PartitionChange>) -> Vec<Change> {
    let brokers = brokers.iter().map(|broker| broker.0).collect();
    succession::commands(partitions, |partitions| Action::FenceBrokers(FenceBrokers { brokers, fenced, partitions }))
}

/// What follows from who lives, where a controller before this one has not seen to it.
pub fn settle(image: &Image, rules: &Rules) -> Vec<Change> {
    let partitions = succession::settle_all(image, rules, |broker| image.lives(broker), None);
    succession::changes(partitions, Reason::Reconfigured)
}

/// What a broker hears that has said that it lives.
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

/// What a broker says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Who.
    pub broker: BrokerId,
    /// In which incarnation.
    pub epoch: BrokerEpoch,
    /// Does it want to stop, once it leads nothing?
    pub wants_to_leave: bool,
    /// The version of the image that all of it acts on.
    pub applied: u64,
}

/// Decides over a heartbeat. `known_everywhere` is the version that all live brokers act on: only when they know who leads
/// instead may a broker that leaves be gone.
pub fn heartbeat(
    image: &Image,
    beat: Beat,
    known_everywhere: u64,
    rules: &Rules,
) -> Decision<Result<Heartbeat, IncarnationError>> {
    let id = beat.broker;
    let broker = match incarnation(image, id, beat.epoch) {
        Ok(broker) => broker,
        Err(error) => return Decision::nothing(Err(error)),
    };
    let stands = |fenced, may_leave| Ok(Heartbeat { fenced, may_leave });
    match broker.leaving {
        _ if broker.fenced && (beat.wants_to_leave || broker.leaving.is_some()) => {
            Decision::nothing(stands(true, true))
        }
        None if beat.wants_to_leave => {
            let lives = |other| image.lives(other) && other != id;
            let partitions = succession::settle_all(image, rules, lives, None);
            let leave = |partitions| Action::BeginLeaving(BeginLeaving { broker: id.0, partitions });
            Decision { outcome: stands(false, false), changes: succession::commands(partitions, leave) }
        }
        Some(since) if known_everywhere >= since => {
            Decision { outcome: stands(true, true), changes: fence(&[id], true, Vec::new()) }
        }
        None if broker.fenced && i64::try_from(beat.applied).is_ok_and(|applied| applied >= broker.epoch.0) => {
            let partitions = succession::settle_all(image, rules, |other| image.lives(other) || other == id, None);
            Decision { outcome: stands(false, false), changes: fence(&[id], false, partitions) }
        }
        Some(_) | None => Decision::nothing(stands(broker.fenced, false)),
    }
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
