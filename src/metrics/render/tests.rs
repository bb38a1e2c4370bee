//! The text, read back by a strict reader of Prometheus' format.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::metrics::tables;

/// name -> labels as written -> value.
type Samples = BTreeMap<String, BTreeMap<String, f64>>;

/// Reads a page and checks its form: help and type once for each family and before its samples, which stand together;
/// names and labels as Prometheus wants them; no series twice.
fn parse(text: &str) -> (BTreeMap<String, String>, Samples) {
    let mut types = BTreeMap::new();
    let mut samples = Samples::new();
    let mut helped = BTreeSet::new();
    let mut family = String::new();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(!help.trim().is_empty() && helped.insert(name.to_owned()), "{line}");
            family = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(name, family);
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series
                .split_once('{')
                .map_or((series, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("labels end with a brace")));
            check_name(name);
            check_labels(labels);
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let is_histogram = types[&family] == "histogram";
            assert_eq!(base.filter(|_| is_histogram).unwrap_or(name), family, "{line}");
            let value = value.parse().expect("a number");
            assert!(samples.entry(name.into()).or_default().insert(labels.into(), value).is_none(), "twice: {line}");
        }
    }
    (types, samples)
}

fn check_name(name: &str) {
    assert!(name.starts_with("chronik_"), "{name}");
    assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
}

fn check_labels(labels: &str) {
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, after) = rest.split_once("=\"").expect("a label has a value");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{labels}");
        let mut end = 0;
        while !after[end..].starts_with('"') {
            end += if after[end..].starts_with('\\') { 2 } else { 1 };
        }
        rest = &after[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

fn busy() -> Arc<Metrics> {
    let metrics = Arc::new(Metrics::new(2));
    for (number, shard) in metrics.shards.iter().enumerate() {
        shard.requests(0);
        shard.requests(18);
        shard.error(3);
        shard.turn(Duration::from_micros(300), 2, 70_000, number == 0);
        shard.stage_queue(Duration::from_micros(5));
        shard.connection_opened();
        let partition = PartitionMetrics::new("odd\"topic\\".into(), i32::try_from(number).expect("small"));
        partition.counters.records_in.add(10);
        partition.counters.log_end_offset.set(7);
        shard.partitions.put(vec![Arc::new(partition)]);
    }
    metrics.metadata.raft_leader_count.set([(1, 2)]);
    metrics.metadata.raft_commit_latency.observe(Duration::from_millis(2));
    metrics.process.set_ready(true);
    metrics
}

#[test]
fn the_text_is_prometheus_own_format() {
    for with_partitions in [false, true] {
        let mut renderer = Renderer::new(busy(), with_partitions);
        let (types, samples) = parse(&renderer.render());
        assert_eq!(types["chronik_raft_commit_latency_ms"], "histogram");
        assert_eq!(types["chronik_requests_total"], "counter");
        assert_eq!(samples["chronik_ready"][""], 1.0);
        assert_eq!(samples["chronik_raft_leader_count"]["node_id=\"1\""], 2.0);
        let again = parse(&renderer.render()).1;
        assert_eq!(again["chronik_topic_in_records_total"], samples["chronik_topic_in_records_total"]);
    }
}

#[test]
fn counters_are_added_up_and_gauges_are_shown_by_shard() {
    let (_, samples) = parse(&Renderer::new(busy(), false).render());
    assert_eq!(samples["chronik_requests_total"]["api=\"Produce\""], 2.0);
    assert_eq!(samples["chronik_errors_total"]["code=\"3\",error=\"UNKNOWN_TOPIC_OR_PARTITION\""], 2.0);
    assert_eq!(samples["chronik_flush_turns_total"]["by=\"files\""], 1.0);
    assert_eq!(samples["chronik_connections_open"].len(), 2);
    assert_eq!(samples["chronik_connections_open"]["shard=\"1\""], 1.0);
}

#[test]
fn buckets_add_up_to_the_count() {
    let (types, samples) = parse(&Renderer::new(busy(), false).render());
    let histograms = types.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name);
    for name in histograms {
        for (labels, count) in &samples[&format!("{name}_count")] {
            let is_of = |series: &&String| series.starts_with(labels.as_str());
            let buckets = &samples[&format!("{name}_bucket")];
            let infinite = buckets.iter().find(|(series, _)| is_of(series) && series.contains("+Inf"));
            assert_eq!(infinite.map(|(_, value)| value), Some(count), "{name}");
        }
    }
    let turns = &samples["chronik_flush_turn_bytes_bucket"];
    assert_eq!((turns["le=\"65536\""], turns["le=\"98304\""]), (0.0, 2.0));
    assert_eq!(samples["chronik_flush_turn_bytes_sum"][""], 140_000.0);
    assert!((samples["chronik_flush_turn_ms_sum"][""] - 0.6).abs() < 1e-9);
}

#[test]
fn topics_have_totals_and_partitions_are_shown_if_asked() {
    let (types, samples) = parse(&Renderer::new(busy(), false).render());
    assert_eq!(samples["chronik_topic_in_records_total"]["topic=\"odd\\\"topic\\\\\""], 20.0);
    assert!(!types.contains_key("chronik_partition_log_end_offset"));
    let (_, samples) = parse(&Renderer::new(busy(), true).render());
    assert_eq!(samples["chronik_partition_log_end_offset"].len(), 2);
}

/// Lesson 87.
#[test]
fn what_is_documented_is_rendered_and_nothing_else() {
    let (types, _) = parse(&Renderer::new(busy(), true).render());
    let documented: BTreeSet<String> =
        tables().iter().flat_map(|(_, _, rows)| rows.iter().map(|metric| metric.family().to_owned())).collect();
    assert_eq!(types.into_keys().collect::<BTreeSet<_>>(), documented);
}

#[test]
fn a_broker_that_has_done_nothing_shows_its_families() {
    let (types, samples) = parse(&Renderer::new(Arc::new(Metrics::new(1)), false).render());
    assert!(types.contains_key("chronik_errors_total"));
    assert_eq!(samples["chronik_ready"][""], 0.0);
    assert_eq!(samples["chronik_raft_commit_latency_ms_count"][""], 0.0);
}
