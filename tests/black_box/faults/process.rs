//! Starting twice, starting wrongly, stopping politely.

use std::time::Duration;

use chronik::metrics::table::Metric;
use chronik::metrics::tables;
use kafka_protocol::records::Compression;

use crate::support::broker::{Broker, Options};
use crate::support::load::{LIMIT, create_topic, read};
use crate::support::pump::Pump;
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, frame, produce_request};
use crate::support::{eventually, shared};

/// A process that must refuse does so at once.
const REFUSAL: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(10);

#[test]
fn a_second_process_on_the_same_data_is_refused() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start();
    let data = broker.data_dir().display().to_string();
    let (status, said) =
        Broker::run_to_end(&["standalone", "--kafka-port", "0", "--admin-port", "0", "--data-dir", &data], REFUSAL);
    assert!(!status.success());
    assert!(said.contains(&data), "it names the folder: {said}");
    create_topic(&broker.bootstrap(), "t", 1, &[]);
}

#[test]
fn a_second_broker_on_the_same_port_is_refused() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (port, data) = (broker.port().to_string(), folder.path().display().to_string());
    let (status, said) =
        Broker::run_to_end(&["standalone", "--kafka-port", &port, "--admin-port", "0", "--data-dir", &data], REFUSAL);
    assert!(!status.success());
    assert!(said.contains(&port), "it names the port: {said}");
    create_topic(&broker.bootstrap(), "t", 1, &[]);
}

#[test]
fn sigterm_under_load_ends_with_0_and_the_producer_goes_on_after_the_restart() {
    if !shared::is_ours() {
        return;
    }
    let mut broker = Broker::start();
    create_topic(&broker.bootstrap(), "t", 3, &[]);
    let pump = Pump::start(&broker.bootstrap(), "t", 3, 1);
    for _ in 0..3 {
        pump.advance(2000);
        let status = broker.stop(STOP);
        assert_eq!(status.code(), Some(0), "{status}");
        broker.launch();
    }
    pump.advance(2000);
    pump.finish();
}

#[test]
fn wrong_settings_are_refused_with_a_sentence_that_helps() {
    if !shared::is_ours() {
        return;
    }
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let data = folder.path().display().to_string();
    for (arguments, expected) in [
        (["--advertised-addr", "0.0.0.0"], "0.0.0.0"),
        (["--advertised-addr", "host:1:2"], "host:1:2"),
        (["--set", "num.partition=3"], "num.partitions"),
        (["--set", "num.partitions=many"], "num.partitions"),
        (["--set", "log.cleaner.enable=true"], "log.cleaner.enable"),
    ] {
        let all =
            [&["standalone", "--kafka-port", "0", "--admin-port", "0", "--data-dir", &data], &arguments[..]].concat();
        let (status, said) = Broker::run_to_end(&all, REFUSAL);
        assert!(!status.success(), "{arguments:?}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{arguments:?}: {said}");
    }
}

/// What moves only when something fails, or may well be zero.
const STILL: [&str; 12] = [
    "chronik_connections_refused_total",
    "chronik_connections_accept_errors_total",
    "chronik_connections_idle_closed_total",
    "chronik_memory_used_bytes",
    "chronik_logs_offline",
    "chronik_recovery_scanned_bytes_total",
    "chronik_recovery_torn_tails_total",
    "chronik_flush_barrier",
    "chronik_raft_leader_count",
    "chronik_partition_log_start_offset",
    // A broker by itself replicates nothing: tests of clusters watch these.
    "chronik_replication_in_bytes_total",
    "chronik_replication_out_bytes_total",
];

/// Lesson 87.
#[test]
fn the_metrics_move_under_load() {
    if !shared::is_ours() {
        return;
    }
    let arguments = vec!["--partition-metrics".to_owned()];
    let broker = Broker::start_with(Options { arguments, ..Options::default() });
    let bootstrap = broker.bootstrap();
    create_topic(&bootstrap, "t", 1, &[]);
    let pump = Pump::start(&bootstrap, "t", 1, 2);
    pump.advance(1000);
    assert!(read(&bootstrap, "t", 0, 0, 1000).len() >= 1000);
    let mut wire = Wire::connect(&bootstrap);
    wire.ask(&produce_request("nowhere", 0, -1, batch(&[b"a"], Compression::None)), PRODUCE_VERSION);
    wire.send_raw(&frame(b"no request")).expect("open");
    assert!(wire.is_closed());
    let documented = || tables().into_iter().flat_map(|(_, _, rows)| rows).map(Metric::family);
    eventually(LIMIT, "what is documented has moved", || {
        let values = broker.scrape();
        let moved = |family: &str| values.iter().any(|(series, value)| is_of(series, family) && *value > 0.0);
        let still: Vec<&str> = documented().filter(|family| !STILL.contains(family) && !moved(family)).collect();
        // Shown where the test fails.
        println!("still: {still:?}");
        still.is_empty().then_some(())
    });
    let values = broker.scrape();
    assert_eq!(values["chronik_errors_total{code=\"3\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"}"], 1.0);
    assert!(values["chronik_fetch_records_total"] >= 1000.0);
    assert_eq!(values["chronik_requests_malformed_total"], 1.0);
    for (head, path) in [("HTTP/1.1 200", "/live"), ("HTTP/1.1 200", "/ready"), ("HTTP/1.1 404", "/nothing")] {
        assert!(broker.admin_get(path).is_some_and(|answer| answer.starts_with(head)), "{path}");
    }
    let page = broker.admin_get("/").expect("an answer");
    assert!(page.contains("Cluster") && !page.contains("not known yet"), "{page}");
    pump.finish();
    // Lesson 2: what requests held is given back.
    eventually(LIMIT, "no request holds memory", || (broker.request_bytes() == 0.0).then_some(()));
}

/// Whether a series, with its labels and a histogram's endings, is one of this family.
fn is_of(series: &str, family: &str) -> bool {
    let name = series.split('{').next().unwrap_or(series);
    name == family || name.strip_suffix("_count") == Some(family)
}
