//! Foreign clients and a cluster whose brokers die: producers go on by themselves, consumers read everything in order, tools tell
//! what is.

use std::time::Duration;

use crate::support::clients::{kafka_tools, python};
use crate::support::cluster::{Cluster, LIMIT};
use crate::support::load::{create_topic, offsets};
use crate::support::{eventually, shared};

const RECORDS: i64 = 6000;
/// A producer is to be at work for some seconds.
const PER_SECOND: i64 = 1000;

/// Runs a client that produces to partition 0 of `t`, whose leader dies on the way; says what the client said.
fn while_the_leader_dies<T: Send>(cluster: &mut Cluster, client: impl FnOnce(&str) -> T + Send) -> T {
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    std::thread::scope(|scope| {
        let said = scope.spawn(|| client(&bootstrap));
        let has_begun = || said.is_finished() || offsets(&bootstrap, "t", 0).1 > RECORDS / 6;
        eventually(LIMIT * 2, "the client is at work", || has_begun().then_some(()));
        let leader = eventually(LIMIT, "somebody leads", || cluster.leader(1, "t", 0));
        cluster.kill(&[leader]);
        said.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Scenario of a leader that dies, Java client.
#[test]
fn a_java_producer_goes_on_when_its_leader_dies_and_a_java_consumer_reads_all_in_order() {
    if !shared::is_ours() {
        return;
    }
    let Some(tools) = kafka_tools() else { return };
    let mut cluster = Cluster::start();
    let (records, pace) = (RECORDS.to_string(), PER_SECOND.to_string());
    // The tool itself turns off what a producer does by default.
    let config = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(config.path(), "retries=2147483647\nenable.idempotence=true\n").expect("written");
    let path = config.path().display().to_string();
    let said = while_the_leader_dies(&mut cluster, |bootstrap| {
        let arguments = ["--bootstrap-server", bootstrap, "--topic", "t", "--acks", "-1", "--command-config", &path];
        let arguments = [&arguments[..], &["--max-messages", &records, "--throughput", &pace]].concat();
        tools.run("VerifiableProducer", &arguments)
    });
    assert_eq!(said.matches("producer_send_success").count() as i64, RECORDS, "{said}");
    let bootstrap = cluster.bootstrap();
    let from = ["--bootstrap-server", &bootstrap, "--topic", "t", "--partition", "0", "--offset", "earliest"];
    let read = [&from[..], &["--max-messages", &records, "--timeout-ms", "30000"]].concat();
    let values = tools.run("consumer.ConsoleConsumer", &read);
    let values: Vec<i64> = values.lines().map(|line| line.parse().expect("a number")).collect();
    assert!(values == (0..RECORDS).collect::<Vec<_>>(), "all, once, in order");
    assert_eq!(offsets(&bootstrap, "t", 0), (0, RECORDS));
}

/// Scenario of a leader that dies, Python clients.
#[test]
fn python_clients_go_on_when_their_leader_dies() {
    if !shared::is_ours() {
        return;
    }
    for client in ["confluent", "kafka-python"] {
        let mut cluster = Cluster::start();
        let (records, pace) = (RECORDS.to_string(), PER_SECOND.to_string());
        let said = while_the_leader_dies(&mut cluster, |bootstrap| {
            python("failover.py", &[client, bootstrap, "t", &records, &pace])
        });
        let Some(said) = said else { return };
        assert_eq!(said.trim(), "ok");
    }
}

/// Scenarios of a shrunken and an expanded set of in-sync replicas, as an operator sees them.
#[test]
fn every_broker_tells_kafkas_tools_who_is_in_sync() {
    if !shared::is_ours() {
        return;
    }
    let Some(tools) = kafka_tools() else { return };
    let mut cluster = Cluster::start();
    create_topic(&cluster.bootstrap(), "t", 1, &[]);
    cluster.await_in_sync(&[1, 2, 3]);
    let in_sync = |cluster: &Cluster, node: i32| {
        let described = tools
            .run("TopicCommand", &["--bootstrap-server", &cluster[node].bootstrap(), "--describe", "--topic", "t"]);
        let listed = described.split("Isr: ").nth(1).expect("a partition").split_whitespace().next().expect("a list");
        let mut ids: Vec<i32> = listed.split(',').map(|id| id.parse().expect("a number")).collect();
        ids.sort_unstable();
        ids
    };
    cluster.kill(&[3]);
    let limit = Duration::from_secs(11);
    for node in [1, 2] {
        eventually(limit, "it tells that broker 3 is out", || (in_sync(&cluster, node) == [1, 2]).then_some(()));
    }
    cluster.launch(&[3]);
    cluster.await_ready(&[3]);
    for node in [1, 2, 3] {
        eventually(limit, "it tells that broker 3 is back", || (in_sync(&cluster, node) == [1, 2, 3]).then_some(()));
    }
}
