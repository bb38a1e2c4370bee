//! DescribeQuorum (API 55).
//!
//! *Behaviour*: the metadata group as its leader sees it, whichever broker is asked: who leads, and how far each voter has flushed. It
//! has Kafka's name, `__cluster_metadata`, and one partition. Every broker that knows the metadata votes, so nobody only observes.
//! *Versions*: 0 to 2.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_quorum_request::TopicData as AskedTopic;
use kafka_protocol::messages::describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData};
use kafka_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::api::Head;
use crate::api::error::KafkaCode;
use crate::api::metadata::wire;
use crate::broker::{Broker, UNTIMED_WAIT};
use crate::metadata::controller::CLUSTER_METADATA;
use crate::metadata::image::Image;
use crate::metadata::request::{Quorum, QuorumVoter, Reply, Request, SubmitError};

/// From here on answers name directories, nodes and reasons.
const DIRECTORIES_FROM: i16 = 2;
/// From here on answers tell times.
const TIMES_FROM: i16 = 1;
const UNKNOWN_TIME: i64 = -1;

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, head: Head, request: DescribeQuorumRequest) -> DescribeQuorumResponse {
    if !is_known(&request.topics) {
        return DescribeQuorumResponse::default().with_topics(request.topics.into_iter().map(unknown).collect());
    }
    let error = match broker.change_metadata(Request::DescribeQuorum, UNTIMED_WAIT).await {
        Ok(Reply::DescribeQuorum(quorum)) => return describe(head, &quorum, &broker.image(), broker.rt.wall_ms()),
        Ok(_) => SubmitError::Unknown,
        Err(error) => error,
    };
    let response = DescribeQuorumResponse::default().with_error_code(error.code());
    if head.version < DIRECTORIES_FROM {
        return response;
    }
    response.with_error_message(Some(StrBytes::from_string(error.to_string())))
}

fn is_known(topics: &[AskedTopic]) -> bool {
    let [topic] = topics else { return false };
    topic.topic_name.as_str() == CLUSTER_METADATA && matches!(&topic.partitions[..], [one] if one.partition_index == 0)
}

fn unknown(topic: AskedTopic) -> TopicData {
    let code = ResponseError::UnknownTopicOrPartition.code();
    let partitions = topic
        .partitions
        .into_iter()
        .map(|asked| PartitionData::default().with_partition_index(asked.partition_index).with_error_code(code));
    TopicData::default().with_topic_name(topic.topic_name).with_partitions(partitions.collect())
}

fn describe(head: Head, quorum: &Quorum, image: &Image, now_ms: i64) -> DescribeQuorumResponse {
    let voters = quorum.voters.iter().map(|voter| state(head, voter, now_ms));
    let partition = PartitionData::default()
        .with_leader_id(wire(quorum.leader))
        .with_leader_epoch(i32::try_from(quorum.term).unwrap_or(i32::MAX))
        .with_high_watermark(end_offset(quorum.committed_index))
        .with_current_voters(voters.collect());
    let topic = TopicData::default()
        .with_topic_name(TopicName(StrBytes::from_static_str(CLUSTER_METADATA)))
        .with_partitions(vec![partition]);
    let response = DescribeQuorumResponse::default().with_topics(vec![topic]);
    if head.version < DIRECTORIES_FROM {
        return response;
    }
    response.with_nodes(quorum.voters.iter().filter_map(|voter| node(voter, image)).collect())
}

fn state(head: Head, voter: &QuorumVoter, now_ms: i64) -> ReplicaState {
    let time = |ms_ago: Option<u64>| match ms_ago.and_then(|ms| i64::try_from(ms).ok()) {
        Some(ms_ago) if head.version >= TIMES_FROM => now_ms - ms_ago,
        _ => UNKNOWN_TIME,
    };
    let directory_id = voter.directory_id.filter(|_| head.version >= DIRECTORIES_FROM);
    ReplicaState::default()
        .with_replica_id(wire(voter.node))
        .with_replica_directory_id(directory_id.unwrap_or(Uuid::nil()))
        .with_log_end_offset(end_offset(voter.durable_index))
        .with_last_fetch_timestamp(time(voter.heard_ms_ago))
        .with_last_caught_up_timestamp(time(voter.caught_up_ms_ago))
}

/// Where the voter can be asked, this request included: by the same listener as everything else.
fn node(voter: &QuorumVoter, image: &Image) -> Option<Node> {
    let listeners = image.brokers().get(&voter.node)?.endpoints.iter().map(|endpoint| {
        Listener::default()
            .with_name(StrBytes::from_string(endpoint.listener.clone()))
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(endpoint.port)
    });
    Some(Node::default().with_node_id(wire(voter.node)).with_listeners(listeners.collect()))
}

/// Entries are counted from 1; an end is the first that is not included.
fn end_offset(last_index: u64) -> i64 {
    i64::try_from(last_index).map_or(i64::MAX, |index| index.saturating_add(1))
}
