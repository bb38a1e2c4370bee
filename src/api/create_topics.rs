//! CreateTopics (API 19), and the automatic creation that Metadata asks for.
//!
//! *Behaviour*: all topics of a request in one metadata command; answered once every shard of this broker knows them.
//! *Versions*: 2 to 7.

use std::rc::Rc;
use std::time::Duration;

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::Head;
use crate::api::error::{self, Code, KafkaCode};
use crate::broker::{Broker, UNTIMED_WAIT, timeout};
use crate::config::topic::describe;
use crate::metadata::controller::{CreateTopicError, CreatedTopic, ManualAssignment, NewTopic};
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::BrokerId;

/// What became of one topic.
type Outcome = (String, Result<CreatedTopic, CreateTopicError>);

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, head: Head, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let names: Vec<TopicName> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let topics = request.topics.into_iter().map(wish).collect();
    let results = match create(broker, topics, request.validate_only, timeout(request.timeout_ms)).await {
        Ok(outcomes) => outcomes.into_iter().map(|(name, outcome)| result(broker, head, name, outcome)).collect(),
        Err(error) => names.into_iter().map(|name| refusal(name, error.code(), error.to_string())).collect(),
    };
    CreateTopicsResponse::default().with_topics(results)
}

/// Creates topics that a Metadata request named, with the broker's defaults. Returns the names that were refused, and why.
pub async fn automatically(broker: &Rc<Broker>, names: Vec<String>) -> Vec<(String, Code)> {
    if !broker.config.broker.auto_create_topics_enable {
        return Vec::new();
    }
    let wish = |name: &String| NewTopic {
        name: name.clone(),
        partitions: -1,
        replication_factor: -1,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    match create(broker, names.iter().map(wish).collect(), false, UNTIMED_WAIT).await {
        Ok(outcomes) => {
            let refused = outcomes.into_iter().filter_map(|(name, outcome)| match outcome {
                // Somebody else was quicker: it is there.
                Ok(_) | Err(CreateTopicError::AlreadyExists(_)) => None,
                Err(error) => Some((name, error.code())),
            });
            refused.collect()
        }
        Err(error) => names.into_iter().map(|name| (name, error.code())).collect(),
    }
}

async fn create(
    broker: &Rc<Broker>,
    topics: Vec<NewTopic>,
    validate_only: bool,
    wait: Duration,
) -> Result<Vec<Outcome>, SubmitError> {
    match broker.change_metadata(Request::CreateTopics { topics, validate_only }, wait).await? {
        Reply::CreateTopics(outcomes) => Ok(outcomes),
        _ => Err(SubmitError::Unknown),
    }
}

fn wish(topic: CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.into_iter().map(|assignment| ManualAssignment {
        partition: assignment.partition_index,
        brokers: assignment.broker_ids.into_iter().map(|id| BrokerId(id.0)).collect(),
    });
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: topic.configs.into_iter().map(|c| (c.name.to_string(), c.value.map(|v| v.to_string()))).collect(),
    }
}

fn result(
    broker: &Broker,
    head: Head,
    name: String,
    outcome: Result<CreatedTopic, CreateTopicError>,
) -> CreatableTopicResult {
    let name = TopicName(StrBytes::from_string(name));
    match outcome {
        Ok(created) => CreatableTopicResult::default()
            .with_name(name)
            .with_topic_id(created.id.0)
            .with_error_code(error::NONE)
            .with_num_partitions(created.partitions)
            .with_replication_factor(created.replication_factor)
            // The fields are there from version 5 on (KIP-525).
            .with_configs((head.version >= 5).then(|| configs(broker, &created))),
        Err(error) => refusal(name, error.code(), error.to_string()),
    }
}

/// All configs of a new topic (KIP-525).
fn configs(broker: &Broker, created: &CreatedTopic) -> Vec<CreatableTopicConfigs> {
    let described = describe::topic(&created.configs, &broker.config);
    described
        .into_iter()
        .map(|config| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(config.name.to_string()))
                .with_value(config.value.map(StrBytes::from_string))
                .with_config_source(config.source as i8)
        })
        .collect()
}

fn refusal(name: TopicName, code: Code, message: String) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(code)
        .with_error_message(Some(StrBytes::from_string(message)))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
}
