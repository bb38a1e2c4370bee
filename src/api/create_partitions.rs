//! CreatePartitions (API 37).
//!
//! *Behaviour*: a topic's number of partitions grows to the given count; never shrinks.
//! *Versions*: 0 to 3.

use std::rc::Rc;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::error::{Code, KafkaCode};
use crate::broker::{Broker, timeout};
use crate::metadata::controller::PartitionIncrease;
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::BrokerId;

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, request: CreatePartitionsRequest) -> CreatePartitionsResponse {
    let names: Vec<String> = request.topics.iter().map(|topic| topic.name.to_string()).collect();
    let topics = request.topics.into_iter().map(wish).collect();
    let wish = Request::CreatePartitions { topics, validate_only: request.validate_only };
    let outcomes = broker.change_metadata(wish, timeout(request.timeout_ms)).await.and_then(|reply| match reply {
        Reply::CreatePartitions(outcomes) => Ok(outcomes),
        _ => Err(SubmitError::Unknown),
    });
    let results = match outcomes {
        Ok(outcomes) => outcomes
            .into_iter()
            .map(|(name, outcome)| result(name, outcome.err().map(|error| (error.code(), error.to_string()))))
            .collect(),
        Err(error) => names.into_iter().map(|name| result(name, Some((error.code(), error.to_string())))).collect(),
    };
    CreatePartitionsResponse::default().with_results(results)
}

fn wish(topic: CreatePartitionsTopic) -> PartitionIncrease {
    let brokers = |ids: Vec<kafka_protocol::messages::BrokerId>| ids.into_iter().map(|id| BrokerId(id.0)).collect();
    PartitionIncrease {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.map(|all| all.into_iter().map(|one| brokers(one.broker_ids)).collect()),
    }
}

fn result(name: String, refusal: Option<(Code, String)>) -> CreatePartitionsTopicResult {
    let result = CreatePartitionsTopicResult::default().with_name(TopicName(StrBytes::from_string(name)));
    match refusal {
        Some((code, message)) => result.with_error_code(code).with_error_message(Some(StrBytes::from_string(message))),
        None => result.with_error_message(None),
    }
}
