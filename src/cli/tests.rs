//! The command line as people type it.

use std::io::Write;

use super::*;
use crate::config::process::Placement;

fn machine() -> Machine {
    Machine { cpus: vec![0, 1], processors: 2 }
}

fn parse_in(line: &str, environment: &[(&str, &str)]) -> Result<Action, CliError> {
    let args = ["chronik-server"].into_iter().chain(line.split_whitespace()).map(OsString::from);
    let environment = environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    parse(args, environment, &machine())
}

fn run_in(line: &str, environment: &[(&str, &str)]) -> Config {
    match parse_in(line, environment) {
        Ok(Action::Run(config)) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

fn refused(line: &str) -> String {
    parse_in(line, &[]).expect_err(line).to_string()
}

fn printed(line: &str) -> String {
    match parse_in(line, &[]) {
        Ok(Action::Print(text)) => text,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_definition_is_consistent() {
    command().debug_assert();
}

#[test]
fn standalone_alone_is_enough() {
    assert_eq!(run_in("standalone", &[]), Config::load(&Sources::default(), &machine()).expect("defaults"));
}

#[test]
fn a_flag_means_the_same_before_and_after_the_subcommand() {
    let before = run_in("--kafka-port 19092 --set num.partitions=3 --no-pin standalone", &[]);
    let after = run_in("standalone --kafka-port 19092 --set num.partitions=3 --no-pin", &[]);
    assert_eq!(before, after);
    assert_eq!((before.process.kafka_bind.port(), before.broker.num_partitions), (19092, 3));
    let both = run_in("--set num.partitions=3 standalone --set min.insync.replicas=2", &[]);
    assert_eq!((both.broker.num_partitions, both.broker.min_insync_replicas), (3, 2));
}

#[test]
fn the_papers_command_line_works() {
    let config = run_in("standalone --kafka-port 9092 --advertised-addr localhost --data-dir ./data", &[]);
    assert_eq!(config.process.data_dir, PathBuf::from("./data"));
    let line = "--kafka-port 9092 --advertised-addr localhost --node-id 1 raft-cluster --raft-addr 0.0.0.0:9192 \
                --peers 2@localhost:9193,3@localhost:9194 --bootstrap";
    let node = run_in(line, &[]);
    let cluster = node.process.cluster.expect("a cluster");
    assert_eq!((node.process.node_id.0, node.process.data_dir), (1, PathBuf::from("./data/node-1")));
    assert_eq!((cluster.raft_bind.port(), cluster.bootstrap), (9192, true));
    assert_eq!(cluster.peers.iter().map(|peer| (peer.id.0, peer.port)).collect::<Vec<_>>(), [(2, 9193), (3, 9194)]);
    assert_eq!((node.broker.default_replication_factor, node.broker.min_insync_replicas), (3, 2));
    let in_words = [("CHRONIK_RAFT_ADDR", "0.0.0.0:9192"), ("CHRONIK_PEERS", "2@a:1"), ("CHRONIK_BOOTSTRAP", "true")];
    let pair = run_in("raft-cluster --set min.insync.replicas=2", &in_words);
    assert_eq!((pair.broker.default_replication_factor, pair.broker.min_insync_replicas), (2, 2));
    assert!(pair.print().contains("\"default.replication.factor\" = 2"));
}

#[test]
fn what_is_given_twice_is_refused() {
    assert!(refused("--kafka-port 1 standalone --kafka-port 2").contains("before and after the subcommand"));
    assert!(refused("--config a standalone --config b").contains("before and after the subcommand"));
    assert!(refused("standalone --shards 1 --shards 2").contains("cannot be used multiple times"));
    assert!(refused("standalone --set num.partitions=1 --set num.partitions=2").contains("given twice"));
}

#[test]
fn what_is_switched_on_can_be_switched_off() {
    let pinned = run_in("standalone --pin", &[("CHRONIK_PIN", "false")]);
    assert_eq!(pinned.process.placement, Placement { metadata: Some(0), shards: vec![Some(1)] });
    assert_eq!(run_in("standalone --no-pin", &[("CHRONIK_PIN", "true")]).process.placement.metadata, None);
    assert_eq!(run_in("standalone --pin --no-pin", &[]).process.placement.metadata, None);
}

#[test]
fn flags_win_over_the_environment() {
    let environment = [("CHRONIK_SHARDS", "3"), ("CHRONIK_NUM_PARTITIONS", "4"), ("PATH", "/bin")];
    let config = run_in("standalone --shards 2", &environment);
    assert_eq!((config.process.shards, config.broker.num_partitions), (2, 4));
}

#[test]
fn the_file_may_be_named_by_flag_or_variable() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    writeln!(file, "kafka-port = 1234\n[log]\nretention.ms = 5").expect("written");
    let path = file.path().to_str().expect("text");
    for config in
        [run_in(&format!("standalone --config {path}"), &[]), run_in("standalone", &[("CHRONIK_CONFIG", path)])]
    {
        assert_eq!((config.process.kafka_bind.port(), config.broker.log_retention_ms), (1234, Some(5)));
    }
    assert!(refused("standalone --config /nowhere/at/all").starts_with("/nowhere/at/all: "));
}

#[test]
fn a_misspelt_flag_or_command_gets_the_nearest() {
    assert!(refused("standalone --kafka-prot 1").contains("--kafka-port"));
    assert!(refused("standalon").contains("standalone"));
    assert!(refused("raft-clustr").contains("raft-cluster"));
    assert!(refused("raft-cluster").contains("raft-addr"));
    assert!(refused("standalone --set kafka-port=1").contains("--kafka-port"));
    assert!(refused("standalone --set x").contains("NAME=VALUE"));
}

#[test]
fn a_wrong_value_is_refused_in_a_sentence() {
    let message = refused("standalone --advertised-addr 0.0.0.0");
    assert!(message.starts_with("flag --advertised-addr: Invalid value 0.0.0.0"), "{message}");
    assert!(message.contains("no client can connect to it"));
    assert!(refused("standalone --advertised-addr=").contains("it is empty"));
    assert!(refused("standalone --shards -1").contains("at least 1"));
    assert!(refused("standalone --set num.partitions=x").contains("Not a number of type INT"));
}

#[test]
fn nothing_to_run_is_said() {
    assert!(refused("").contains("chronik-server standalone"));
    assert!(refused("--kafka-port 1").contains("chronik-server standalone"));
}

#[test]
fn settings_and_reference_are_printed_without_a_subcommand() {
    assert!(printed("--print-config --kafka-port 7").contains("kafka-port = 7 "));
    assert!(printed("standalone --print-config").contains("kafka-port = 9092 "));
    assert!(printed("--print-reference").starts_with("# Reference\n"));
}

#[test]
fn help_names_every_flag_on_both_levels() {
    for line in ["--help", "standalone --help", "raft-cluster --help"] {
        let help = refused(line);
        for setting in ProcessSettings::TABLE {
            assert!(help.contains(&format!("--{}", setting.name)), "{line}: {}", setting.name);
        }
        assert!(!help.contains("--print-reference"));
    }
}
