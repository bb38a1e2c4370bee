//! Metadata (API 3).
//!
//! *Behaviour*: brokers, topics, partitions with leader and ISR, from the image; a missing topic is created if the request and
//! `auto.create.topics.enable` both allow it, and is then there when the answer arrives.
//! *Versions*: 0 to 13. From 10 on topics may be named by id; 13 may answer with a top-level error.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId as WireBrokerId, MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::Head;
use crate::api::create_topics;
use crate::api::error::{self, Code};
use crate::broker::Broker;
use crate::metadata::image::{Broker as RegisteredBroker, Image, Partition, Topic};
use crate::model::{BrokerId, TopicId};

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, head: Head, request: MetadataRequest) -> MetadataResponse {
    // Version 0 says "all topics" by an empty list, later ones by null.
    let wanted = request.topics.filter(|topics| head.version > 0 || !topics.is_empty());
    let auto_create = request.allow_auto_topic_creation || head.version < 4;
    let mut refused = Vec::new();
    if let Some(topics) = wanted.as_ref().filter(|_| auto_create) {
        let image = broker.image();
        let names = topics.iter().filter(|topic| topic.topic_id.is_nil()).filter_map(|topic| topic.name.as_ref());
        let missing: Vec<String> = names
            .map(|name| name.as_str())
            .filter(|name| image.topic_by_name(name).is_none())
            .map(String::from)
            .collect();
        drop(image);
        if !missing.is_empty() {
            refused = create_topics::automatically(broker, missing).await;
        }
    }
    let image = broker.image();
    let topics = match wanted {
        None => image.topics().map(|topic| describe(&image, topic)).collect(),
        Some(topics) => topics.into_iter().map(|topic| find(&image, head, topic, &refused)).collect(),
    };
    respond(&image, topics)
}

fn respond(image: &Image, topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
    let brokers = image.brokers().values().filter(|registered| !registered.fenced).map(|registered| {
        MetadataResponseBroker::default()
            .with_node_id(wire(registered.id))
            .with_host(StrBytes::from_string(host(registered)))
            .with_port(port(registered))
            .with_rack(registered.rack.clone().map(StrBytes::from_string))
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id().to_string())))
        .with_controller_id(image.controller().map_or_else(|| WireBrokerId(-1), wire))
        .with_topics(topics)
}

fn find(image: &Image, head: Head, wanted: MetadataRequestTopic, refused: &[(String, Code)]) -> MetadataResponseTopic {
    let MetadataRequestTopic { topic_id: id, name, .. } = wanted;
    let (topic, missing) = match &name {
        Some(name) if id.is_nil() => {
            let code = refused.iter().find(|(refused, _)| refused == name.as_str()).map(|(_, code)| *code);
            (image.topic_by_name(name.as_str()), code.unwrap_or(ResponseError::UnknownTopicOrPartition.code()))
        }
        _ => (image.topic(TopicId(id)), ResponseError::UnknownTopicId.code()),
    };
    match topic {
        Some(topic) => describe(image, topic),
        // Versions before 12 have no null name.
        None => MetadataResponseTopic::default()
            .with_error_code(missing)
            .with_topic_id(id)
            .with_name(name.or_else(|| (head.version < 12).then(TopicName::default))),
    }
}

fn describe(image: &Image, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().map(|(index, partition)| {
        MetadataResponsePartition::default()
            .with_error_code(leader_code(partition))
            .with_partition_index(*index)
            .with_leader_id(wire_leader(partition))
            .with_leader_epoch(partition.leader_epoch.0)
            .with_replica_nodes(wire_all(&partition.replicas))
            .with_isr_nodes(wire_all(&partition.isr))
            .with_offline_replicas(offline_replicas(image, partition).map(wire).collect())
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(topic.id.0)
        .with_partitions(partitions.collect())
}

/// What a partition's row says of its leader.
pub(super) fn leader_code(partition: &Partition) -> Code {
    if partition.leader.is_some() { error::NONE } else { ResponseError::LeaderNotAvailable.code() }
}

/// Replicas of brokers that are not there.
pub(super) fn offline_replicas<'a>(image: &'a Image, partition: &'a Partition) -> impl Iterator<Item = BrokerId> + 'a {
    let is_offline = |id: &BrokerId| image.brokers().get(id).is_none_or(|broker| broker.fenced);
    partition.replicas.iter().copied().filter(is_offline)
}

pub(super) fn wire(id: BrokerId) -> WireBrokerId {
    WireBrokerId(id.0)
}

pub(super) fn wire_all(ids: &[BrokerId]) -> Vec<WireBrokerId> {
    ids.iter().copied().map(wire).collect()
}

pub(super) fn wire_leader(partition: &Partition) -> WireBrokerId {
    partition.leader.map_or(WireBrokerId(-1), wire)
}

/// Where clients reach a broker.
pub(super) fn host(broker: &RegisteredBroker) -> String {
    broker.endpoints.first().map(|endpoint| endpoint.host.clone()).unwrap_or_default()
}

/// Where clients reach a broker.
pub(super) fn port(broker: &RegisteredBroker) -> i32 {
    broker.endpoints.first().map_or(-1, |endpoint| i32::from(endpoint.port))
}
