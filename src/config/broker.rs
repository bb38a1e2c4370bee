//! Broker settings that Kafka has, under Kafka's names, and a few of our own beside them: those that act here, and why each of the
//! others is refused.
//!
//! *Which core*: any. *Invariants*: defaults are Kafka's, except where the text of a setting says otherwise. A setting is
//! either in the table, or fixed to one value, or refused with a reason: none is accepted and ignored.
//! *Not here*: the process's own settings (`process`), topics' (`topic`).
//! *Why refuse*: a setting that is taken and does nothing is a promise that is broken later.

mod refused;

use std::time::Duration;

use super::process::Derived;
use super::setting::{Setting, settings};
use super::suggest;
use super::value::{Kind, Value, at_least, between};

const I32_MAX: i64 = i32::MAX as i64;

settings! {
    /// What acts. A field's name is the setting's, with `_` for `.`; values as in Kafka, -1 for "no limit" included.
    pub struct BrokerConfig {
        /// Creates a topic with the defaults when a client asks for one that is not there.
        auto_create_topics_enable: bool = "auto.create.topics.enable", Kind::Bool, Some("true");
        /// Brings leaders back to the first of their replicas, once more than a tenth of them is elsewhere.
        auto_leader_rebalance_enable: bool = "auto.leader.rebalance.enable", Kind::Bool, Some("true");
        /// How often a broker of a cluster says that it lives, ms. Kafka's default is 2000.
        broker_heartbeat_interval_ms: u64 = "broker.heartbeat.interval.ms", Kind::Int(at_least(1)), Some("250");
        /// The rack that the broker stands in: replicas are spread over racks.
        broker_rack: Option<String> = "broker.rack", Kind::Text(check_rack), None;
        /// How long a broker may be silent before others lead its partitions, ms. Kafka's default is 9000.
        broker_session_timeout_ms: u64 = "broker.session.timeout.ms", Kind::Int(at_least(1)), Some("2000");
        /// Closes a connection that sent nothing for so long, ms; -1: never.
        connections_max_idle_ms: i64 = "connections.max.idle.ms", Kind::LongOrMinusOne(at_least(1)), Some("600000");
        /// Replicas of a topic that is created without a number of its own. In a cluster: as many as it has voters, at most 3.
        default_replication_factor: i16 = "default.replication.factor", Kind::Int(between(1, i16::MAX as i64)), Some("1");
        /// Lets clients delete topics.
        delete_topic_enable: bool = "delete.topic.enable", Kind::Bool, Some("true");
        /// Most bytes that one fetch is answered with; its first batch is sent whatever its size.
        fetch_max_bytes: usize = "fetch.max.bytes", Kind::Int(at_least(1024)), Some("57671680");
        /// Bytes of a log between two entries of its index.
        log_index_interval_bytes: usize = "log.index.interval.bytes", Kind::Int(at_least(0)), Some("4096");
        /// How far a record's timestamp may lie after the broker's clock, ms.
        log_message_timestamp_after_max_ms: i64 =
            "log.message.timestamp.after.max.ms", Kind::Long(at_least(0)), Some("3600000");
        /// How far a record's timestamp may lie before the broker's clock, ms.
        log_message_timestamp_before_max_ms: i64 =
            "log.message.timestamp.before.max.ms", Kind::Long(at_least(0)), Some("9223372036854775807");
        /// Bytes of a partition beyond which its oldest segments are deleted; -1: no limit.
        log_retention_bytes: i64 = "log.retention.bytes", Kind::Long(at_least(-1)), Some("-1");
        /// How often old segments are looked for, ms.
        log_retention_check_interval_ms: u64 = "log.retention.check.interval.ms", Kind::Long(at_least(1)), Some("300000");
        /// Age at which segments are deleted, hours; -1: never. Less exact than the two below, which go before it.
        log_retention_hours: i32 = "log.retention.hours", Kind::IntOrMinusOne(at_least(1)), Some("168");
        /// Age at which segments are deleted, minutes; -1: never.
        log_retention_minutes: Option<i32> = "log.retention.minutes", Kind::IntOrMinusOne(at_least(1)), None;
        /// Age at which segments are deleted, ms; -1: never. Goes before minutes and hours.
        log_retention_ms: Option<i64> = "log.retention.ms", Kind::LongOrMinusOne(at_least(1)), None;
        /// Age at which the active segment is rolled, hours.
        log_roll_hours: i32 = "log.roll.hours", Kind::Int(at_least(1)), Some("168");
        /// Age at which the active segment is rolled, ms. Goes before hours.
        log_roll_ms: Option<i64> = "log.roll.ms", Kind::Long(at_least(1)), None;
        /// Size at which the active segment is rolled, bytes.
        log_segment_bytes: i32 = "log.segment.bytes", Kind::Int(at_least(1 << 20)), Some("1073741824");
        /// Connections that clients may have open at once. In any case 16,384 for each shard are the most.
        max_connections: usize = "max.connections", Kind::Int(at_least(0)), Some("2147483647");
        /// Largest record batch, bytes, as it comes from the producer.
        message_max_bytes: i32 = "message.max.bytes", Kind::Int(at_least(0)), Some("1048588");
        /// Changes of the metadata after which it is written anew as a snapshot, and the log of them begins anew.
        metadata_log_max_entries_between_snapshots: u64 =
            "metadata.log.max.entries.between.snapshots", Kind::Long(at_least(1)), Some("100000");
        /// The same by bytes of the log. Kafka's default is 20971520.
        metadata_log_max_record_bytes_between_snapshots: u64 =
            "metadata.log.max.record.bytes.between.snapshots", Kind::Long(at_least(1 << 10)), Some("67108864");
        /// In-sync replicas that a write with acks=-1 needs; a topic with fewer replicas needs them all. In a cluster of 3
        /// voters or more: 2.
        min_insync_replicas: i32 = "min.insync.replicas", Kind::Int(at_least(1)), Some("1");
        /// Partitions of a topic that is created without a number of its own.
        num_partitions: i32 = "num.partitions", Kind::Int(between(1, I32_MAX)), Some("1");
        /// How often it is looked whether leaders are to be brought back, s. Kafka's default is 300: here a planned move takes a
        /// moment, and until then the others do the work of a broker that is back.
        leader_imbalance_check_interval_seconds: u64 =
            "leader.imbalance.check.interval.seconds", Kind::Long(at_least(1)), Some("10");
        /// How long the state of an idempotent producer that writes nothing is kept, ms.
        producer_id_expiration_ms: i64 = "producer.id.expiration.ms", Kind::Int(at_least(1)), Some("86400000");
        /// Bytes of requests that may be in memory at once, in the whole broker; -1: the broker's own bound.
        queued_max_request_bytes: i64 = "queued.max.request.bytes", Kind::Long(at_least(-1)), Some("-1");
        /// Bytes per second that a shard reads from its disk for each shard of followers that are far behind.
        replica_catch_up_bytes_per_second_max: u64 =
            "replica.catch.up.bytes.per.second.max", Kind::Long(at_least(1 << 16)), Some("268435456");
        /// Records that a follower may be behind before it leaves the in-sync replicas; -1: any number. Kafka gave it up, since a
        /// burst alone makes healthy followers leave.
        replica_lag_max_messages: i64 = "replica.lag.max.messages", Kind::LongOrMinusOne(at_least(1)), Some("-1");
        /// How long a follower may not have been caught up before it leaves the in-sync replicas, ms. Kafka's default is 30000.
        replica_lag_time_max_ms: u64 = "replica.lag.time.max.ms", Kind::Long(at_least(1)), Some("10000");
        /// Largest request, bytes; a connection that sends more is closed.
        socket_request_max_bytes: usize = "socket.request.max.bytes", Kind::Int(at_least(1)), Some("104857600");
    }
}

impl BrokerConfig {
    /// Works out what follows from the number of initial voters and was not given: what is acknowledged survives one broker.
    pub(super) fn derive(&mut self, voters: usize, is_given: impl Fn(&str) -> bool) -> Vec<Derived> {
        if voters == 1 {
            return Vec::new();
        }
        let (replicas, in_sync) = if voters >= 3 { (3, 2) } else { (2, 1) };
        let mut derived = Vec::new();
        let mut derive = |name, value: i32| {
            derived.push(Derived { name, value: value.to_string(), from: format!("voters: {voters}") });
        };
        if !is_given("default.replication.factor") {
            self.default_replication_factor = replicas;
            derive("default.replication.factor", replicas.into());
        }
        if !is_given("min.insync.replicas") {
            self.min_insync_replicas = in_sync;
            derive("min.insync.replicas", in_sync);
        }
        derived
    }

    /// `log.retention.ms`, else minutes, else hours, in ms; -1: no limit.
    pub fn retention_ms(&self) -> i64 {
        let in_ms = |count: i32, unit_ms: i64| if count < 0 { -1 } else { i64::from(count) * unit_ms };
        self.log_retention_ms
            .or(self.log_retention_minutes.map(|minutes| in_ms(minutes, 60_000)))
            .unwrap_or(in_ms(self.log_retention_hours, 3_600_000))
    }

    /// `log.roll.ms`, else hours, in ms.
    pub fn roll_ms(&self) -> i64 {
        self.log_roll_ms.unwrap_or(i64::from(self.log_roll_hours) * 3_600_000)
    }

    /// `connections.max.idle.ms`; none: never.
    pub fn connections_idle_max(&self) -> Option<Duration> {
        u64::try_from(self.connections_max_idle_ms).ok().map(Duration::from_millis)
    }

    /// `replica.lag.max.messages`; none: any number.
    pub fn lag_records_max(&self) -> Option<i64> {
        (self.replica_lag_max_messages >= 0).then_some(self.replica_lag_max_messages)
    }

    /// `queued.max.request.bytes`; none: the broker's own bound.
    pub fn queued_request_bytes_max(&self) -> Option<u64> {
        u64::try_from(self.queued_max_request_bytes).ok()
    }
}

fn check_rack(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("it is empty".into()) } else { Ok(()) }
}

/// What a name given by the operator is.
pub enum Known {
    /// It acts, or is fixed to a value that may be repeated; `value` has been checked.
    Acts(Value),
    /// It is fixed here, and was given as it is: nothing to do.
    Fixed,
}

/// A setting that Kafka has and that has one value here.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// Kafka's name.
    pub name: &'static str,
    /// The value that it always has here.
    pub value: &'static str,
    /// Why no other.
    pub why: &'static str,
}

/// Settings that may be given only as they are: each is a promise that clients rely on.
pub const FIXED: [Fixed; 4] = [
    Fixed {
        name: "compression.type",
        value: "producer",
        why: "batches are stored as the producer compressed them, and never compressed again",
    },
    Fixed { name: "log.cleanup.policy", value: "delete", why: "logs are not compacted" },
    Fixed {
        name: "log.message.timestamp.type",
        value: "CreateTime",
        why: "batches are stored with the producer's timestamps",
    },
    Fixed {
        name: "unclean.leader.election.enable",
        value: "false",
        why: "a replica that may lack acknowledged records leads only in topics that say so themselves",
    },
];

/// Every setting that Kafka has and that does nothing here, and why it is refused.
pub fn refused() -> impl Iterator<Item = (&'static str, &'static str)> {
    refused::GROUPS.iter().flat_map(|(why, names)| names.iter().map(|name| (*name, *why)))
}

/// The same, by reason.
pub fn refused_groups() -> &'static [(&'static str, &'static [&'static str])] {
    refused::GROUPS
}

/// The row of a setting that acts.
pub fn setting(name: &str) -> Option<&'static Setting> {
    BrokerConfig::TABLE.iter().find(|setting| setting.name == name)
}

/// Every name that Kafka knows, for suggestions and variables.
pub fn names() -> impl Iterator<Item = &'static str> {
    let acting = BrokerConfig::TABLE.iter().map(|setting| setting.name);
    acting.chain(FIXED.iter().map(|fixed| fixed.name)).chain(refused().map(|(name, _)| name))
}

/// Checks a name and a value from the operator; an error is a sentence that says why not.
pub fn check(name: &str, text: &str) -> Result<Known, String> {
    if let Some(setting) = setting(name) {
        return setting.kind.parse(name, text).map(Known::Acts);
    }
    if let Some(Fixed { value, why, .. }) = FIXED.iter().find(|fixed| fixed.name == name) {
        if text.trim().eq_ignore_ascii_case(value) {
            return Ok(Known::Fixed);
        }
        return Err(format!("{name} is always {value} here: {why}"));
    }
    if let Some((_, why)) = refused().find(|(refused, _)| *refused == name) {
        return Err(format!("{name} is a setting of Kafka's that does nothing here: {why}"));
    }
    Err(format!("there is no setting {name}{}", suggest::hint(name, names())))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Settings that Kafka does not have, or has no more.
    const OURS: [&str; 3] = [
        "metadata.log.max.entries.between.snapshots",
        "replica.catch.up.bytes.per.second.max",
        "replica.lag.max.messages",
    ];

    fn why_not(name: &str, text: &str) -> String {
        check(name, text).err().unwrap_or_else(|| panic!("{name}={text} was taken"))
    }

    #[test]
    fn every_setting_of_kafka_is_known_once() {
        let kafka: BTreeSet<&str> = include_str!("broker/testdata/kafka-4.3.1-names.txt").lines().collect();
        let ours: Vec<&str> = names().collect();
        let once: BTreeSet<&str> = ours.iter().copied().collect();
        assert_eq!(ours.len(), once.len());
        assert_eq!(kafka.difference(&once).collect::<Vec<_>>(), Vec::<&&str>::new(), "not known here");
        assert_eq!(once.difference(&kafka).copied().collect::<Vec<_>>(), OURS, "not Kafka's");
    }

    #[test]
    fn every_refused_setting_says_why() {
        for (name, why) in refused() {
            assert!(why.split(' ').count() >= 4, "{name}: {why}");
            assert!(why_not(name, "1").ends_with(why));
        }
    }

    #[test]
    fn a_fixed_setting_may_be_given_as_it_is() {
        for Fixed { name, value, why } in FIXED {
            assert!(matches!(check(name, value), Ok(Known::Fixed)));
            assert!(why_not(name, "something else").contains(why));
        }
    }

    #[test]
    fn an_unknown_setting_gets_the_nearest() {
        assert_eq!(why_not("num.partition", "3"), "there is no setting num.partition; did you mean num.partitions?");
        assert_eq!(why_not("frobnicate", "3"), "there is no setting frobnicate");
    }

    #[test]
    fn retention_goes_by_the_finest_unit_given() {
        let mut config = BrokerConfig::default();
        assert_eq!(config.retention_ms(), 604_800_000);
        config.log_retention_hours = i32::MAX;
        assert_eq!(config.retention_ms(), i64::from(i32::MAX) * 3_600_000);
        config.log_retention_hours = -1;
        assert_eq!(config.retention_ms(), -1);
        config.log_retention_minutes = Some(2);
        assert_eq!(config.retention_ms(), 120_000);
        config.log_retention_ms = Some(5);
        assert_eq!(config.retention_ms(), 5);
    }

    #[test]
    fn rolling_goes_by_the_finest_unit_given() {
        let mut config = BrokerConfig::default();
        assert_eq!(config.roll_ms(), 604_800_000);
        config.log_roll_ms = Some(7);
        assert_eq!(config.roll_ms(), 7);
    }

    #[test]
    fn defaults_are_kafkas_but_for_what_failover_waits_for() {
        const OTHER_DEFAULTS: [&str; 5] = [
            "broker.heartbeat.interval.ms",
            "broker.session.timeout.ms",
            "leader.imbalance.check.interval.seconds",
            "metadata.log.max.record.bytes.between.snapshots",
            "replica.lag.time.max.ms",
        ];
        let config = BrokerConfig::default();
        assert_eq!((config.num_partitions, config.message_max_bytes), (1, 1_048_588));
        assert_eq!(config.fetch_max_bytes, 55 << 20);
        assert_eq!(config.replica_lag_time_max_ms, 10_000);
        for setting in BrokerConfig::TABLE {
            let kafka = include_str!("broker/testdata/kafka-4.3.1-defaults.txt")
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{}=", setting.name)));
            if !OTHER_DEFAULTS.contains(&setting.name) && !OURS.contains(&setting.name) {
                assert_eq!(setting.default, kafka.filter(|value| *value != "null"), "{}", setting.name);
            }
        }
    }
}
