//! Topic configs: every one that Kafka 4.3 has, what it takes, whether it acts, and what a log makes of them.
//!
//! *Which core*: any. *Invariants*: what a topic stores has passed [`validate`]; a config whose silent absence would break a
//! promise is refused.
//! *Not here*: where overrides are kept (the metadata image); the answer to DescribeConfigs (`describe`).
//! *Why store what does not act*: tools copy a topic's configs from cluster to cluster, and read them back.

pub mod describe;

use std::collections::BTreeMap;

use super::broker::BrokerConfig;
use super::suggest;
use super::value::{ANY, Kind, Value, at_least, between};

/// A topic config.
#[derive(Clone, Copy, Debug)]
pub struct TopicSetting {
    /// Kafka's name.
    pub name: &'static str,
    /// What it takes, by Kafka's rules.
    pub kind: Kind,
    /// Kafka's default; none: not set.
    pub default: Option<&'static str>,
    /// The broker settings that give the default, the first before the others.
    pub synonyms: &'static [&'static str],
    /// What it does here.
    pub status: Status,
    /// What it is.
    pub doc: &'static str,
}

/// What a topic config does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It acts.
    Acts,
    /// It is kept and described, and changes nothing.
    Stored,
    /// Only these values are taken, and why.
    Only(&'static [&'static str], &'static str),
    /// It acts, and is not described: for tests.
    Internal,
}

const LEVEL_OF_TYPE: &str = "Used with compression.type of that codec only.";
const MAX: Option<&str> = Some("9223372036854775807");
const COMPRESSIONS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const fn row(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    synonyms: &'static [&'static str],
    status: Status,
    doc: &'static str,
) -> TopicSetting {
    TopicSetting { name, kind, default, synonyms, status, doc }
}

/// Every topic config, by name.
#[rustfmt::skip]
pub const TABLE: &[TopicSetting] = &[
    row("cleanup.policy", Kind::ListOf(&["compact", "delete"]), Some("delete"), &["log.cleanup.policy"],
        Status::Only(&["delete", ""], "logs are not compacted by this broker yet"),
        "delete: old segments are deleted by retention; empty: nothing ever is."),
    row("compression.gzip.level", Kind::IntOrMinusOne(between(1, 9)), Some("-1"), &["compression.gzip.level"],
        Status::Stored, LEVEL_OF_TYPE),
    row("compression.lz4.level", Kind::Int(between(1, 17)), Some("9"), &["compression.lz4.level"],
        Status::Stored, LEVEL_OF_TYPE),
    row("compression.type", Kind::OneOf(COMPRESSIONS), Some("producer"), &["compression.type"],
        Status::Only(&["producer"], "batches are stored as the producer compressed them, and never compressed again"),
        "The codec of stored batches; producer: as they come."),
    row("compression.zstd.level", Kind::Int(between(-131_072, 22)), Some("3"), &["compression.zstd.level"],
        Status::Stored, LEVEL_OF_TYPE),
    row("delete.retention.ms", Kind::Long(at_least(0)), Some("86400000"), &["log.cleaner.delete.retention.ms"],
        Status::Stored, "How long compaction keeps tombstones, ms."),
    row("file.delete.delay.ms", Kind::Long(at_least(0)), Some("60000"), &["log.segment.delete.delay.ms"],
        Status::Stored, "How long a deleted file stays, ms."),
    row("flush.messages", Kind::Long(at_least(1)), MAX, &["log.flush.interval.messages"],
        Status::Stored, "Records between two flushes. Every acknowledged record is flushed here, whatever this says."),
    row("flush.ms", Kind::Long(at_least(0)), MAX, &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        Status::Stored, "Time between two flushes, ms. Every acknowledged record is flushed here, whatever this says."),
    row("follower.replication.throttled.replicas", Kind::ThrottledReplicas, Some(""), &[],
        Status::Stored, "Replicas whose replication is throttled on the follower's side."),
    row("index.interval.bytes", Kind::Int(at_least(0)), Some("4096"), &["log.index.interval.bytes"],
        Status::Acts, "Bytes of a log between two entries of its index."),
    row("internal.segment.bytes", Kind::Int(at_least(1)), None, &[],
        Status::Internal, "As segment.bytes, but without its least value: for tests."),
    row("leader.replication.throttled.replicas", Kind::ThrottledReplicas, Some(""), &[],
        Status::Stored, "Replicas whose replication is throttled on the leader's side."),
    row("local.retention.bytes", Kind::Long(at_least(-2)), Some("-2"), &["log.local.retention.bytes"],
        Status::Stored, "With tiered storage: bytes kept on the broker; -2: as retention.bytes."),
    row("local.retention.ms", Kind::Long(at_least(-2)), Some("-2"), &["log.local.retention.ms"],
        Status::Stored, "With tiered storage: age kept on the broker, ms; -2: as retention.ms."),
    row("max.compaction.lag.ms", Kind::Long(at_least(1)), MAX, &["log.cleaner.max.compaction.lag.ms"],
        Status::Stored, "How long a record may escape compaction, ms."),
    row("max.message.bytes", Kind::Int(at_least(0)), Some("1048588"), &["message.max.bytes"],
        Status::Acts, "Largest record batch, bytes, as it comes from the producer."),
    row("message.timestamp.after.max.ms", Kind::Long(at_least(0)), Some("3600000"),
        &["log.message.timestamp.after.max.ms"],
        Status::Acts, "How far a record's timestamp may lie after the broker's clock, ms."),
    row("message.timestamp.before.max.ms", Kind::Long(at_least(0)), MAX, &["log.message.timestamp.before.max.ms"],
        Status::Acts, "How far a record's timestamp may lie before the broker's clock, ms."),
    row("message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), Some("CreateTime"),
        &["log.message.timestamp.type"],
        Status::Only(&["CreateTime"], "batches are stored with the producer's timestamps"),
        "Whose time a record carries."),
    row("min.cleanable.dirty.ratio", Kind::Double(between(0.0, 1.0)), Some("0.5"), &["log.cleaner.min.cleanable.ratio"],
        Status::Stored, "Share of a log that must be new before compaction looks at it."),
    row("min.compaction.lag.ms", Kind::Long(at_least(0)), Some("0"), &["log.cleaner.min.compaction.lag.ms"],
        Status::Stored, "How long a record is safe from compaction, ms."),
    row("min.insync.replicas", Kind::Int(at_least(1)), Some("1"), &["min.insync.replicas"],
        Status::Acts, "In-sync replicas that a write with acks=-1 needs; a topic with fewer replicas needs them all."),
    row("preallocate", Kind::Bool, Some("false"), &["log.preallocate"],
        Status::Stored, "Whether files are allocated ahead. They always are here, in steps that follow the topic's rate."),
    row("remote.log.copy.disable", Kind::Bool, Some("false"), &[],
        Status::Stored, "With tiered storage: nothing more is copied out."),
    row("remote.log.delete.on.disable", Kind::Bool, Some("false"), &[],
        Status::Stored, "With tiered storage: what was copied out is deleted when it is switched off."),
    row("remote.storage.enable", Kind::Bool, Some("false"), &[],
        Status::Only(&["false"], "tiered storage is not built into this broker"),
        "Whether segments are copied to remote storage."),
    row("retention.bytes", Kind::Long(ANY), Some("-1"), &["log.retention.bytes"],
        Status::Acts, "Bytes of a partition beyond which its oldest segments are deleted; below 0: no limit."),
    row("retention.ms", Kind::Long(at_least(-1)), Some("604800000"),
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        Status::Acts, "Age at which segments are deleted, ms; -1: never."),
    row("segment.bytes", Kind::Int(at_least(1 << 20)), Some("1073741824"), &["log.segment.bytes"],
        Status::Acts, "Size at which the active segment is rolled, bytes."),
    row("segment.index.bytes", Kind::Int(at_least(4)), Some("10485760"), &["log.index.size.max.bytes"],
        Status::Stored, "Largest index of a segment, bytes."),
    row("segment.jitter.ms", Kind::Long(at_least(0)), Some("0"), &["log.roll.jitter.ms", "log.roll.jitter.hours"],
        Status::Stored, "By how much rolls by age are spread, ms."),
    row("segment.ms", Kind::Long(at_least(1)), Some("604800000"), &["log.roll.ms", "log.roll.hours"],
        Status::Acts, "Age at which the active segment is rolled, ms."),
    row("unclean.leader.election.enable", Kind::Bool, Some("false"), &["unclean.leader.election.enable"],
        Status::Acts, "Whether a replica that is not in sync may lead if no other can. What only others had is then lost."),
];

/// A topic's configs, by name, as its owner set them.
pub type Overrides = BTreeMap<String, String>;

/// The row of a config.
pub fn setting(name: &str) -> Option<&'static TopicSetting> {
    TABLE.iter().find(|setting| setting.name == name)
}

/// Checks a config that a client sets; an error is a sentence for the client.
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    let Some(setting) = setting(name) else {
        let hint = suggest::hint(name, TABLE.iter().map(|setting| setting.name));
        return Err(format!("Unknown topic config name: {name}{hint}"));
    };
    let value = setting.kind.parse(name, value)?.to_string();
    match setting.status {
        Status::Only(taken, why) if !taken.contains(&value.as_str()) => {
            Err(format!("{name}={value} is refused: {why}"))
        }
        Status::Only(..) | Status::Acts | Status::Stored | Status::Internal => Ok(()),
    }
}

/// Checks a topic's configs, one by one and together; an error is a sentence for the client.
pub fn validate_all(overrides: &Overrides) -> Result<(), String> {
    for (name, value) in overrides {
        validate(name, value)?;
    }
    let (min, max) = (number("min.compaction.lag.ms", overrides), number("max.compaction.lag.ms", overrides));
    if min > max {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    Ok(())
}

/// What a topic's configs come to. A field's name is the config's, with `_` for `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// Bytes of a log between two entries of its index.
    pub index_interval_bytes: usize,
    /// Largest record batch, bytes.
    pub max_message_bytes: usize,
    /// How far a timestamp may lie after the clock, ms.
    pub message_timestamp_after_max_ms: i64,
    /// How far a timestamp may lie before the clock, ms.
    pub message_timestamp_before_max_ms: i64,
    /// In-sync replicas for acks=-1, before the number of replicas bounds it.
    pub min_insync_replicas: usize,
    /// Bytes of a partition beyond which its oldest segments are deleted; none: no limit.
    pub retention_bytes: Option<u64>,
    /// Age at which segments are deleted, ms; none: never.
    pub retention_ms: Option<i64>,
    /// Size at which the active segment is rolled, bytes.
    pub segment_bytes: u64,
    /// Age at which the active segment is rolled, ms.
    pub segment_ms: i64,
}

/// A topic's configs over the broker's defaults. An override that is not valid (of another version) does not count.
pub fn effective(overrides: &Overrides, broker: &BrokerConfig) -> TopicConfig {
    let given = |name| match given(name, overrides) {
        Some(Value::Int(number)) => Some(number),
        _ => None,
    };
    let or = |name, default: i32| given(name).unwrap_or(default.into());
    let is_deleted = self::given("cleanup.policy", overrides).is_none_or(|policy| policy != Value::List(Vec::new()));
    TopicConfig {
        index_interval_bytes: given("index.interval.bytes").map_or(broker.log_index_interval_bytes, size),
        max_message_bytes: size(or("max.message.bytes", broker.message_max_bytes)),
        message_timestamp_after_max_ms: given("message.timestamp.after.max.ms")
            .unwrap_or(broker.log_message_timestamp_after_max_ms),
        message_timestamp_before_max_ms: given("message.timestamp.before.max.ms")
            .unwrap_or(broker.log_message_timestamp_before_max_ms),
        min_insync_replicas: size(or("min.insync.replicas", broker.min_insync_replicas)),
        retention_bytes: u64::try_from(given("retention.bytes").unwrap_or(broker.log_retention_bytes))
            .ok()
            .filter(|_| is_deleted),
        retention_ms: Some(given("retention.ms").unwrap_or(broker.retention_ms()))
            .filter(|age_ms| *age_ms >= 0 && is_deleted),
        segment_bytes: given("internal.segment.bytes")
            .unwrap_or_else(|| or("segment.bytes", broker.log_segment_bytes))
            .unsigned_abs(),
        segment_ms: given("segment.ms").unwrap_or(broker.roll_ms()),
    }
}

impl Default for TopicConfig {
    fn default() -> TopicConfig {
        effective(&Overrides::new(), &BrokerConfig::default())
    }
}

/// The valid override of a config.
fn given(name: &str, overrides: &Overrides) -> Option<Value> {
    let text = overrides.get(name)?;
    validate(name, text).and_then(|()| setting(name).map_or(Err(String::new()), |s| s.kind.parse(name, text))).ok()
}

/// A number's override, or Kafka's default.
fn number(name: &str, overrides: &Overrides) -> i64 {
    let default = || setting(name).and_then(|setting| setting.default?.parse().ok());
    match given(name, overrides) {
        Some(Value::Int(number)) => number,
        _ => default().expect("asked for numbers with a default only"),
    }
}

fn size(number: i64) -> usize {
    usize::try_from(number).expect("the kind has excluded negative sizes")
}

#[cfg(test)]
mod tests;
