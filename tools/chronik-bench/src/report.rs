//! What a run's figures look like: for people, and as one line of JSON.
//!
//! Invariants: a raw client is named in both; failures and audit faults are never left out.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::figures::Figures;
use crate::options::{ClientKind, Mode, Options};

/// What is said of the raw client wherever it is named.
const RAW_NOTE: &str = "raw (pre-encoded batches over plain sockets; not what a real client gets)";

/// Where figures go: JSON to its file or to standard output, the report to standard output or, where JSON has that, to standard error.
pub struct Output {
    json: Option<Destination>,
}

enum Destination {
    Standard,
    File(File),
}

impl Output {
    /// Opens the file, if there is one, before anything is measured.
    pub fn open(options: &Options) -> Result<Self> {
        let json = match options.json.as_deref() {
            None => None,
            Some("-") => Some(Destination::Standard),
            Some(file) => Some(Destination::File(File::create(file).with_context(|| format!("cannot write {file}"))?)),
        };
        Ok(Self { json })
    }

    /// Shows one run.
    pub fn show(&mut self, options: &Options, figures: &Figures) -> Result<()> {
        self.say(&text(options, figures));
        match &mut self.json {
            None => {}
            Some(Destination::Standard) => println!("{}", json(options, figures)?),
            Some(Destination::File(file)) => {
                writeln!(file, "{}", json(options, figures)?).context("cannot write the JSON")?;
            }
        }
        Ok(())
    }

    /// Shows a text for people.
    pub fn say(&self, text: &str) {
        match self.json {
            Some(Destination::Standard) => eprintln!("{text}"),
            Some(Destination::File(_)) | None => println!("{text}"),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    tool: &'static str,
    version: &'static str,
    client: ClientKind,
    mode: Mode,
    #[serde(flatten)]
    figures: &'a Figures,
    config: &'a Options,
}

/// One line of JSON: figures at the top, configuration in `config`.
pub fn json(options: &Options, figures: &Figures) -> Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    let (client, mode) = (options.client, options.mode);
    let line = Line { tool: "chronik-bench", version, client, mode, figures, config: options };
    serde_json::to_string(&line).context("figures that are no JSON")
}

/// A few lines for people.
pub fn text(options: &Options, figures: &Figures) -> String {
    let mut text = heading(options);
    let mut line = |name: &str, what: String| {
        let _ = writeln!(text, "  {name:<11}{what}");
    };
    line("measured", format!("{:.2} s, after {:.1} s of warm-up", figures.elapsed_s, options.warm_up().as_secs_f64()));
    let rates = format!("{} msg/s   {:.1} MB/s", thousands(figures.msgs_per_s.round() as u64), figures.mb_per_s);
    line("messages", format!("{}   {rates}", thousands(figures.messages)));
    if figures.max_ms.is_some() {
        line("latency ms", latencies(figures));
    }
    if let Some((p50, p99)) = figures.ack_p50_ms.zip(figures.ack_p99_ms) {
        line("", format!("until acknowledged: p50 {p50:.3}   p99 {p99:.3}"));
    }
    if let Some(((p50, p99), more)) =
        figures.probe_p50_ms.zip(figures.probe_p99_ms).zip(figures.produce_minus_probe_p50_ms)
    {
        line("empty", format!("request on the same connection: p50 {p50:.3}   p99 {p99:.3}"));
        line("", format!("a produce beyond it: p50 {more:.3}"));
    }
    if let Some(late) = figures.send_late_p99_ms {
        line("schedule", format!("the client itself sent late by: p99 {late:.3} ms"));
    }
    if figures.unsent > 0 {
        let unsent = thousands(figures.unsent);
        line("UNSENT", format!("{unsent} records were due and never sent: broker or client cannot keep this rate"));
    }
    let share = if figures.elapsed_s > 0.0 { figures.client_cpu_s / figures.elapsed_s * 100.0 } else { 0.0 };
    line("client CPU", format!("{:.2} s ({share:.0} % of one core)", figures.client_cpu_s));
    line(if figures.failed > 0 { "FAILED" } else { "failed" }, thousands(figures.failed));
    for (code, count) in &figures.errors {
        line("", format!("{} {code}", thousands(*count)));
    }
    if figures.messages == 0 {
        line("NOTHING", "was measured".to_owned());
    }
    if let Some(audit) = &figures.audit {
        let read = format!("{} acknowledged, {} read back", thousands(audit.acknowledged), thousands(audit.read));
        match audit.is_clean() {
            true => line("audit", format!("clean: {read}, all at their offsets, in order, none twice")),
            false => line("AUDIT", format!("FAULTS: {read}")),
        }
        for (fault, count) in audit.faults() {
            line("", format!("{} {fault}", thousands(count)));
        }
    }
    text
}

fn heading(options: &Options) -> String {
    let client = match options.client {
        ClientKind::Raw => RAW_NOTE,
        ClientKind::Librdkafka => "librdkafka",
    };
    let load = match (options.mode, options.rate) {
        (Mode::Consume, _) => "consume".to_owned(),
        (_, Some(rate)) => format!("open loop, {rate} records/s"),
        (_, None) => format!("closed loop, {} records outstanding", options.concurrency()),
    };
    let mode = if options.mode == Mode::EndToEnd { "end-to-end, " } else { "" };
    let partitions = options.partitions.map_or_else(String::new, |count| format!(", {count} partitions"));
    let mut text = format!("{mode}{load}; client {client}\n  topic {}{partitions}", options.topic);
    if options.mode != Mode::Consume {
        let _ = write!(text, ", {} B, acks {}", options.message_size, options.acks);
        match options.client {
            ClientKind::Librdkafka => {
                let _ = write!(text, ", linger {} ms, compression {}", options.linger_ms, options.compression.name());
                text += if options.idempotence { ", idempotent" } else { "" };
            }
            ClientKind::Raw => {
                let (records, partitions) = (options.batch_records, options.partitions_per_request);
                let _ = write!(text, ", {records} records a batch, {partitions} a request");
                let _ = write!(text, ", {} connections a broker", options.connections);
            }
        }
    }
    text += "\n";
    text
}

fn latencies(figures: &Figures) -> String {
    let all = [
        ("p50", figures.p50_ms),
        ("p90", figures.p90_ms),
        ("p99", figures.p99_ms),
        ("p99.9", figures.p999_ms),
        ("p99.99", figures.p9999_ms),
        ("max", figures.max_ms),
        ("mean", figures.mean_ms),
    ];
    let shown = all.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value:.3}")));
    shown.collect::<Vec<_>>().join("   ")
}

/// 1234567 as 1,234,567.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests;
