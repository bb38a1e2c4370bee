//! Named measurements of this broker alone, each beside what bounds it: the machine, or itself under an easier load.
//!
//! Owns: what each measures, in rounds that alternate what is compared.
//! Invariants: runs from a clean tree only; every run is kept (see `results`).
//! Not here: comparison with another broker (`versus`).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::chronik_bench::{self, Figures};
use crate::command::{cargo, output, run as run_command};
use crate::peer::{Peer, tool};
use crate::results;
use crate::statistics::median;

const PORT: u16 = 27_592;

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub struct Options {
    /// What to measure.
    #[arg(value_enum)]
    name: Name,
    /// How often; medians are kept.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Print only, and allow a tree with changes.
    #[arg(long)]
    no_store: bool,
}

/// A measurement.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// What the machine can do: one write and flush, sequential writes, one loopback stream.
    Floor,
    /// One record in flight: what acks=-1 adds to an empty request, over a bare write and flush.
    OneRecord,
    /// 1 MiB batches by the raw client, over the lower of disk and loopback.
    LargeBatches,
    /// 50,000 records/s over 1,000 partitions against the same over one: p99.
    HotPartitions,
    /// 10,000 partitions that nobody uses: CPU, memory, time to start with them.
    IdlePartitions,
}

/// Runs one.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "at least one round");
    if !options.no_store {
        results::require_clean_tree()?;
    }
    run_command(&mut cargo(["build", "--quiet", "--release", "--bin", "chronik-server", "--bin", "chronik-bench"]))?;
    let result = match options.name {
        Name::Floor => rounds(options.rounds, floor)?,
        Name::OneRecord => rounds(options.rounds, one_record)?,
        Name::LargeBatches => rounds(options.rounds, large_batches)?,
        Name::HotPartitions => rounds(options.rounds, hot_partitions)?,
        Name::IdlePartitions => rounds(options.rounds, idle_partitions)?,
    };
    let name = options.name.to_possible_value().expect("no name is hidden").get_name().to_owned();
    println!("{}", serde_json::to_string_pretty(&result["median"])?);
    if options.no_store {
        return Ok(());
    }
    results::append("bench", json!({ "bench": name, "result": result }))
}

/// All rounds, and the median of every figure that is a number.
fn rounds(count: u32, measure: fn() -> Result<Value>) -> Result<Value> {
    let rounds: Vec<Value> = (0..count).map(|_| measure()).collect::<Result<_>>()?;
    let names = rounds[0].as_object().context("a round is an object")?.keys();
    let medians: serde_json::Map<String, Value> = names
        .filter_map(|name| {
            let values = rounds.iter().filter_map(|round| round[name].as_f64()).collect();
            Some((name.clone(), json!(median(values)?)))
        })
        .collect();
    Ok(json!({ "median": medians, "rounds": rounds }))
}

fn floor() -> Result<Value> {
    let said = output(&mut cargo(["bench", "--quiet", "--package", "chronik", "--bench", "floor"]))?;
    let line =
        said.lines().rfind(|line| line.starts_with('{')).with_context(|| format!("no line of JSON in\n{said}"))?;
    Ok(serde_json::from_str(line)?)
}

fn broker() -> Result<Peer> {
    Peer::chronik(PORT, 1, &[])
}

fn load(broker: &Peer, arguments: &[&str]) -> Result<Figures> {
    chronik_bench::run(&broker.bootstrap(), arguments)
}

fn one_record() -> Result<Value> {
    let floor_ms = number(&floor()?, "write_4k_flush_p50_us")? / 1e3;
    let broker = broker()?;
    let figures =
        load(&broker, &["--client", "raw", "--concurrency", "1", "--partitions", "1", "--probe", "--duration", "10s"])?;
    let beyond_ms = figures.number("produce_minus_probe_p50_ms")?;
    Ok(json!({
        "floor_ms": floor_ms,
        "p50_ms": figures.number("p50_ms")?,
        "probe_p50_ms": figures.number("probe_p50_ms")?,
        "produce_minus_probe_p50_ms": beyond_ms,
        "ratio": beyond_ms / floor_ms,
    }))
}

fn large_batches() -> Result<Value> {
    let floor = floor()?;
    let bound = number(&floor, "sequential_write_mb_per_s")?.min(number(&floor, "loopback_mb_per_s")?);
    let broker = broker()?;
    let before = broker.cpu_seconds()?;
    let figures = load(
        &broker,
        &[
            "--client",
            "raw",
            "--message-size",
            "1024",
            "--batch-records",
            "1000",
            "--partitions",
            "4",
            "--connections",
            "4",
            "--in-flight",
            "4",
            "--duration",
            "10s",
            "--warm-up",
            "0s",
        ],
    )?;
    let mb_per_s = figures.number("mb_per_s")?;
    let gigabytes = figures.number("messages")? * 1024.0 / 1e9;
    Ok(json!({
        "bound_mb_per_s": bound,
        "mb_per_s": mb_per_s,
        "p99_ms": figures.number("p99_ms")?,
        "cpu_s_per_gb": (broker.cpu_seconds()? - before) / gigabytes,
        "ratio": mb_per_s / bound,
    }))
}

fn hot_partitions() -> Result<Value> {
    let p99_ms = |partitions: &str| {
        let broker = broker()?;
        let arguments = ["--client", "raw", "--rate", "50000", "--partitions", partitions, "--duration", "15s"];
        load(&broker, &arguments)?.number("p99_ms")
    };
    let (one, thousand) = (p99_ms("1")?, p99_ms("1000")?);
    Ok(json!({ "one_p99_ms": one, "thousand_p99_ms": thousand, "ratio": thousand / one }))
}

fn idle_partitions() -> Result<Value> {
    const PARTITIONS: &str = "10000";
    const IDLE: Duration = Duration::from_secs(10);
    let mut broker = broker()?;
    let empty_mib = broker.resident_mib()?;
    let bootstrap = broker.bootstrap();
    let started = Instant::now();
    let create = ["--create", "--topic", "idle", "--partitions", PARTITIONS, "--replication-factor", "1"];
    tool("TopicCommand", &[&["--bootstrap-server", &bootstrap], &create[..]].concat())?;
    let create_s = started.elapsed().as_secs_f64();
    // Whatever the creation left to do in the background is not idling.
    std::thread::sleep(IDLE);
    let before = broker.cpu_seconds()?;
    std::thread::sleep(IDLE);
    let cpu_share = (broker.cpu_seconds()? - before) / IDLE.as_secs_f64();
    let created_mib = broker.resident_mib()?;
    let start_s = broker.restart()?.as_secs_f64();
    let each = |mib: f64| (mib - empty_mib) * 1024.0 / PARTITIONS.parse::<f64>().expect("digits");
    Ok(json!({
        "create_s": create_s,
        "cpu_percent": cpu_share * 100.0,
        "kib_each": each(created_mib),
        "kib_each_after_restart": each(broker.resident_mib()?),
        "start_s": start_s,
    }))
}

fn number(value: &Value, name: &str) -> Result<f64> {
    value[name].as_f64().with_context(|| format!("no {name} in {value}"))
}
