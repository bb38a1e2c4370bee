//! The topic of a run: looked up, created if missing, deleted afterwards if asked.
//!
//! Invariants: a [`Topic`] has a leader for each partition at the time it was looked up, and one that has been prepared has leaders
//!   that act as such.
//! Why: brokers that cannot create topics by request (librdkafka's mock cluster) create them on first sight; then that is used.

mod offsets;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiKey, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
pub use offsets::{At, offsets};

use crate::options::{Mode, Options, PARTITIONS_DEFAULT};
use crate::wire::{Wire, error_name};

/// From this version on, metadata must be asked for by topic id too; below is enough for everybody.
const METADATA_VERSION_MAX: i16 = 9;
/// From 4 on the replication factor may be left to the broker.
const CREATE_VERSION_MAX: i16 = 5;
/// Up to 5 topics are deleted by name alone.
const DELETE_VERSION_MAX: i16 = 5;
const LEADERS_TIMEOUT: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_millis(50);

/// A topic and where its partitions are led.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The broker that leads each partition, by partition.
    pub leaders: Vec<i32>,
    /// Where brokers are: host:port by broker id.
    pub brokers: BTreeMap<i32, String>,
}

impl Topic {
    /// How many partitions.
    pub fn partitions(&self) -> u32 {
        self.leaders.len() as u32
    }
}

/// The bootstrap servers, one by one.
pub fn bootstrap(options: &Options) -> Vec<String> {
    options.bootstrap_servers.split(',').map(|server| server.trim().to_owned()).filter(|s| !s.is_empty()).collect()
}

/// Looks the topic up, creates it if it is missing, waits until every partition has a leader that answers for it.
pub fn prepare(options: &Options) -> Result<Topic> {
    let mut wire = Wire::connect(&bootstrap(options))?;
    let mut auto_create = false;
    if lookup(&mut wire, &options.topic, false)?.is_none() {
        ensure!(options.mode != Mode::Consume, "topic {} does not exist: nothing to consume", options.topic);
        auto_create = !create(&mut wire, options)?;
    }
    let until = Instant::now() + LEADERS_TIMEOUT;
    let topic = loop {
        if let Some(topic) = lookup(&mut wire, &options.topic, auto_create)? {
            break topic;
        }
        ensure!(Instant::now() < until, "topic {} has partitions without a leader", options.topic);
        std::thread::sleep(RETRY);
    };
    if let Some(wanted) = options.partitions.filter(|wanted| *wanted as u32 != topic.partitions()) {
        let has = topic.partitions();
        bail!(
            "topic {} has {has} partitions, not {wanted}: use another --topic, or --delete-topic on the run before",
            topic.name
        );
    }
    offsets(options, &topic, At::End)?;
    Ok(topic)
}

/// The topic as it is now; `None` while it is missing or any partition has no leader.
pub fn lookup(wire: &mut Wire, name: &str, auto_create: bool) -> Result<Option<Topic>> {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(auto_create);
    from_metadata(&wire.call(&request, METADATA_VERSION_MAX)?, name)
}

fn from_metadata(response: &MetadataResponse, name: &str) -> Result<Option<Topic>> {
    let topic = response.topics.first().context("no such topic in the answer")?;
    match ResponseError::try_from_code(topic.error_code) {
        None => {}
        Some(error) if error.is_retriable() => return Ok(None),
        Some(error) => bail!("topic {name}: {error}"),
    }
    let mut leaders = vec![-1; topic.partitions.len()];
    for partition in &topic.partitions {
        let place = usize::try_from(partition.partition_index).ok().and_then(|index| leaders.get_mut(index));
        *place.with_context(|| format!("topic {name} has a partition {}", partition.partition_index))? =
            partition.leader_id.0;
    }
    let brokers: BTreeMap<i32, String> = response
        .brokers
        .iter()
        .map(|broker| (broker.node_id.0, format!("{}:{}", broker.host.as_str(), broker.port)))
        .collect();
    let all_led = !leaders.is_empty() && leaders.iter().all(|leader| brokers.contains_key(leader));
    Ok(all_led.then(|| Topic { name: name.to_owned(), leaders, brokers }))
}

/// Creates the topic; `false` where the broker cannot be asked to.
fn create(wire: &mut Wire, options: &Options) -> Result<bool> {
    if !wire.offers(ApiKey::CreateTopics) {
        eprintln!("chronik-bench: this broker does not create topics by request; relying on auto-creation");
        return Ok(false);
    }
    let configs = options.topic_config.iter().map(|pair| {
        let (name, value) = (StrBytes::from_string(pair.name.clone()), StrBytes::from_string(pair.value.clone()));
        CreatableTopicConfig::default().with_name(name).with_value(Some(value))
    });
    let topic = CreatableTopic::default()
        .with_name(topic_name(&options.topic))
        .with_num_partitions(options.partitions.unwrap_or(PARTITIONS_DEFAULT))
        .with_replication_factor(options.replication_factor)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    let response = at_controller(wire, options)?.call(&request, CREATE_VERSION_MAX)?;
    for result in &response.topics {
        match ResponseError::try_from_code(result.error_code) {
            None | Some(ResponseError::TopicAlreadyExists) => {}
            Some(error) => {
                let why = result.error_message.as_ref().map_or("", |message| message.as_str());
                bail!("cannot create topic {}: {error} {why}", options.topic);
            }
        }
    }
    Ok(true)
}

/// Deletes the topic, and waits until it is gone.
pub fn delete(options: &Options) -> Result<()> {
    let mut wire = Wire::connect(&bootstrap(options))?;
    let names = vec![topic_name(&options.topic)];
    let request = DeleteTopicsRequest::default().with_topic_names(names).with_timeout_ms(20_000);
    let response = at_controller(&mut wire, options)?.call(&request, DELETE_VERSION_MAX)?;
    for result in &response.responses {
        ensure!(result.error_code == 0, "cannot delete topic {}: {}", options.topic, error_name(result.error_code));
    }
    let until = Instant::now() + LEADERS_TIMEOUT;
    while lookup(&mut wire, &options.topic, false)?.is_some() {
        ensure!(Instant::now() < until, "topic {} is still there after its deletion", options.topic);
        std::thread::sleep(RETRY);
    }
    Ok(())
}

/// A connection to the controller, where metadata names one; to the same broker otherwise.
fn at_controller(wire: &mut Wire, options: &Options) -> Result<Wire> {
    let metadata = wire.call(&MetadataRequest::default().with_topics(Some(Vec::new())), METADATA_VERSION_MAX)?;
    let controller = metadata.brokers.iter().find(|broker| broker.node_id == metadata.controller_id);
    match controller {
        Some(broker) => Wire::connect(&[format!("{}:{}", broker.host.as_str(), broker.port)]),
        None => Wire::connect(&bootstrap(options)),
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };

    use super::*;

    fn metadata(error_code: i16, partitions: &[(i32, i32)]) -> MetadataResponse {
        let partition = |(index, leader): &(i32, i32)| {
            MetadataResponsePartition::default().with_partition_index(*index).with_leader_id(BrokerId(*leader))
        };
        let topic = MetadataResponseTopic::default()
            .with_error_code(error_code)
            .with_partitions(partitions.iter().map(partition).collect());
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(4))
            .with_host(StrBytes::from_static_str("here"))
            .with_port(9092);
        MetadataResponse::default().with_brokers(vec![broker]).with_topics(vec![topic])
    }

    #[test]
    fn a_topic_is_ready_when_every_partition_has_a_known_leader() {
        let topic = from_metadata(&metadata(0, &[(1, 4), (0, 4)]), "t").unwrap().unwrap();
        assert_eq!((topic.leaders, topic.brokers[&4].as_str()), (vec![4, 4], "here:9092"));
        assert_eq!(from_metadata(&metadata(0, &[(0, 4), (1, -1)]), "t").unwrap(), None);
        assert_eq!(from_metadata(&metadata(0, &[(0, 9)]), "t").unwrap(), None);
        assert_eq!(from_metadata(&metadata(5, &[]), "t").unwrap(), None);
    }

    #[test]
    fn a_topic_that_can_never_be_ready_is_an_error() {
        assert!(from_metadata(&metadata(17, &[]), "t").is_err());
        assert!(from_metadata(&metadata(0, &[(7, 4)]), "t").is_err());
        assert!(from_metadata(&MetadataResponse::default(), "t").is_err());
    }
}
