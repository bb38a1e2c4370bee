//! From a request to a decision over it.
//!
//! *Which core*: metadata. *Invariants*: a request that only validates changes nothing.

use crate::metadata::change::Change;
use crate::metadata::controller::{
    Decision, Rules, allocate_producer_ids, alter_configs, alter_isr, bind_voter, create_partitions, create_topics,
    delete_topics, heartbeat, register_broker,
};
use crate::metadata::image::{BrokerEpoch, Image};
use crate::metadata::request::{Reply, Request};
use crate::model::TopicId;

/// Decides over a request; a change will be entry `index`.
pub(super) fn decide(image: &Image, request: &Request, ids: &[TopicId], index: u64, rules: &Rules) -> Decision<Reply> {
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
            let change: Result<Change, _> = register_broker(registration);
            let epoch = BrokerEpoch(i64::try_from(index).unwrap_or(i64::MAX));
            let outcome = Reply::RegisterBroker(change.as_ref().map(|_| epoch).map_err(Clone::clone));
            Decision { outcome, change: change.ok() }
        }
        Request::AllocateProducerIds { broker, epoch } => {
            allocate_producer_ids(image, *broker, *epoch).map(Reply::AllocateProducerIds)
        }
        Request::BindVoter { node, directory_id } => bind_voter(image, *node, *directory_id).map(Reply::BindVoter),
        Request::Heartbeat { broker, epoch, .. } => heartbeat(image, *broker, *epoch).map(Reply::Heartbeat),
        Request::AlterIsr { broker, epoch, proposals } => {
            alter_isr(image, *broker, *epoch, proposals).map(Reply::AlterIsr)
        }
    }
}

fn unless(validate_only: bool, decision: Decision<Reply>) -> Decision<Reply> {
    Decision { change: decision.change.filter(|_| !validate_only), ..decision }
}
