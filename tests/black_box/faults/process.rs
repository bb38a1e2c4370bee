//! Starting twice, starting wrongly, stopping politely.

use std::time::Duration;

use crate::support::broker::Broker;
use crate::support::load::create_topic;
use crate::support::pump::Pump;
use crate::support::shared;

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

#[test]
fn the_metrics_move_under_load() {
    if !shared::is_ours() {
        return;
    }
    let broker = Broker::start();
    create_topic(&broker.bootstrap(), "t", 1, &[]);
    let pump = Pump::start(&broker.bootstrap(), "t", 1, 2);
    let scrape = || {
        let answer = broker.admin_get("/metrics").expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect::<Vec<String>>()
    };
    pump.advance(1000);
    let before = scrape();
    pump.advance(1000);
    let after = scrape();
    let moved = after.iter().filter(|line| !before.contains(line)).count();
    assert!(moved >= 5, "only {moved} lines of {} have moved:\n{}", after.len(), after.join("\n"));
    for (head, path) in [("HTTP/1.1 200", "/live"), ("HTTP/1.1 200", "/ready"), ("HTTP/1.1 404", "/nothing")] {
        assert!(broker.admin_get(path).is_some_and(|answer| answer.starts_with(head)), "{path}");
    }
    pump.finish();
}
