//! Apache Kafka and this broker under the same load, in turns, in one run: ratios that hold on a noisy machine.
//!
//! Owns: the order of turns, what is measured around a turn, the ratios.
//! Invariants: both run all the time, the load goes to one of them at a time, A B B A A B ..., after turns that are not measured: a
//! JVM more than doubles its speed in its first minute. A ratio is taken within a round, and the median over rounds is what counts.
//! Not here: the loads (`load`), the brokers (`peer`).
//! Why: absolute figures of one machine mean little to anybody else, and less from a shared one.

mod load;
mod ratio;

use anyhow::{Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::command::{cargo, run as run_command};
use crate::peer::{Peer, tool};
use crate::results;
use load::{Load, Outcome};
use ratio::{Ratio, Row};

const KAFKA_PORT: u16 = 27_192;
const CHRONIK_PORT: u16 = 27_392;

/// Arguments of `cargo xtask versus`.
#[derive(Args, Clone, Serialize)]
pub struct Options {
    /// What both have to bear.
    #[arg(long, value_enum, default_value = "closed")]
    load: Load,
    /// Measured rounds; in each, both brokers have one turn.
    #[arg(long, default_value_t = 4)]
    rounds: u32,
    /// Rounds before, not measured.
    #[arg(long, default_value_t = 3)]
    warm: u32,
    /// Bytes of each value.
    #[arg(long, default_value_t = 256)]
    size: u64,
    /// Records in a turn, for loads that count records.
    #[arg(long, default_value_t = 500_000)]
    records: u64,
    /// Seconds of a turn, for loads that run for a time.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Records outstanding, for `closed`.
    #[arg(long, default_value_t = 128)]
    outstanding: u64,
    /// Records per second; without it, as fast as it goes.
    #[arg(long)]
    rate: Option<u64>,
    /// Brokers on each side: with more than one, topics have a replica on each of up to 3, and two must be in sync.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=5))]
    nodes: u16,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Milliseconds that a batch waits to fill, for `rdkafka` and `java`.
    #[arg(long, default_value_t = 1)]
    linger: u32,
    /// Bytes of a batch at most, for `rdkafka` and `java`.
    #[arg(long, default_value_t = 16_384)]
    batch: u32,
    /// Kafka syncs every append (`log.flush.interval.messages=1`): the durability that ours has.
    #[arg(long)]
    flush: bool,
    /// A setting of ours (may be repeated).
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Print only, even where the tree is clean.
    #[arg(long)]
    no_store: bool,
}

/// Runs it all.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "at least one round");
    run_command(&mut cargo(["build", "--quiet", "--release", "--bin", "chronik-server", "--bin", "chronik-bench"]))?;
    let nodes = options.nodes;
    let kafka = Peer::kafka(KAFKA_PORT, nodes, options.flush)?;
    let peers = [kafka, Peer::chronik(CHRONIK_PORT, nodes, &options.settings)?];
    let mut rows: [Vec<Row>; 2] = [Vec::new(), Vec::new()];
    for round in 0..options.warm + options.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            let row = turn(options, &peers[side], round)?;
            let measured = round.checked_sub(options.warm).map(|round| round + 1);
            let label = measured.map_or_else(|| "warm-up".to_owned(), |round| format!("round {round}"));
            println!("{label:<8} {:<12} {}", peers[side].name, row.line());
            if measured.is_some() {
                rows[side].push(row);
            }
        }
    }
    let [kafka, chronik] = &peers;
    let ratios = ratio::of(&rows[0], &rows[1]);
    print_ratios(kafka.name, chronik.name, options.rounds, &ratios);
    let result = json!({ "bench": "versus", "peer": kafka.name, "options": options, "ratios": ratios, "rounds": rows });
    if options.no_store || !results::tree_is_clean()? {
        println!("not kept{}", if options.no_store { "" } else { ": the tree has changes" });
        return Ok(());
    }
    results::append("versus", result)
}

/// One broker under the load once, on a topic of its own.
fn turn(options: &Options, peer: &Peer, round: u32) -> Result<Row> {
    let (bootstrap, topic) = (peer.bootstrap(), format!("versus-{round}"));
    let partitions = options.partitions.to_string();
    let (replicas, in_sync) =
        (options.nodes.min(3).to_string(), format!("min.insync.replicas={}", options.nodes.min(2)));
    let at = ["--bootstrap-server", &bootstrap, "--topic", &topic];
    let as_wanted = ["--create", "--partitions", &partitions, "--replication-factor", &replicas, "--config", &in_sync];
    tool("TopicCommand", &[&at[..], &as_wanted].concat())?;
    load::prepare(options, &bootstrap, &topic)?;
    let before = peer.cpu_seconds()?;
    let Outcome { msgs_per_s, p50_ms, p99_ms, records } = load::run(options, &bootstrap, &topic)?;
    let cpu_seconds = peer.cpu_seconds()? - before;
    let bytes = records * options.size as f64;
    let row = Row {
        msgs_per_s: Some(msgs_per_s),
        mb_per_s: Some(msgs_per_s * options.size as f64 / 1e6),
        p50_ms,
        p99_ms,
        cpu_s_per_gb: Some(cpu_seconds / (bytes / 1e9)),
        rss_mib: Some(peer.resident_mib()?),
    };
    tool("TopicCommand", &[&at[..], &["--delete"]].concat())?;
    Ok(row)
}

fn print_ratios(first: &str, second: &str, rounds: u32, ratios: &[Ratio]) {
    println!("\n{second} over {first}, median of {rounds} paired rounds (min to max)");
    for ratio in ratios {
        println!(
            "  {:<14} {:>12.1} {:>12.1}   x {:.2}  ({:.2} to {:.2})",
            ratio.what, ratio.first, ratio.second, ratio.ratio, ratio.min, ratio.max
        );
    }
}
