//! Changing configs of topics and brokers, incrementally (KIP-339).
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a resource's operations succeed or fail together; what is proposed are the resulting values, so that applying
//! it twice or after others gives the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::succession::{self, Terms};
use super::{ConfigCheck, Decision, Rules, duplicates};
use crate::metadata::change::{
    Action, Change, ConfigChange, ConfigOwner, ConfigRecord, PartitionChange, Reason, SetConfigs,
};
use crate::metadata::image::{Configs, Image};
use crate::model::BrokerId;

/// Whose configs a client changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigTarget {
    /// A topic's, by name.
    Topic(String),
    /// One broker's.
    Broker(BrokerId),
    /// Those of every broker that has none of its own.
    AllBrokers,
}

/// What to do with a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigVerb {
    /// Set it to the value.
    Set,
    /// Remove it: the default holds again.
    Delete,
    /// Add the value's parts to a list.
    Append,
    /// Remove the value's parts from a list.
    Subtract,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigOperation {
    /// The config.
    pub name: String,
    /// What to do.
    pub verb: ConfigVerb,
    /// With what; a deletion needs none.
    pub value: Option<String>,
}

/// A client's wish for one resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigAlteration {
    /// Whose configs.
    pub target: ConfigTarget,
    /// The operations, each on another config.
    pub operations: Vec<ConfigOperation>,
}

/// Why a resource's configs stay as they are. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum AlterConfigsError {
    /// No such topic.
    #[error("The topic '{0}' does not exist.")]
    UnknownTopic(String),
    /// No such broker.
    #[error("No broker with id {} found.", .0.0)]
    BrokerNotRegistered(BrokerId),
    /// A config or value that is refused.
    #[error("{0}")]
    InvalidConfig(String),
    /// The request contradicts itself.
    #[error("{0}")]
    InvalidRequest(String),
}

/// What becomes of each resource, in the request's order, each mentioned once.
pub type AlterConfigsOutcome = Vec<(ConfigTarget, Result<(), AlterConfigsError>)>;

/// Decides over changes of configs.
pub fn alter_configs(image: &Image, wishes: &[ConfigAlteration], rules: &Rules) -> Decision<AlterConfigsOutcome> {
    let twice = duplicates(wishes.iter().map(|wish| &wish.target));
    let (mut answered, mut changes) = (std::collections::BTreeSet::new(), Vec::new());
    let mut outcome = Vec::with_capacity(wishes.len());
    for wish in wishes.iter().filter(|wish| answered.insert(&wish.target)) {
        let result = if twice.contains(&&wish.target) {
            Err(AlterConfigsError::InvalidRequest("Each resource must appear at most once.".to_owned()))
        } else {
            alter(image, wish, rules)
        };
        let result = result.map(|change| changes.extend((!change.configs.is_empty()).then_some(change)));
        outcome.push((wish.target.clone(), result));
    }
    if changes.is_empty() {
        return Decision::nothing(outcome);
    }
    let partitions = changes.iter().flat_map(|change| settle(image, change, rules)).collect();
    let mut commands = succession::changes(partitions, Reason::Reconfigured);
    commands.push(Change::new(Action::SetConfigs(SetConfigs { changes })));
    Decision { outcome, changes: commands }
}

/// What becomes of a topic's partitions, before its configs are others: whoever was eligible under a higher minimum may lack
/// records under a lower one.
fn settle(image: &Image, change: &ConfigChange, rules: &Rules) -> Vec<PartitionChange> {
    let Some(ConfigOwner::Topic(id)) = change.owner else { return Vec::new() };
    let Some(topic) = image.topic(id.into()) else { return Vec::new() };
    let mut together = Configs::clone(&topic.configs);
    change.apply_to(&mut together);
    succession::settle_topic(topic, Terms::of(&together, rules), &|broker| image.lives(broker), None).collect()
}

fn alter(image: &Image, wish: &ConfigAlteration, rules: &Rules) -> Result<ConfigChange, AlterConfigsError> {
    let none = Configs::new();
    let (owner, present, check) = match &wish.target {
        ConfigTarget::Topic(name) => {
            let topic = image.topic_by_name(name).ok_or_else(|| AlterConfigsError::UnknownTopic(name.clone()))?;
            (ConfigOwner::Topic(topic.id.into()), &*topic.configs, rules.check_topic_config)
        }
        ConfigTarget::Broker(id) => {
            image.brokers().get(id).ok_or(AlterConfigsError::BrokerNotRegistered(*id))?;
            let present = image.broker_configs(Some(*id)).map_or(&none, |configs| configs);
            (ConfigOwner::from(*id), present, rules.check_broker_config)
        }
        ConfigTarget::AllBrokers => {
            let present = image.broker_configs(None).map_or(&none, |configs| configs);
            (ConfigOwner::AllBrokers(true), present, rules.check_broker_config)
        }
    };
    let configs = results(&wish.operations, present, check, rules)?;
    let record = |(name, value)| ConfigRecord { name, value };
    let change = ConfigChange { owner: Some(owner), configs: configs.into_iter().map(record).collect() };
    if let ConfigTarget::Topic(_) = wish.target {
        let mut together = present.clone();
        change.apply_to(&mut together);
        (rules.check_topic_configs)(&together).map_err(AlterConfigsError::InvalidConfig)?;
    }
    Ok(change)
}

/// What the operations change: each config's new value, or none where it is removed.
fn results(
    operations: &[ConfigOperation],
    present: &Configs,
    check: ConfigCheck,
    rules: &Rules,
) -> Result<BTreeMap<String, Option<String>>, AlterConfigsError> {
    if !duplicates(operations.iter().map(|operation| &operation.name)).is_empty() {
        return Err(AlterConfigsError::InvalidRequest("Error due to duplicate config keys".to_owned()));
    }
    let mut changed = BTreeMap::new();
    for operation in operations {
        let before = present.get(&operation.name);
        let after = result(operation, before, rules)?;
        if let Some(value) = &after {
            check(&operation.name, value).map_err(AlterConfigsError::InvalidConfig)?;
        }
        if before != after.as_ref() {
            changed.insert(operation.name.clone(), after);
        }
    }
    Ok(changed)
}

/// The value after an operation.
fn result(
    operation: &ConfigOperation,
    before: Option<&String>,
    rules: &Rules,
) -> Result<Option<String>, AlterConfigsError> {
    let ConfigOperation { name, verb, value } = operation;
    if name.is_empty() {
        return Err(AlterConfigsError::InvalidRequest("A config without a name.".to_owned()));
    }
    if *verb == ConfigVerb::Delete {
        return Ok(None);
    }
    let Some(value) = value else {
        return Err(AlterConfigsError::InvalidRequest(format!("Null value not supported for : {name}")));
    };
    if *verb == ConfigVerb::Set {
        return Ok(Some(value.clone()));
    }
    let Some(default) = (rules.list_default)(name) else {
        let verb = if *verb == ConfigVerb::Append { "APPEND" } else { "SUBTRACT" };
        let text = format!("Can't {verb} to key {name} because its type is not LIST.");
        return Err(AlterConfigsError::InvalidConfig(text));
    };
    let mut list: Vec<&str> = parts(before.map_or(default, String::as_str)).collect();
    for part in parts(value) {
        match verb {
            ConfigVerb::Subtract => list.retain(|present| *present != part),
            ConfigVerb::Append if !list.contains(&part) => list.push(part),
            ConfigVerb::Append | ConfigVerb::Set | ConfigVerb::Delete => {}
        }
    }
    Ok(Some(list.join(",")))
}

fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|part| !part.is_empty())
}
