//! Kafka's producers and consumer on a JVM: the Java client, with its own batches and codecs.

use crate::support::clients::kafka_tools;
use crate::support::load::{create_topic, offsets, read_all};
use crate::support::{fresh_name, shared};

#[test]
fn the_console_consumer_reads_what_the_console_producer_wrote_with_every_codec() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("console"));
    create_topic(&bootstrap, &topic, 1, &[]);
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let lines: String = (0..200).map(|n| format!("h1:{codec},h2:\tk{n}\t{codec} {n}\n")).collect();
        tools.run_with_input(
            "ConsoleProducer",
            &[
                "--bootstrap-server",
                &bootstrap,
                "--topic",
                &topic,
                "--compression-codec",
                codec,
                "--reader-property",
                "parse.key=true",
                "--reader-property",
                "parse.headers=true",
                "--command-property",
                "acks=all",
                "--command-property",
                "linger.ms=20",
            ],
            lines.as_bytes(),
        );
    }
    let read = tools.run(
        "consumer.ConsoleConsumer",
        &[
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            &topic,
            "--partition",
            "0",
            "--offset",
            "earliest",
            "--max-messages",
            "1000",
            "--timeout-ms",
            "30000",
            "--formatter-property",
            "print.key=true",
            "--formatter-property",
            "print.headers=true",
            "--formatter-property",
            "print.offset=true",
        ],
    );
    let lines: Vec<&str> = read.lines().collect();
    assert_eq!(lines.len(), 1000);
    for (offset, line) in lines.iter().enumerate() {
        let codec = ["none", "gzip", "snappy", "lz4", "zstd"][offset / 200];
        let n = offset % 200;
        assert_eq!(*line, format!("Offset:{offset}\th1:{codec},h2:\tk{n}\t{codec} {n}"));
    }
}

#[test]
fn the_producer_performance_tool_has_every_record_acknowledged() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("perf"));
    create_topic(&bootstrap, &topic, 4, &[]);
    let said = tools.run(
        "ProducerPerformance",
        &[
            "--bootstrap-server",
            &bootstrap,
            "--topic",
            &topic,
            "--num-records",
            "50000",
            "--record-size",
            "1024",
            "--throughput",
            "-1",
            "--command-property",
            "acks=all",
            "linger.ms=1",
            "enable.idempotence=true",
        ],
    );
    assert!(said.contains("50000 records sent"), "{said}");
    let ends: i64 = (0..4).map(|partition| offsets(&bootstrap, &topic, partition).1).sum();
    assert_eq!(ends, 50_000);
    let records = read_all(&bootstrap, &topic, 0);
    assert!(records.iter().all(|record| record.value.as_ref().is_some_and(|value| value.len() == 1024)));
}

#[test]
fn the_verifiable_producer_sees_its_offsets_in_order() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("verifiable"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let said = tools.run(
        "VerifiableProducer",
        &["--bootstrap-server", &bootstrap, "--topic", &topic, "--max-messages", "500", "--acks", "-1"],
    );
    let acknowledged: Vec<serde_json::Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|event| event["name"] == "producer_send_success")
        .collect();
    assert_eq!(acknowledged.len(), 500, "{said}");
    let records = read_all(&bootstrap, &topic, 0);
    for event in acknowledged {
        let offset = usize::try_from(event["offset"].as_i64().expect("a number")).expect("not negative");
        let value = String::from_utf8(records[offset].value.clone().expect("a value")).expect("digits");
        assert_eq!(value, event["value"].as_str().expect("text"));
    }
}
