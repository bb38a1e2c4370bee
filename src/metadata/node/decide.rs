//! From a request to a decision over it.
//!
//! *Which core*: metadata. *Invariants*: a request that only validates changes nothing.

use crate::metadata::controller::{
    Beat, Decision, Liveness, Rules, allocate_producer_ids, alter_configs, alter_isr, bind_voter, create_partitions,
    create_topics, delete_topics, elect_leaders, heartbeat, register_broker,
};
use crate::metadata::image::{BrokerEpoch, Image};
use crate::metadata::request::{Quorum, Reply, Request};
use crate::model::TopicId;

/// What a decision is made by, beside the request.
pub(super) struct Grounds<'a> {
    pub(super) image: &'a Image,
    pub(super) rules: &'a Rules,
    pub(super) liveness: &'a Liveness,
    /// Fresh ids, for what is created.
    pub(super) ids: &'a [TopicId],
    /// The first entry that a change will be.
    pub(super) index: u64,
    /// How the group stands.
    pub(super) quorum: &'a dyn Fn() -> Quorum,
}

/// Decides over a request.
pub(super) fn decide(request: &Request, grounds: &Grounds<'_>) -> Decision<Reply> {
    let Grounds { image, rules, liveness, ids, index, quorum } = *grounds;
    match request {
        Request::CreateTopics { topics, validate_only } => {
            unless(*validate_only, create_topics(image, topics, ids, rules).map(Reply::CreateTopics))
        }
        Request::DeleteTopics { topics } => delete_topics(image, topics).map(Reply::DeleteTopics),
        Request::CreatePartitions { topics, validate_only } => {
            unless(*validate_only, create_partitions(image, topics).map(Reply::CreatePartitions))
        }
        Request::AlterConfigs { resources, validate_only } => {
            unless(*validate_only, alter_configs(image, resources, rules).map(Reply::AlterConfigs))
        }
        Request::RegisterBroker(registration) => {
            let decision = register_broker(image, registration, rules);
            let last = (index + decision.changes.len() as u64).saturating_sub(1);
            let epoch = BrokerEpoch(i64::try_from(last).unwrap_or(i64::MAX));
            decision.map(|result| Reply::RegisterBroker(result.map(|()| epoch)))
        }
        Request::AllocateProducerIds { broker, epoch } => {
            allocate_producer_ids(image, *broker, *epoch).map(Reply::AllocateProducerIds)
        }
        Request::BindVoter { node, directory_id } => bind_voter(image, *node, *directory_id).map(Reply::BindVoter),
        Request::Heartbeat { broker, epoch, wants_to_leave, applied } => {
            let (broker, epoch, wants_to_leave, applied) = (*broker, *epoch, *wants_to_leave, *applied);
            let beat = Beat { broker, epoch, wants_to_leave, applied };
            heartbeat(image, beat, liveness.known_everywhere(image), rules).map(Reply::Heartbeat)
        }
        Request::AlterIsr { broker, epoch, proposals } => {
            alter_isr(image, *broker, *epoch, proposals, rules).map(Reply::AlterIsr)
        }
        Request::ElectLeaders { partitions, election } => {
            elect_leaders(image, partitions.as_deref(), *election, rules).map(Reply::ElectLeaders)
        }
        Request::DescribeQuorum => Decision { outcome: Reply::DescribeQuorum(quorum()), changes: Vec::new() },
    }
}

fn unless(validate_only: bool, decision: Decision<Reply>) -> Decision<Reply> {
    let changes = if validate_only { Vec::new() } else { decision.changes };
    Decision { changes, ..decision }
}
