//! What DescribeConfigs tells of a topic: each config's value, where it comes from, and the values behind it (KIP-226, KIP-569).
//!
//! *Which core*: any. *Not here*: the wire; the codes are Kafka's, the structs are ours.

use super::{Overrides, Status, TABLE, TopicSetting};
use crate::config::{Config, ConfigType, broker};

/// Where a value comes from; the numbers are the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic.
    DynamicTopicConfig = 1,
    /// Set by the operator: file, environment or flag.
    StaticBrokerConfig = 4,
    /// Nobody set it.
    DefaultConfig = 5,
}

/// One of the values that count, under the name by which it was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Of the topic config, or of the broker setting.
    pub name: &'static str,
    /// As it was set, in that setting's unit.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// A config of a topic or of the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Kafka's name.
    pub name: &'static str,
    /// The value in force; none: not set.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// A client cannot change it.
    pub read_only: bool,
    /// The values that count, the one in force first.
    pub synonyms: Vec<Synonym>,
    /// Its type.
    pub config_type: ConfigType,
    /// What it does.
    pub documentation: &'static str,
}

impl Described {
    /// Nobody set it.
    pub fn is_default(&self) -> bool {
        self.source == Source::DefaultConfig
    }
}

/// Every config of a topic, by name.
pub fn topic(overrides: &Overrides, config: &Config) -> Vec<Described> {
    let shown = TABLE.iter().filter(|setting| setting.status != Status::Internal);
    shown.map(|setting| describe(setting, overrides, config)).collect()
}

/// Every setting of the broker that acts, by name.
pub fn broker(config: &Config) -> Vec<Described> {
    let describe = |setting: &'static crate::config::Setting| {
        let mut synonyms = Vec::new();
        broker_values(setting.name, config, &mut synonyms);
        let source = synonyms.first().map_or(Source::DefaultConfig, |synonym| synonym.source);
        Described {
            name: setting.name,
            value: synonyms.first().map(|synonym| synonym.value.clone()),
            source,
            read_only: true,
            synonyms,
            config_type: setting.kind.config_type(),
            documentation: setting.doc.trim_start(),
        }
    };
    broker::BrokerConfig::TABLE.iter().map(describe).collect()
}

fn describe(setting: &'static TopicSetting, overrides: &Overrides, config: &Config) -> Described {
    let mut synonyms = Vec::new();
    if let Some(value) = overrides.get(setting.name).and_then(|text| setting.kind.parse(setting.name, text).ok()) {
        let value = value.to_string();
        synonyms.push(Synonym { name: setting.name, value, source: Source::DynamicTopicConfig });
    }
    for name in setting.synonyms {
        broker_values(name, config, &mut synonyms);
    }
    if synonyms.iter().all(|synonym| synonym.source != Source::DefaultConfig)
        && let Some(default) = setting.default
    {
        let name = setting.synonyms.first().copied().unwrap_or(setting.name);
        synonyms.push(Synonym { name, value: default.into(), source: Source::DefaultConfig });
    }
    let first = synonyms.first();
    Described {
        name: setting.name,
        value: first.map(|synonym| in_topics_unit(synonym, config)),
        source: first.map_or(Source::DefaultConfig, |synonym| synonym.source),
        read_only: false,
        synonyms,
        config_type: setting.kind.config_type(),
        documentation: setting.doc,
    }
}

/// The values of a broker setting that acts: as set, and the default.
fn broker_values(name: &'static str, config: &Config, synonyms: &mut Vec<Synonym>) {
    let Some(setting) = broker::setting(name) else { return };
    if let Some(value) = config.set_value(name) {
        synonyms.push(Synonym { name, value: value.into(), source: Source::StaticBrokerConfig });
    }
    if let Some(default) = setting.default {
        synonyms.push(Synonym { name, value: default.into(), source: Source::DefaultConfig });
    }
}

/// Minutes and hours of the broker's settings are ms of the topic's.
fn in_topics_unit(synonym: &Synonym, config: &Config) -> String {
    match synonym.name {
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            config.broker.retention_ms().to_string()
        }
        "log.roll.ms" | "log.roll.hours" => config.broker.roll_ms().to_string(),
        _ => synonym.value.clone(),
    }
}
