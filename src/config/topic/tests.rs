//! Topic configs against Kafka's own verdicts, and what they come to.

use std::collections::BTreeSet;

use super::describe::Source;
use super::*;
use crate::config::process::Machine;
use crate::config::{Config, Sources};

/// name, value, and `ok` or Kafka's message, as LogConfig.validate of Kafka 4.3.1 gave them.
const VERDICTS: &str = include_str!("testdata/kafka-4.3.1-verdicts.tsv");

fn verdicts() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    VERDICTS.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("three fields");
        (next(), next(), next())
    })
}

/// What Kafka takes and this broker does not, beyond what it says it refuses: Java's ways to write numbers, and sizes below one.
fn is_stricter_here(name: &str, value: &str) -> bool {
    let is_javas = ["NaN", "0.5d", "0x1p-1"].contains(&value);
    is_javas || (name == "internal.segment.bytes" && value.parse::<i64>().is_ok_and(|number| number < 1))
}

#[test]
fn every_config_judges_values_as_kafka_does() {
    for (name, value, kafka) in verdicts() {
        let ours = setting(name).expect(name).kind.parse(name, value);
        match kafka {
            "ok" if is_stricter_here(name, value) => assert!(ours.is_err(), "{name}={value:?}"),
            "ok" => assert!(ours.is_ok(), "{name}={value:?}: {ours:?}"),
            message => {
                let why = ours.expect_err(&format!("{name}={value:?} was taken"));
                // Numbers with a fraction print differently.
                let is_the_same = why == message || name == "min.cleanable.dirty.ratio";
                assert!(is_the_same, "{why}\n{message}");
            }
        }
    }
}

#[test]
fn every_config_of_kafka_is_known_once() {
    let kafka: BTreeSet<&str> = verdicts().map(|(name, _, _)| name).collect();
    let ours: BTreeSet<&str> = TABLE.iter().map(|setting| setting.name).collect();
    assert_eq!(kafka, ours);
    assert_eq!(ours.len(), TABLE.len());
}

#[test]
fn what_would_break_a_promise_is_refused_with_its_reason() {
    for (name, value, why) in [
        ("cleanup.policy", "compact", "not compacted"),
        ("cleanup.policy", "delete, compact", "not compacted"),
        ("message.timestamp.type", "LogAppendTime", "the producer's timestamps"),
        ("remote.storage.enable", "TRUE", "tiered storage"),
        ("compression.type", "zstd", "as the producer compressed them"),
        ("compression.type", "uncompressed", "as the producer compressed them"),
    ] {
        let message = validate(name, value).expect_err(name);
        assert!(message.contains("is refused: ") && message.contains(why), "{message}");
    }
    for (name, value) in [
        ("cleanup.policy", " delete "),
        ("cleanup.policy", ""),
        ("message.timestamp.type", "CreateTime"),
        ("remote.storage.enable", "False"),
        ("compression.type", "producer"),
    ] {
        assert_eq!(validate(name, value), Ok(()));
    }
}

#[test]
fn an_unknown_config_gets_the_nearest() {
    let message = validate("retention.sm", "1").expect_err("unknown");
    assert_eq!(message, "Unknown topic config name: retention.sm; did you mean retention.ms?");
}

#[test]
fn configs_are_judged_together_too() {
    let both = |min: &str, max: &str| {
        validate_all(&overrides(&[("min.compaction.lag.ms", min), ("max.compaction.lag.ms", max)]))
    };
    assert_eq!(both("5", "5"), Ok(()));
    let message = both("5", "4").expect_err("min above max");
    assert_eq!(message, "conflict topic config setting min.compaction.lag.ms (5) > max.compaction.lag.ms (4)");
    assert!(validate_all(&overrides(&[("segment.ms", "0")])).is_err());
}

#[test]
fn a_topic_without_overrides_has_the_brokers_defaults() {
    let config = TopicConfig::default();
    let kafkas = TopicConfig {
        index_interval_bytes: 4096,
        max_message_bytes: 1_048_588,
        message_timestamp_after_max_ms: 3_600_000,
        message_timestamp_before_max_ms: i64::MAX,
        min_insync_replicas: 1,
        retention_bytes: None,
        retention_ms: Some(604_800_000),
        segment_bytes: 1 << 30,
        segment_ms: 604_800_000,
    };
    assert_eq!(config, kafkas);
    let broker = BrokerConfig { log_retention_minutes: Some(1), log_retention_bytes: 7, ..BrokerConfig::default() };
    let config = effective(&Overrides::new(), &broker);
    assert_eq!((config.retention_ms, config.retention_bytes), (Some(60_000), Some(7)));
}

#[test]
fn overrides_go_over_the_broker() {
    let set = overrides(&[("retention.ms", "-1"), ("retention.bytes", " 0 "), ("segment.bytes", "1048576")]);
    let config = effective(&set, &BrokerConfig::default());
    assert_eq!((config.retention_ms, config.retention_bytes, config.segment_bytes), (None, Some(0), 1 << 20));
    let small = overrides(&[("internal.segment.bytes", "5"), ("segment.bytes", "1048576")]);
    assert_eq!(effective(&small, &BrokerConfig::default()).segment_bytes, 5);
}

#[test]
fn an_empty_cleanup_policy_keeps_everything() {
    let set = overrides(&[("cleanup.policy", ""), ("retention.ms", "1"), ("retention.bytes", "1")]);
    let config = effective(&set, &BrokerConfig::default());
    assert_eq!((config.retention_ms, config.retention_bytes), (None, None));
}

#[test]
fn an_override_that_is_not_valid_does_not_count() {
    let set = overrides(&[("segment.ms", "0"), ("retention.ms", "x"), ("cleanup.policy", "compact"), ("new", "1")]);
    assert_eq!(effective(&set, &BrokerConfig::default()), TopicConfig::default());
}

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn config(variables: &[(&str, &str)]) -> Config {
    let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let machine = Machine { cpus: vec![0, 1], processors: 2 };
    Config::load(&Sources { variables, ..Sources::default() }, &machine).expect("valid")
}

fn described(name: &str, set: &[(&str, &str)], variables: &[(&str, &str)]) -> (String, Source, Vec<String>) {
    let all = describe::topic(&overrides(set), &config(variables));
    let found = all.into_iter().find(|described| described.name == name).expect("every config is described");
    let synonyms = found.synonyms.iter().map(|s| format!("{}={} {:?}", s.name, s.value, s.source)).collect();
    (found.value.expect("set"), found.source, synonyms)
}

#[test]
fn a_described_value_says_where_it_comes_from() {
    let nothing = described("retention.ms", &[], &[]);
    let by_default = vec!["log.retention.hours=168 DefaultConfig".to_owned()];
    assert_eq!(nothing, ("604800000".into(), Source::DefaultConfig, by_default));

    let by_the_operator = described("retention.ms", &[], &[("CHRONIK_LOG_RETENTION_HOURS", "1")]);
    assert_eq!((by_the_operator.0.as_str(), by_the_operator.1), ("3600000", Source::StaticBrokerConfig));

    let on_the_topic = described("retention.ms", &[("retention.ms", "5")], &[("CHRONIK_LOG_RETENTION_HOURS", "1")]);
    assert_eq!((on_the_topic.0.as_str(), on_the_topic.1), ("5", Source::DynamicTopicConfig));
    assert_eq!(
        on_the_topic.2,
        [
            "retention.ms=5 DynamicTopicConfig",
            "log.retention.hours=1 StaticBrokerConfig",
            "log.retention.hours=168 DefaultConfig"
        ]
    );
    assert_eq!(described("flush.ms", &[], &[]).2, ["log.flush.interval.ms=9223372036854775807 DefaultConfig"]);
}

#[test]
fn what_is_described_is_all_but_internal() {
    let names: Vec<&str> = describe::topic(&Overrides::new(), &config(&[])).iter().map(|d| d.name).collect();
    assert_eq!(names.len(), TABLE.len() - 1);
    assert!(!names.contains(&"internal.segment.bytes"));
    assert_eq!(describe::broker(&config(&[])).len(), BrokerConfig::TABLE.len());
}
