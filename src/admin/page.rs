//! The page for people: what this broker is and how it is.
//!
//! *Which core*: the admin thread. *Invariants*: no scripts, nothing from elsewhere; every text is escaped.

use crate::config::Config;
use crate::metrics::{Metrics, State};

pub(super) fn status(config: &Config, metrics: &Metrics) -> String {
    let process = &config.process;
    let health = &metrics.process.health;
    let state = match health.state() {
        State::Starting => "starting",
        State::Ready => "ready",
        State::Stopping => "stopping",
    };
    let connections: i64 = metrics.shards.iter().map(|shard| shard.connections_open.get()).sum();
    let rows = [
        ("State", state.to_owned()),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Cluster", health.cluster_id().unwrap_or("not known yet").to_owned()),
        ("Node", process.node_id.0.to_string()),
        ("Kafka listener", process.kafka_bind.to_string()),
        ("Clients are told", process.advertised.to_string()),
        ("Data directory", process.data_dir.display().to_string()),
        ("Shards", process.shards.to_string()),
        ("Connections", connections.to_string()),
        ("Topics", metrics.metadata.topics.get().to_string()),
        ("Partitions", metrics.metadata.partitions.get().to_string()),
    ];
    let rows: String =
        rows.iter().map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>\n", escaped(value))).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>Chronik</title>\n\
         <style>body{{font:16px/1.5 sans-serif;margin:2em}}th{{text-align:left;padding-right:2em}}</style></head>\n\
         <body><h1>Chronik</h1>\n<table>\n{rows}</table>\n\
         <p><a href=\"/metrics\">metrics</a> <a href=\"/live\">live</a> <a href=\"/ready\">ready</a></p>\n</body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_the_broker_is_and_escapes_it() {
        let mut config = Config::default();
        config.process.data_dir = "/a<b>".into();
        let metrics = Metrics::new(1);
        metrics.process.health.set_cluster_id("abc");
        metrics.metadata.topics.set(7);
        let page = status(&config, &metrics);
        for text in ["starting", "abc", "127.0.0.1:9092", "/a&lt;b&gt;", "<td>7</td>", "href=\"/metrics\""] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("<script"));
    }
}
