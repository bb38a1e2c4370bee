//! Whole runs against librdkafka's mock cluster: a real broker on real sockets, inside this process.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::time::{Duration, Instant};

use clap::Parser;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::*;

struct Cluster {
    mock: MockCluster<'static, DefaultProducerContext>,
}

impl Cluster {
    fn new(brokers: i32, partitions: i32) -> Self {
        let mock = MockCluster::new(brokers).unwrap();
        mock.create_topic("t", partitions, 1).unwrap();
        Self { mock }
    }

    fn options(&self, arguments: &str) -> Options {
        let bootstrap = self.mock.bootstrap_servers();
        let fixed = ["chronik-bench", "--bootstrap-servers", &bootstrap, "--topic", "t", "--quiet", "--timeout", "5s"];
        let options = Options::try_parse_from(fixed.into_iter().chain(arguments.split_whitespace())).unwrap();
        options.check().unwrap();
        options
    }

    fn run(&self, arguments: &str) -> Figures {
        run(&self.options(arguments)).unwrap().1
    }
}

const SHORT: &str = "--warm-up 100ms --duration 400ms";

#[test]
fn a_closed_loop_measures_the_time_asked_for() {
    let cluster = Cluster::new(3, 4);
    let started = Instant::now();
    let figures = cluster.run(&format!("{SHORT} --concurrency 32 --message-size 40-300"));
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(figures.is_clean(), "{figures:?}");
    assert!((figures.elapsed_s - 0.4).abs() < 1e-9, "{}", figures.elapsed_s);
    assert!((figures.msgs_per_s - figures.messages as f64 / 0.4).abs() < 1e-6);
    assert!(figures.p50_ms <= figures.p99_ms && figures.p99_ms <= figures.max_ms && figures.max_ms.is_some());
}

/// The mock cluster keeps 5 MB of each partition: audited runs end by count.
#[test]
fn an_audit_finds_everything_that_librdkafka_was_told_is_there() {
    let cluster = Cluster::new(3, 4);
    let figures = cluster.run("--records 5000 --warm-up 20ms --rate 20000 --audit --idempotence --message-size 40-300");
    assert!(figures.is_clean(), "{figures:?}");
    let audit = figures.audit.unwrap();
    assert_eq!((audit.acknowledged, audit.read), (5400, 5400), "the warm-up is audited too");
}

#[test]
fn an_audit_finds_everything_from_several_raw_threads_and_connections() {
    let cluster = Cluster::new(3, 7);
    let raw = "--client raw --threads 2 --connections 2 --batch-records 3 --partitions-per-request 2 --concurrency 60";
    let figures = cluster.run(&format!("--records 6000 --warm-up 0s {raw} --audit"));
    assert!(figures.is_clean(), "{figures:?}");
    let audit = figures.audit.unwrap();
    assert!(audit.acknowledged >= 6000 && audit.acknowledged.is_multiple_of(3), "{audit:?}");
    assert_eq!(audit.read, audit.acknowledged);
}

#[test]
fn an_open_loop_keeps_its_rate_with_either_client() {
    let cluster = Cluster::new(1, 2);
    for client in ["librdkafka", "raw"] {
        let figures = cluster.run(&format!("--warm-up 100ms --duration 1s --rate 500 --client {client}"));
        assert!(figures.is_clean(), "{figures:?}");
        assert_eq!((figures.latencies, figures.unsent), (500, 0), "{client}");
        assert!(figures.messages.abs_diff(500) < 50, "{client}: {}", figures.messages);
        assert!(figures.send_late_p99_ms.is_some());
    }
}

#[test]
fn a_rate_beyond_reach_is_told_as_unsent_and_in_the_latency() {
    let cluster = Cluster::new(1, 1);
    cluster.mock.broker_round_trip_time(1, Duration::from_millis(200)).unwrap();
    let figures = cluster.run("--client raw --in-flight 1 --warm-up 0s --duration 1s --rate 1000");
    assert!(figures.unsent > 900, "{figures:?}");
    assert_eq!(figures.latencies, 1000, "sent or not, every record that was due counts");
    assert!(figures.p50_ms.unwrap() > 300.0, "{figures:?}");
}

#[test]
fn a_count_of_records_ends_a_run() {
    let cluster = Cluster::new(1, 2);
    for client in ["librdkafka", "raw"] {
        let figures = cluster.run(&format!("--warm-up 0s --records 1000 --concurrency 10 --client {client}"));
        assert!(figures.is_clean(), "{figures:?}");
        assert_eq!((figures.messages, figures.latencies), (1000, 1000), "{client}");
        assert!(figures.elapsed_s > 0.0 && figures.elapsed_s < 10.0);
    }
}

#[test]
fn end_to_end_latency_includes_the_acknowledgement() {
    let cluster = Cluster::new(1, 2);
    let figures = cluster.run("--mode end-to-end --warm-up 500ms --duration 500ms --rate 200");
    assert!(figures.is_clean(), "{figures:?}");
    assert_eq!(figures.latencies, 100);
    assert!(figures.ack_p50_ms.is_some());
}

#[test]
fn a_backlog_is_read_to_its_end() {
    let cluster = Cluster::new(1, 3);
    cluster.run("--warm-up 0s --records 2000 --concurrency 500 --message-size 100");
    let figures = cluster.run("--mode consume --threads 2");
    assert!(figures.is_clean(), "{figures:?}");
    assert_eq!((figures.messages, figures.p50_ms), (2000, None));
    assert!((figures.mb_per_s * figures.elapsed_s - 0.2).abs() < 1e-6);
}

#[test]
fn a_probe_says_what_a_produce_costs_beyond_an_empty_request() {
    let cluster = Cluster::new(1, 1);
    let figures = cluster.run(&format!("{SHORT} --client raw --concurrency 1 --probe"));
    assert!(figures.is_clean(), "{figures:?}");
    let (produce, probe) = (figures.p50_ms.unwrap(), figures.probe_p50_ms.unwrap());
    assert!((figures.produce_minus_probe_p50_ms.unwrap() - (produce - probe)).abs() < 1e-9);
}

#[test]
fn nobody_waits_without_acknowledgements() {
    let cluster = Cluster::new(1, 1);
    for client in ["librdkafka", "raw"] {
        let figures = cluster.run(&format!("--warm-up 0s --records 500 --concurrency 10 --acks 0 --client {client}"));
        assert_eq!((figures.messages, figures.failed), (500, 0), "{client}");
    }
}

#[test]
fn failures_are_counted_by_code_and_never_in_the_rate() {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    let cluster = Cluster::new(1, 1);
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS;
    cluster.mock.request_errors(RDKafkaApiKey::Produce, &[error; 3]);
    let figures = cluster.run("--client raw --warm-up 0s --records 100 --concurrency 4");
    assert_eq!(figures.errors.get("NotEnoughReplicas"), Some(&3), "{figures:?}");
    assert_eq!((figures.failed, figures.messages), (3, 97));
    assert!(!figures.is_clean());
}

#[test]
fn a_broker_that_goes_away_and_comes_back_costs_failures_and_no_more() {
    let cluster = Cluster::new(1, 2);
    let options = cluster.options("--client raw --warm-up 0s --duration 2s --rate 1000");
    let figures = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&options).unwrap().1);
        std::thread::sleep(Duration::from_millis(700));
        cluster.mock.broker_down(1).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        cluster.mock.broker_up(1).unwrap();
        running.join().unwrap()
    });
    assert!(figures.messages > 1000, "{figures:?}");
    assert!(figures.max_ms.unwrap() > 200.0, "the outage is charged to the records that were due in it: {figures:?}");
    assert!(figures.errors.keys().all(|code| code == "ConnectionLost"), "{figures:?}");
}

#[test]
fn a_broker_that_is_not_there_is_an_error_at_once() {
    let mut options = Cluster::new(1, 1).options("");
    options.bootstrap_servers = "127.0.0.1:1".to_owned();
    let started = Instant::now();
    assert!(run(&options).is_err());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_topic_with_another_number_of_partitions_is_refused() {
    let cluster = Cluster::new(1, 3);
    let error = run(&cluster.options("--partitions 5")).unwrap_err();
    assert!(error.to_string().contains("3 partitions, not 5"), "{error}");
}
