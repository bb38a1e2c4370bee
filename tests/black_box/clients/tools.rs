//! Kafka's admin tools: topics, configs, offsets, delete-records, what the broker says of itself.

use crate::support::clients::kafka_tools;
use crate::support::load::{Record, create_topic, offsets, produce};
use crate::support::{fresh_name, shared};

#[test]
fn kafka_topics_creates_describes_grows_and_deletes() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("topics"));
    let run =
        |arguments: &[&str]| tools.run("TopicCommand", &[&["--bootstrap-server", &bootstrap], arguments].concat());
    run(&["--create", "--topic", &topic, "--partitions", "3", "--config", "retention.ms=3600000"]);
    let described = run(&["--describe", "--topic", &topic]);
    assert!(described.contains("PartitionCount: 3") && described.contains("retention.ms=3600000"), "{described}");
    let rows: Vec<&str> = described.lines().filter(|line| line.contains("Partition: ")).collect();
    assert_eq!(rows.len(), 3);
    for row in rows {
        let fields: Vec<&str> = row.split('\t').map(str::trim).collect();
        let after = |name: &str| fields.iter().find_map(|field| field.strip_prefix(name)).map(str::trim);
        assert_eq!(after("Leader:"), after("Isr:"), "{row}");
        assert_eq!(after("Replicas:"), after("Isr:"), "{row}");
    }
    run(&["--alter", "--topic", &topic, "--partitions", "5"]);
    assert!(run(&["--describe", "--topic", &topic]).contains("PartitionCount: 5"));
    run(&["--delete", "--topic", &topic]);
    assert!(!run(&["--list"]).lines().any(|name| name == topic));
}

#[test]
fn kafka_topics_is_told_what_is_wrong() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("wrong"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let refused = |arguments: &[&str]| {
        let outcome = tools.try_run("TopicCommand", &[&["--bootstrap-server", &bootstrap], arguments].concat(), b"");
        assert!(!outcome.status.success(), "{}", outcome.stdout);
        format!("{}{}", outcome.stdout, outcome.stderr)
    };
    assert!(refused(&["--create", "--topic", &topic]).contains("already exists"));
    assert!(refused(&["--create", "--topic", "b", "--replication-factor", "7"]).contains("InvalidReplicationFactor"));
}

#[test]
fn kafka_configs_alters_and_describes_a_topic() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("configs"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let entity = ["--bootstrap-server", &bootstrap, "--entity-type", "topics", "--entity-name", &topic];
    let run = |arguments: &[&str]| tools.run("kafka.admin.ConfigCommand", &[&entity, arguments].concat());
    run(&["--alter", "--add-config", "retention.ms=7200000,max.message.bytes=2097152"]);
    let described = run(&["--describe"]);
    assert!(
        described.contains("retention.ms=7200000") && described.contains("max.message.bytes=2097152"),
        "{described}"
    );
    run(&["--alter", "--delete-config", "retention.ms"]);
    let described = run(&["--describe"]);
    assert!(
        !described.contains("retention.ms=7200000") && described.contains("max.message.bytes=2097152"),
        "{described}"
    );
    let wrong = [&entity[..], &["--alter", "--add-config", "retention.ms=soon"]].concat();
    let refused = tools.try_run("kafka.admin.ConfigCommand", &wrong, b"");
    assert!(refused.stderr.contains("retention.ms"), "{}{}", refused.stdout, refused.stderr);
}

#[test]
fn kafka_configs_describes_the_broker() {
    let Some(tools) = kafka_tools() else { return };
    let bootstrap = shared::bootstrap();
    let brokers =
        ["--bootstrap-server", &bootstrap, "--entity-type", "brokers", "--entity-name", "1", "--describe", "--all"];
    let described = tools.run("kafka.admin.ConfigCommand", &brokers);
    assert!(described.contains("auto.create.topics.enable=true"), "{described}");
    assert!(described.contains("log.segment.bytes=1073741824"), "{described}");
}

#[test]
fn kafka_get_offsets_and_kafka_delete_records_agree() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("offsets"));
    create_topic(&bootstrap, &topic, 2, &[]);
    let record = |timestamp_ms| Record { timestamp_ms: Some(timestamp_ms), ..Record::of("x") };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let now = i64::try_from(now).expect("before the year 292 million");
    let records: Vec<Record> = [3000, 1000, 2000].map(|ago| record(now - ago)).to_vec();
    produce(&bootstrap, &topic, 0, &[("linger.ms", "0")], &records);
    let run = |time: &str| {
        let arguments = ["--bootstrap-server", &bootstrap, "--topic", &topic, "--time", time];
        let mut lines: Vec<String> = tools.run("GetOffsetShell", &arguments).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(run("latest"), [format!("{topic}:0:3"), format!("{topic}:1:0")]);
    // The newest timestamp is in the middle; the empty partition has none.
    assert_eq!(run("max-timestamp")[0], format!("{topic}:0:1"));
    let plan = tempfile::NamedTempFile::new().expect("a file");
    let wanted = format!(r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":0,"offset":2}}]}}"#);
    std::fs::write(plan.path(), wanted).expect("written");
    let path = plan.path().display().to_string();
    tools.run("DeleteRecordsCommand", &["--bootstrap-server", &bootstrap, "--offset-json-file", &path]);
    assert_eq!(run("earliest"), [format!("{topic}:0:2"), format!("{topic}:1:0")]);
    assert_eq!(offsets(&bootstrap, &topic, 0), (2, 3));
}

#[test]
fn the_broker_says_what_it_is() {
    let Some(tools) = kafka_tools() else { return };
    let bootstrap = shared::bootstrap();
    let versions = tools.run("BrokerApiVersionsCommand", &["--bootstrap-server", &bootstrap]);
    for api in
        ["Produce(0):", "Fetch(1):", "ListOffsets(2):", "Metadata(3):", "ApiVersions(18):", "InitProducerId(22):"]
    {
        let line = versions
            .lines()
            .find(|line| line.trim_start().starts_with(api))
            .unwrap_or_else(|| panic!("{api}\n{versions}"));
        assert!(!line.contains("UNSUPPORTED") && line.contains("usable"), "{line}");
    }
    let id = tools.run("ClusterTool", &["cluster-id", "--bootstrap-server", &bootstrap]);
    assert!(id.contains("Cluster ID: "), "{id}");
    let endpoints = tools.run("ClusterTool", &["list-endpoints", "--bootstrap-server", &bootstrap]);
    assert!(endpoints.contains("127.0.0.1") || endpoints.contains("localhost"), "{endpoints}");
}
