//! `stats`: what is in a partition, in numbers.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use serde_json::json;
use storage::batch::BatchHeader;

use crate::mapped::Mapped;
use crate::options::Stats;
use crate::partition::Partition;
use crate::print;
use crate::walk::{Step, Walk};

/// Batches of one kind.
#[derive(Default)]
struct Count {
    batches: u64,
    records: u64,
    bytes: u64,
}

/// What is counted.
#[derive(Default)]
struct Figures {
    segments: usize,
    total: Count,
    zeros: u64,
    by_codec: BTreeMap<&'static str, Count>,
    /// First offset and the one after the last.
    offsets: Option<(i64, i64)>,
    /// Smallest and largest; none of what has none.
    timestamps: Option<(i64, i64)>,
    batch_bytes: Option<(usize, usize)>,
    /// Epoch, and the first offset that it wrote.
    epochs: BTreeMap<i32, i64>,
    /// Batches of each idempotent producer.
    producers: BTreeMap<i64, u64>,
    transactional: u64,
    control: u64,
    is_good: bool,
}

impl Count {
    fn add(&mut self, header: &BatchHeader) {
        self.batches += 1;
        self.records += u64::from(header.record_count.unsigned_abs());
        self.bytes += header.batch_bytes as u64;
    }
}

fn widened<T: Ord + Copy>(range: Option<(T, T)>, from: T, to: T) -> Option<(T, T)> {
    Some(range.map_or((from, to), |(least, most)| (least.min(from), most.max(to))))
}

impl Figures {
    fn add(&mut self, header: &BatchHeader) {
        self.total.add(header);
        self.by_codec.entry(print::codec(header)).or_default().add(header);
        self.offsets = widened(self.offsets, header.base_offset, header.end_offset());
        self.batch_bytes = widened(self.batch_bytes, header.batch_bytes, header.batch_bytes);
        for timestamp in [header.base_timestamp, header.max_timestamp].into_iter().filter(|timestamp| *timestamp >= 0) {
            self.timestamps = widened(self.timestamps, timestamp, timestamp);
        }
        self.epochs.entry(header.leader_epoch.0).or_insert(header.base_offset);
        if header.producer_id.0 >= 0 {
            *self.producers.entry(header.producer_id.0).or_default() += 1;
        }
        self.transactional += u64::from(header.is_transactional());
        self.control += u64::from(header.is_control());
    }

    fn print(&self, path: &str, json: bool, out: &mut impl Write) -> Result<()> {
        let Count { batches, records, bytes } = self.total;
        let (first, end) = self.offsets.unwrap_or_default();
        if json {
            let of = |count: &Count| json!({"batches": count.batches, "records": count.records, "bytes": count.bytes});
            let by_codec: serde_json::Map<_, _> =
                self.by_codec.iter().map(|(codec, count)| ((*codec).to_owned(), of(count))).collect();
            let object = json!({
                "kind": "stats", "path": path, "segments": self.segments, "batches": batches, "records": records,
                "bytes": bytes, "zero_bytes": self.zeros, "first_offset": self.offsets.map(|_| first),
                "end_offset": self.offsets.map(|_| end), "timestamp_min": self.timestamps.map(|(min, _)| min),
                "timestamp_max": self.timestamps.map(|(_, max)| max), "by_compression": by_codec,
                "leader_epochs": self.epochs.len(), "producers": self.producers.len(),
                "transactional_batches": self.transactional, "control_batches": self.control, "good": self.is_good,
            });
            return Ok(writeln!(out, "{object}")?);
        }
        writeln!(out, "{path}")?;
        writeln!(out, "  {} segments, {batches} batches, {records} records, {bytes} bytes", self.segments)?;
        writeln!(out, "  prepared space (zeros): {} bytes", self.zeros)?;
        if self.offsets.is_some() {
            writeln!(out, "  offsets {first} to {}", end.saturating_sub(1))?;
        }
        if let Some((from, to)) = self.timestamps {
            writeln!(out, "  timestamps {from} to {to} (ms since 1970)")?;
        }
        if let Some((least, most)) = self.batch_bytes {
            let (mean, records) = (bytes / batches.max(1), records as f64 / batches.max(1) as f64);
            writeln!(out, "  a batch: {least} to {most} bytes, {mean} on average, with {records:.1} records")?;
        }
        for (codec, count) in &self.by_codec {
            writeln!(out, "  {codec}: {} batches, {} records, {} bytes", count.batches, count.records, count.bytes)?;
        }
        let epochs: Vec<String> =
            self.epochs.iter().map(|(epoch, from)| format!("{epoch} from offset {from}")).collect();
        writeln!(out, "  leader epochs: {}", epochs.join(", "))?;
        writeln!(out, "  idempotent producers: {}", self.producers.len())?;
        Ok(writeln!(out, "  transactional batches: {}, control batches: {}", self.transactional, self.control)?)
    }
}

/// Counts what every path holds, up to what is bad. False: something is.
pub fn run(options: &Stats, json: bool, out: &mut impl Write) -> Result<bool> {
    let mut is_good = true;
    for path in &options.paths {
        let partition = Partition::open(path)?;
        let mut figures = Figures { segments: partition.segments.len(), is_good: true, ..Figures::default() };
        for segment in &partition.segments {
            let mapped = Mapped::open(&segment.path)?;
            for step in Walk::new(mapped.bytes(), segment.base_offset, None) {
                match step {
                    Step::Batch { header, .. } => figures.add(&header),
                    Step::End { zeros, .. } => figures.zeros += zeros as u64,
                    Step::Bad(bad) => {
                        figures.is_good = false;
                        print::bad(out, json, &segment.path, bad.position, &print::reason(&bad))?;
                    }
                }
            }
        }
        figures.print(&path.to_string_lossy(), json, out)?;
        is_good &= figures.is_good;
    }
    Ok(is_good)
}
