//! IncrementalAlterConfigs (API 44).
//!
//! *Behaviour*: sets, deletes, and for lists appends to and subtracts from, configs of topics and brokers. Every value is
//! validated first; a resource changes whole or not at all.
//! *Versions*: 0 and 1.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::describe_configs::{BROKER, TOPIC};
use crate::api::error::{Code, KafkaCode};
use crate::broker::{Broker, UNTIMED_WAIT};
use crate::metadata::controller::{ConfigAlteration, ConfigOperation, ConfigTarget, ConfigVerb};
use crate::metadata::request::{Reply, Request};
use crate::model::BrokerId;

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, request: IncrementalAlterConfigsRequest) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    let mut resources = Vec::new();
    let mut slots = Vec::new();
    for resource in request.resources {
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match alteration(resource) {
            Ok(alteration) => {
                slots.push(responses.len());
                resources.push(alteration);
                responses.push(response.with_error_message(None));
            }
            Err(message) => responses.push(refuse(response, ResponseError::InvalidRequest.code(), message)),
        }
    }
    if !resources.is_empty() {
        let wish = Request::AlterConfigs { resources, validate_only: request.validate_only };
        let reply = broker.change_metadata(wish, UNTIMED_WAIT).await;
        for (position, slot) in slots.into_iter().enumerate() {
            let refusal = match &reply {
                Ok(Reply::AlterConfigs(outcomes)) => outcomes
                    .get(position)
                    .and_then(|(_, outcome)| outcome.as_ref().err())
                    .map(|error| (error.code(), error.to_string())),
                Ok(_) => Some((ResponseError::UnknownServerError.code(), "no outcome".into())),
                Err(error) => Some((error.code(), error.to_string())),
            };
            if let Some((code, message)) = refusal {
                let response = std::mem::take(&mut responses[slot]);
                responses[slot] = refuse(response, code, message);
            }
        }
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn alteration(resource: AlterConfigsResource) -> Result<ConfigAlteration, String> {
    let name = resource.resource_name.as_str();
    let target = match resource.resource_type {
        TOPIC => ConfigTarget::Topic(name.to_string()),
        BROKER if name.is_empty() => ConfigTarget::AllBrokers,
        BROKER => {
            let id = name.parse().map_err(|_| format!("'{name}' is no broker id"))?;
            ConfigTarget::Broker(BrokerId(id))
        }
        other => return Err(format!("resource type {other} has no configs here")),
    };
    let operation = |config: kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig| {
        let verb = match config.config_operation {
            0 => ConfigVerb::Set,
            1 => ConfigVerb::Delete,
            2 => ConfigVerb::Append,
            3 => ConfigVerb::Subtract,
            other => return Err(format!("config operation {other} is unknown")),
        };
        Ok(ConfigOperation { name: config.name.to_string(), verb, value: config.value.map(|value| value.to_string()) })
    };
    let operations = resource.configs.into_iter().map(operation).collect::<Result<_, String>>()?;
    Ok(ConfigAlteration { target, operations })
}

fn refuse(response: AlterConfigsResourceResponse, code: Code, message: String) -> AlterConfigsResourceResponse {
    response.with_error_code(code).with_error_message(Some(StrBytes::from_string(message)))
}
