//! DeleteTopics (API 20).
//!
//! *Behaviour*: by name, or by id from version 6 on. Answered once no shard of this broker serves the topic; its files are set
//! aside and removed later.
//! *Versions*: 1 to 6.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::Head;
use crate::api::error::{Code, KafkaCode};
use crate::broker::{Broker, timeout};
use crate::metadata::controller::{DeleteTopicError, DeletedTopic, TopicRef};
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::TopicId;

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, head: Head, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let topics: Vec<TopicRef> = if head.version >= 6 {
        request.topics.into_iter().map(by_state).collect()
    } else {
        request.topic_names.into_iter().map(|name| TopicRef::Name(name.to_string())).collect()
    };
    if !broker.config.broker.delete_topic_enable {
        let code = ResponseError::TopicDeletionDisabled.code();
        let refused = topics.into_iter().map(|topic| refusal(topic, code, "Topic deletion is disabled.".into()));
        return DeleteTopicsResponse::default().with_responses(refused.collect());
    }
    let wish = Request::DeleteTopics { topics: topics.clone() };
    let outcomes = broker.change_metadata(wish, timeout(request.timeout_ms)).await.and_then(|reply| match reply {
        Reply::DeleteTopics(outcomes) => Ok(outcomes),
        _ => Err(SubmitError::Unknown),
    });
    let results = match outcomes {
        Ok(outcomes) => outcomes.into_iter().map(|(topic, outcome)| result(topic, outcome)).collect(),
        Err(error) => topics.into_iter().map(|topic| refusal(topic, error.code(), error.to_string())).collect(),
    };
    DeleteTopicsResponse::default().with_responses(results)
}

fn by_state(state: DeleteTopicState) -> TopicRef {
    match state.name {
        Some(name) if state.topic_id.is_nil() => TopicRef::Name(name.to_string()),
        _ => TopicRef::Id(TopicId(state.topic_id)),
    }
}

fn result(topic: TopicRef, outcome: Result<DeletedTopic, DeleteTopicError>) -> DeletableTopicResult {
    match outcome {
        Ok(deleted) => DeletableTopicResult::default()
            .with_name(Some(TopicName(StrBytes::from_string(deleted.name))))
            .with_topic_id(deleted.id.0),
        Err(error) => refusal(topic, error.code(), error.to_string()),
    }
}

fn refusal(topic: TopicRef, code: Code, message: String) -> DeletableTopicResult {
    let result =
        DeletableTopicResult::default().with_error_code(code).with_error_message(Some(StrBytes::from_string(message)));
    match topic {
        TopicRef::Name(name) => result.with_name(Some(TopicName(StrBytes::from_string(name)))),
        TopicRef::Id(id) => result.with_name(None).with_topic_id(id.0),
    }
}
