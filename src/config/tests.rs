//! Layers, their order, and what is refused.

use super::*;

fn machine() -> Machine {
    Machine { cpus: vec![0, 1], processors: 2 }
}

fn sources(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Sources {
    let flag = |name: &str| {
        if name.contains('.') { format!("--set {name}") } else { format!("--{name}") }
    };
    let given = |(name, text): &(&str, &str)| Given {
        name: (*name).into(),
        text: (*text).into(),
        origin: Origin::Flag(flag(name)),
    };
    Sources {
        mode: None,
        file: (!file.is_empty()).then(|| ("chronik.toml".into(), file.into())),
        variables: variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        flags: flags.iter().map(given).collect(),
    }
}

fn load(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Config {
    Config::load(&sources(file, variables, flags), &machine()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn refused(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    Config::load(&sources(file, variables, flags), &machine()).expect_err("accepted").to_string()
}

#[test]
fn flags_win_over_environment_and_environment_over_file() {
    let file = "node-id = 1\nshards = 2\nkafka-port = 3\nnum.partitions = 4";
    let variables = [("CHRONIK_SHARDS", "20"), ("CHRONIK_KAFKA_PORT", "30"), ("CHRONIK_NUM_PARTITIONS", "40")];
    let config = load(file, &variables, &[("kafka-port", "300"), ("num.partitions", "400")]);
    assert_eq!(config.process.node_id.0, 1);
    assert_eq!(config.process.shards, 20);
    assert_eq!(config.process.kafka_bind.port(), 300);
    assert_eq!(config.broker.num_partitions, 400);
    assert_eq!(config.set_value("num.partitions"), Some("400"));
    assert_eq!(config.set_value("min.insync.replicas"), None);
    assert_eq!(load(file, &variables, &[]).broker.num_partitions, 40);
    assert_eq!(load(file, &[], &[]).broker.num_partitions, 4);
    assert_eq!(load("", &[], &[]).broker.num_partitions, 1);
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest() {
    assert_eq!(
        refused("node-id = 1\n\nkafka_prot = 9092\n", &[], &[]),
        "chronik.toml:3: there is no setting kafka_prot; did you mean kafka-port?"
    );
    assert_eq!(
        refused("[log]\nretention.sm = 1\n", &[], &[]),
        "chronik.toml:2: there is no setting log.retention.sm; did you mean log.retention.ms?"
    );
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest() {
    assert_eq!(
        refused("", &[("CHRONIK_KAFKA_PROT", "1"), ("HOME", "x")], &[]),
        "environment CHRONIK_KAFKA_PROT: there is no such variable; did you mean CHRONIK_KAFKA_PORT?"
    );
    assert_eq!(
        refused("", &[("CHRONIK_CONIFG", "x")], &[]),
        "environment CHRONIK_CONIFG: there is no such variable; did you mean CHRONIK_CONFIG?"
    );
    assert_eq!(refused("", &[("CHRONIK_FOO", "x")], &[]), "environment CHRONIK_FOO: there is no such variable");
    load("", &[("CHRONIK_CONFIG", "/etc/chronik.toml")], &[]);
}

#[test]
fn an_unknown_setting_of_the_flag_is_refused_with_the_nearest() {
    assert_eq!(
        refused("", &[], &[("num.partition", "3")]),
        "flag --set num.partition: there is no setting num.partition; did you mean num.partitions?"
    );
}

#[test]
fn a_setting_without_effect_is_refused_in_every_layer() {
    let why = "ssl.protocol is a setting of Kafka's that does nothing here: TLS is not built into this broker yet";
    assert_eq!(refused("ssl.protocol = \"TLSv1.3\"", &[], &[]), format!("chronik.toml:1: {why}"));
    assert_eq!(refused("", &[("CHRONIK_SSL_PROTOCOL", "x")], &[]), format!("environment CHRONIK_SSL_PROTOCOL: {why}"));
    assert_eq!(refused("", &[], &[("ssl.protocol", "x")]), format!("flag --set ssl.protocol: {why}"));
}

#[test]
fn a_value_that_is_not_of_its_kind_is_refused() {
    assert_eq!(
        refused("num.partitions = 0", &[], &[]),
        "chronik.toml:1: Invalid value 0 for configuration num.partitions: Value must be at least 1"
    );
    let message = refused("", &[], &[("advertised-addr", "0.0.0.0")]);
    assert!(message.starts_with("flag --advertised-addr: Invalid value 0.0.0.0"), "{message}");
    assert!(refused("", &[], &[("kafka-port", "65536")]).contains("no more than 65535"));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let message = refused("a = 1\nb = 2\n", &[("CHRONIK_C", "3")], &[("shards", "0")]);
    assert_eq!(message.lines().count(), 4, "{message}");
}

#[test]
fn a_setting_given_twice_in_one_layer_is_refused() {
    assert_eq!(
        refused("\"log.roll.ms\" = 1\nlog.roll.ms = 2\n", &[], &[]),
        "chronik.toml:2: log.roll.ms is given twice, first by chronik.toml:1"
    );
    assert!(refused("", &[], &[("shards", "1"), ("shards", "1")]).contains("given twice"));
}

#[test]
fn settings_that_conflict_name_the_one_to_blame() {
    let message = refused("spin-us = 5", &[], &[]);
    assert_eq!(message, "chronik.toml:1: spin-us: only pinned executors spin; give --pin too");
}

#[test]
fn a_fixed_setting_may_be_repeated_as_it_is() {
    load("compression.type = \"producer\"\nlog.cleanup.policy = [\"delete\"]\n", &[], &[]);
    assert!(refused("compression.type = \"gzip\"", &[], &[]).contains("is always producer here"));
}

#[test]
fn every_variable_is_of_one_setting() {
    let variables: Vec<String> = names().map(setting::variable_of).collect();
    let is_shared = |variable: &&String| variables.iter().filter(|other| other == variable).count() > 1;
    let shared: Vec<&String> = variables.iter().filter(is_shared).collect();
    // Kafka's node.id is refused, ours is not.
    assert_eq!(shared, ["CHRONIK_NODE_ID", "CHRONIK_NODE_ID"]);
    assert_eq!(load("", &[("CHRONIK_NODE_ID", "7")], &[]).process.node_id.0, 7);
}

#[test]
fn printed_settings_are_as_they_were_agreed() {
    let file = "# broker 3\nnode-id = 3\nlog.retention.ms = 5\n";
    let variables = [("CHRONIK_ADVERTISED_ADDR", "broker-3.example.com")];
    let printed = load(file, &variables, &[("kafka-port", "19092"), ("num.partitions", "6")]).print();
    assert_eq!(printed, include_str!("testdata/print-config.toml"), "\n{printed}");
}

#[test]
fn printed_settings_are_a_file_that_gives_the_same() {
    let config = load("data-dir = 'a\"b\\c'\nlog.roll.ms = 7\npin = true\nspin-us = 9", &[], &[]);
    let again = load(&config.print(), &[], &[]);
    assert_eq!((&again.process, &again.broker), (&config.process, &config.broker));
}
