//! DescribeConfigs (API 32).
//!
//! *Behaviour*: every config of a topic or of this broker, with its value, where that comes from, and its documentation.
//! *Versions*: 1 to 4.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use crate::broker::Broker;
use crate::config::topic::describe::{self, Described};

/// Resource type of a topic.
pub(super) const TOPIC: i8 = 2;
/// Resource type of a broker.
pub(super) const BROKER: i8 = 4;

/// Serves the request.
pub fn run(broker: &Broker, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
    let results = request.resources.into_iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(broker, &resource) {
            Ok(configs) => {
                let wanted = |config: &Described| {
                    // None named, by null or by an empty list: all are wanted, as in Kafka.
                    let keys = resource.configuration_keys.as_deref().unwrap_or_default();
                    keys.is_empty() || keys.iter().any(|key| key.as_str() == config.name)
                };
                let configs = configs.into_iter().filter(wanted).map(|config| wire(config, synonyms, documentation));
                result.with_error_message(None).with_configs(configs.collect())
            }
            Err((error, message)) => {
                result.with_error_code(error.code()).with_error_message(Some(StrBytes::from_string(message)))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe(broker: &Broker, resource: &DescribeConfigsResource) -> Result<Vec<Described>, (ResponseError, String)> {
    let name = resource.resource_name.as_str();
    let image = broker.image();
    match resource.resource_type {
        TOPIC => {
            let unknown = || (ResponseError::UnknownTopicOrPartition, format!("The topic '{name}' does not exist."));
            let topic = image.topic_by_name(name).ok_or_else(unknown)?;
            Ok(describe::topic(&topic.configs, &broker.config))
        }
        BROKER if name.is_empty() || name.parse() == Ok(broker.shard.me().0) => Ok(describe::broker(&broker.config)),
        BROKER => Err((ResponseError::InvalidRequest, format!("this is broker {}, not '{name}'", broker.shard.me().0))),
        other => Err((ResponseError::InvalidRequest, format!("resource type {other} has no configs here"))),
    }
}

fn wire(config: Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let text = |text: &str| StrBytes::from_string(text.to_string());
    let synonyms = config.synonyms.iter().filter(|_| synonyms).map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(text(synonym.name))
            .with_value(Some(text(&synonym.value)))
            .with_source(synonym.source as i8)
    });
    DescribeConfigsResourceResult::default()
        .with_name(text(config.name))
        .with_synonyms(synonyms.collect())
        .with_read_only(config.read_only)
        .with_config_source(config.source as i8)
        .with_config_type(config.config_type as i8)
        .with_documentation(documentation.then(|| text(config.documentation)))
        .with_value(config.value.map(StrBytes::from_string))
}
