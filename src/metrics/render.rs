//! Metrics as Prometheus' text (exposition format 0.0.4).
//!
//! *Which core*: the admin thread. *Invariants*: it only reads atomics; a family's lines stand together, after its help.
//! *Why counters are added up and gauges are not*: a rate is wanted of the broker, a level of each shard.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use super::instrument::{HistogramReading, Reading, Type};
use super::partition::{PartitionCounters, PartitionMetrics, TOPIC};
use super::process::State;
use super::table::{Metric, MetricSet};
use super::{Metrics, OF_PROCESS, metadata::MetadataMetrics, process::ProcessMetrics, shard::ShardMetrics, system};

/// Gathers and renders. Keeps the lists of partitions between scrapes.
pub struct Renderer {
    metrics: Arc<Metrics>,
    with_partitions: bool,
    partitions: Vec<Vec<Arc<PartitionMetrics>>>,
}

impl Renderer {
    /// `with_partitions`: shows partitions one by one, beside topics' totals.
    pub fn new(metrics: Arc<Metrics>, with_partitions: bool) -> Renderer {
        let partitions = metrics.shards.iter().map(|_| Vec::new()).collect();
        Renderer { metrics, with_partitions, partitions }
    }

    /// The present values of everything.
    pub fn render(&mut self) -> String {
        let mut page = Page::default();
        let metrics = &self.metrics;
        render_set(&mut page, ProcessMetrics::TABLE, &[metrics.process.read()], false);
        render_set(&mut page, MetadataMetrics::TABLE, &[metrics.metadata.read()], false);
        let shards: Vec<Vec<Reading>> = metrics.shards.iter().map(|shard| shard.read()).collect();
        render_set(&mut page, ShardMetrics::TABLE, &shards, true);
        for (metric, number) in system::TABLE.iter().zip(system::read()) {
            if let Some(number) = number {
                page.sample(metric, "", number);
            }
        }
        let is_ready = metrics.process.health.state() == State::Ready;
        let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
        page.sample(&OF_PROCESS[0], "", u8::from(is_ready));
        page.sample(&OF_PROCESS[1], &version, 1);
        self.render_partitions(&mut page);
        page.finish()
    }

    fn render_partitions(&mut self, page: &mut Page) {
        for (kept, shard) in self.partitions.iter_mut().zip(&self.metrics.shards) {
            if let Some(changed) = shard.partitions.take() {
                *kept = changed;
            }
        }
        let mut totals: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
        let mut single = BTreeMap::new();
        for partition in self.partitions.iter().flatten() {
            let values: Vec<i64> = partition.counters.read().into_iter().map(number).collect();
            let total = totals.entry(&partition.topic).or_insert_with(|| vec![0; values.len()]);
            total.iter_mut().zip(&values).for_each(|(total, value)| *total = total.wrapping_add(*value));
            if self.with_partitions {
                single.insert((&*partition.topic, partition.partition), values);
            }
        }
        for (row, metric) in PartitionCounters::TABLE.iter().enumerate() {
            if metric.name.starts_with(TOPIC) {
                for (topic, values) in &totals {
                    page.sample(metric, &format!("topic=\"{}\"", escaped(topic)), values[row]);
                }
            } else {
                for ((topic, partition), values) in &single {
                    let labels = format!("topic=\"{}\",partition=\"{partition}\"", escaped(topic));
                    page.sample(metric, &labels, values[row]);
                }
            }
        }
    }
}

/// Renders a table and the readings of each writer of it; `by_shard`: gauges have the writer's number as a label.
fn render_set(page: &mut Page, table: &[Metric], writers: &[Vec<Reading>], by_shard: bool) {
    for (row, metric) in table.iter().enumerate() {
        let readings = writers.iter().map(|readings| &readings[row]);
        if by_shard && metric.kind == Type::Gauge {
            for (shard, reading) in readings.enumerate() {
                page.reading(metric, &format!("shard=\"{shard}\""), reading);
            }
        } else if let Some(sum) = readings.cloned().reduce(add) {
            page.reading(metric, "", &sum);
        }
    }
}

/// What two writers of one instrument come to.
fn add(mut one: Reading, other: Reading) -> Reading {
    match (&mut one, other) {
        (Reading::Number(sum), Reading::Number(more)) => *sum = sum.wrapping_add(more),
        (Reading::Labelled(sums), Reading::Labelled(more)) => {
            for (labels, value) in more {
                match sums.iter_mut().find(|(known, _)| *known == labels) {
                    Some((_, sum)) => *sum = sum.wrapping_add(value),
                    None => sums.push((labels, value)),
                }
            }
        }
        (Reading::Histogram(sum), Reading::Histogram(more)) => {
            sum.counts.iter_mut().zip(more.counts).for_each(|(sum, count)| *sum = sum.wrapping_add(count));
            sum.sum += more.sum;
        }
        (one, other) => unreachable!("one row, two kinds: {one:?}, {other:?}"),
    }
    one
}

fn number(reading: Reading) -> i64 {
    match reading {
        Reading::Number(number) => number,
        other => unreachable!("partitions have plain numbers only: {other:?}"),
    }
}

/// As a label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Families in the order of their first line.
#[derive(Default)]
struct Page {
    families: Vec<(&'static str, String)>,
}

impl Page {
    fn family(&mut self, metric: &Metric) -> &mut String {
        let family = metric.family();
        // A family's rows follow each other, so it is mostly the last.
        if let Some(place) = self.families.iter().rposition(|(name, _)| *name == family) {
            return &mut self.families[place].1;
        }
        let kind = match metric.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let help = metric.help.trim();
        self.families.push((family, format!("# HELP {family} {help}\n# TYPE {family} {kind}\n")));
        &mut self.families.last_mut().expect("just pushed").1
    }

    fn reading(&mut self, metric: &Metric, labels: &str, reading: &Reading) {
        match reading {
            Reading::Number(number) => self.sample(metric, labels, number),
            Reading::Labelled(values) => {
                // The family is there, with its help, even if nothing has happened yet.
                self.family(metric);
                for (more, value) in values {
                    self.sample(metric, &joined(&[labels, more]), value);
                }
            }
            Reading::Histogram(histogram) => self.histogram(metric, labels, histogram),
        }
    }

    fn sample(&mut self, metric: &Metric, labels: &str, value: impl std::fmt::Display) {
        let series = series(metric.family(), &[metric.labels(), labels]);
        // Writing to a string cannot fail.
        let _ = writeln!(self.family(metric), "{series} {value}");
    }

    fn histogram(&mut self, metric: &Metric, labels: &str, histogram: &HistogramReading) {
        let family = metric.family();
        let labels = joined(&[metric.labels(), labels]);
        let text = self.family(metric);
        let bounds = histogram.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut count = 0_u64;
        for (bound, in_bucket) in bounds.zip(&histogram.counts) {
            count = count.wrapping_add(*in_bucket);
            let series = series(&format!("{family}_bucket"), &[&labels, &format!("le=\"{bound}\"")]);
            let _ = writeln!(text, "{series} {count}");
        }
        let _ = writeln!(text, "{} {}", series(&format!("{family}_sum"), &[&labels]), histogram.sum);
        let _ = writeln!(text, "{} {count}", series(&format!("{family}_count"), &[&labels]));
    }

    fn finish(self) -> String {
        self.families.into_iter().map(|(_, text)| text).collect()
    }
}

fn series(name: &str, labels: &[&str]) -> String {
    let labels = joined(labels);
    if labels.is_empty() { name.into() } else { format!("{name}{{{labels}}}") }
}

fn joined(labels: &[&str]) -> String {
    let some: Vec<&str> = labels.iter().copied().filter(|labels| !labels.is_empty()).collect();
    some.join(",")
}

#[cfg(test)]
mod tests;
