//! ElectLeaders (API 43).
//!
//! *Behaviour*: a preferred leader takes over where it is in sync; an unclean election gives a leader to what has none, whatever the
//! topic's config says, for the operator has asked for it (KIP-460). Answered once this broker acts on it.
//! *Versions*: 0 to 2. Version 0 knows preferred leaders only.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::Head;
use crate::api::error::{self, Code, KafkaCode};
use crate::broker::{Broker, timeout};
use crate::metadata::controller::{Election, PartitionName};
use crate::metadata::request::{Reply, Request, SubmitError};

/// What became of one partition; `None`: its leader was elected.
type Outcome = (PartitionName, Option<(Code, String)>);

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, head: Head, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let partitions: Option<Vec<PartitionName>> = request.topic_partitions.map(|topics| {
        let named = topics.into_iter().flat_map(|of| {
            let topic = of.topic.to_string();
            of.partitions.into_iter().map(move |partition| (topic.clone(), partition))
        });
        named.collect()
    });
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        other => {
            let code = ResponseError::InvalidRequest.code();
            return refuse(head, partitions, code, &format!("there is no election of type {other}"));
        }
    };
    let wish = Request::ElectLeaders { partitions: partitions.clone(), election };
    match broker.change_metadata(wish, timeout(request.timeout_ms)).await {
        Ok(Reply::ElectLeaders(outcomes)) => {
            let refusals = outcomes
                .into_iter()
                .map(|(name, outcome)| (name, outcome.err().map(|error| (error.code(), error.to_string()))));
            respond(head, error::NONE, &refusals.collect::<Vec<_>>())
        }
        Ok(_) => refuse(head, partitions, SubmitError::Unknown.code(), &SubmitError::Unknown.to_string()),
        Err(error) => refuse(head, partitions, error.code(), &error.to_string()),
    }
}

fn refuse(head: Head, partitions: Option<Vec<PartitionName>>, code: Code, reason: &str) -> ElectLeadersResponse {
    let refused = partitions.into_iter().flatten().map(|name| (name, Some((code, reason.to_owned()))));
    respond(head, code, &refused.collect::<Vec<_>>())
}

/// Version 0 has no code for the whole.
fn respond(head: Head, code: Code, outcomes: &[Outcome]) -> ElectLeadersResponse {
    let topics = outcomes.chunk_by(|(a, _), (b, _)| a.0 == b.0).map(|of_topic| {
        let topic = TopicName(StrBytes::from_string(of_topic[0].0.0.clone()));
        ReplicaElectionResult::default().with_topic(topic).with_partition_result(of_topic.iter().map(result).collect())
    });
    ElectLeadersResponse::default()
        .with_error_code(if head.version >= 1 { code } else { error::NONE })
        .with_replica_election_results(topics.collect())
}

fn result(((_, partition), refusal): &Outcome) -> PartitionResult {
    let result = PartitionResult::default().with_partition_id(*partition).with_error_message(None);
    match refusal {
        Some((code, reason)) => {
            result.with_error_code(*code).with_error_message(Some(StrBytes::from_string(reason.clone())))
        }
        None => result,
    }
}
