//! The loads: what runs against a broker, and how its figures are read.
//!
//! Not here: figures of the broker's process (`peer`).

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Serialize;

use super::Options;
use crate::chronik_bench;
use crate::peer::tool;

/// Unmeasured seconds at the start of a turn that runs for a time.
const RAMP_SECONDS: u64 = 2;

/// What a broker has to bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// So many records outstanding, each acknowledgement sends the next; librdkafka, linger 0.
    Closed,
    /// librdkafka with batches, as fast as it goes.
    Rdkafka,
    /// Kafka's own ProducerPerformance.
    Java,
    /// Reading a backlog; librdkafka.
    Consume,
}

/// What a load says of itself.
pub struct Outcome {
    /// Records per second.
    pub msgs_per_s: f64,
    /// Median latency, if it is told.
    pub p50_ms: Option<f64>,
    /// 99 of 100 were faster.
    pub p99_ms: Option<f64>,
    /// Records that the broker handled, measured or not.
    pub records: f64,
}

/// What must be there before the measured part.
pub fn prepare(options: &Options, bootstrap: &str, topic: &str) -> Result<()> {
    if options.load == Load::Consume {
        let records = options.records.to_string();
        bench(
            options,
            bootstrap,
            topic,
            &["--records", &records, "--warm-up", "0s", "--linger-ms", "5", "--concurrency", "100000"],
        )?;
    }
    Ok(())
}

/// One turn.
pub fn run(options: &Options, bootstrap: &str, topic: &str) -> Result<Outcome> {
    match options.load {
        Load::Closed => closed(options, bootstrap, topic),
        Load::Rdkafka => rdkafka(options, bootstrap, topic),
        Load::Java => java(options, bootstrap, topic),
        Load::Consume => consume(options, bootstrap, topic),
    }
}

fn closed(options: &Options, bootstrap: &str, topic: &str) -> Result<Outcome> {
    let (outstanding, duration, ramp) =
        (options.outstanding.to_string(), format!("{}s", options.seconds), format!("{RAMP_SECONDS}s"));
    let mut figures = bench(
        options,
        bootstrap,
        topic,
        &["--concurrency", &outstanding, "--duration", &duration, "--warm-up", &ramp],
    )?;
    // The ramp costs CPU too.
    figures.records *= (options.seconds + RAMP_SECONDS) as f64 / options.seconds as f64;
    Ok(figures)
}

fn rdkafka(options: &Options, bootstrap: &str, topic: &str) -> Result<Outcome> {
    let (records, linger, batch) = (options.records.to_string(), options.linger.to_string(), options.batch.to_string());
    let rate = options.rate.map(|rate| rate.to_string());
    let mut arguments = vec!["--records", &records, "--warm-up", "0s", "--linger-ms", &linger, "--batch-bytes", &batch];
    match &rate {
        Some(rate) => arguments.extend(["--rate", rate]),
        None => arguments.extend(["--concurrency", "100000"]),
    }
    bench(options, bootstrap, topic, &arguments)
}

fn consume(options: &Options, bootstrap: &str, topic: &str) -> Result<Outcome> {
    let records = options.records.to_string();
    let mut figures = bench(options, bootstrap, topic, &["--mode", "consume", "--records", &records])?;
    (figures.p50_ms, figures.p99_ms) = (None, None);
    Ok(figures)
}

fn java(options: &Options, bootstrap: &str, topic: &str) -> Result<Outcome> {
    let said = tool(
        "ProducerPerformance",
        &[
            "--bootstrap-server",
            bootstrap,
            "--topic",
            topic,
            "--num-records",
            &options.records.to_string(),
            "--record-size",
            &options.size.to_string(),
            "--throughput",
            &options.rate.map_or_else(|| "-1".to_owned(), |rate| rate.to_string()),
            "--command-property",
            "acks=all",
            &format!("linger.ms={}", options.linger),
            &format!("batch.size={}", options.batch),
        ],
    )?;
    let last = said.lines().rfind(|line| line.contains("99.9th")).with_context(|| format!("no summary in\n{said}"))?;
    let outcome = summary(last).with_context(|| last.to_owned())?;
    ensure!(outcome.records == options.records as f64, "not every record was sent:\n{said}");
    Ok(outcome)
}

/// `500000 records sent, 77000.5 records/sec (75.20 MB/sec), 10.1 ms avg latency, 300.0 ms max latency, 5 ms 50th, ... 99 ms 99th, ...`
fn summary(line: &str) -> Option<Outcome> {
    let before =
        |words: &str| line.split(words).next()?.rsplit([' ', ',']).find(|word| !word.is_empty())?.parse::<f64>().ok();
    Some(Outcome {
        records: before(" records sent")?,
        msgs_per_s: before(" records/sec")?,
        p50_ms: before(" ms 50th"),
        p99_ms: before(" ms 99th"),
    })
}

/// chronik-bench with these arguments.
fn bench(options: &Options, bootstrap: &str, topic: &str, arguments: &[&str]) -> Result<Outcome> {
    let (size, partitions) = (options.size.to_string(), options.partitions.to_string());
    let common = ["--topic", topic, "--partitions", &partitions, "--message-size", &size];
    let figures = chronik_bench::run(bootstrap, &[&common, arguments].concat())?;
    Ok(Outcome {
        msgs_per_s: figures.number("msgs_per_s")?,
        p50_ms: figures.maybe("p50_ms"),
        p99_ms: figures.maybe("p99_ms"),
        records: figures.number("messages")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_kafkas_producer_is_read() {
        let line = "500000 records sent, 77041.6 records/sec (18.81 MB/sec), 10.12 ms avg latency, 310.00 ms max latency, 5 ms 50th, \
                    30 ms 95th, 99 ms 99th, 150 ms 99.9th.";
        let outcome = summary(line).expect("a summary");
        assert_eq!((outcome.records, outcome.msgs_per_s), (500_000.0, 77_041.6));
        assert_eq!((outcome.p50_ms, outcome.p99_ms), (Some(5.0), Some(99.0)));
        assert!(summary("nothing").is_none());
    }
}
