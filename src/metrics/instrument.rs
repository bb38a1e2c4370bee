//! Counters, gauges and histograms that one core writes and the admin thread reads.
//!
//! *Which core*: each is written by one thread only; any may read.
//! *Invariants*: a write is a plain load and store, never a locked instruction: that is why there may be one writer only.
//! *Not here*: names and text. *Why relaxed*: a scrape may see one counter a moment older than another; nobody decides by it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::names;

/// What Prometheus calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// What was read of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// One number.
    Number(i64),
    /// One number for each set of labels, those that are zero left out.
    Labelled(Vec<(String, i64)>),
    /// A histogram.
    Histogram(HistogramReading),
}

/// Something that is measured.
pub trait Instrument: Default {
    /// Its type.
    const TYPE: Type;
    /// Its present value.
    fn read(&self) -> Reading;
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `count`. For the one writer.
    pub fn add(&self, count: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(count), Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Instrument for Counter {
    const TYPE: Type = Type::Counter;
    fn read(&self) -> Reading {
        Reading::Number(signed(self.get()))
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    /// Sets it to a size.
    pub fn set_size(&self, size: usize) {
        self.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// Changes it. For the one writer.
    pub fn add(&self, change: i64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(change), Relaxed);
    }

    /// The value.
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

impl Instrument for Gauge {
    const TYPE: Type = Type::Gauge;
    fn read(&self) -> Reading {
        Reading::Number(self.get())
    }
}

/// Buckets of a histogram: two for each doubling, the last without a bound.
const BUCKETS: usize = 48;

/// Counts by size. `FINEST` is the log2 of the first bucket's bound.
#[derive(Debug)]
struct Buckets<const FINEST: u32> {
    counts: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

impl<const FINEST: u32> Default for Buckets<FINEST> {
    fn default() -> Self {
        Buckets { counts: [const { AtomicU64::new(0) }; BUCKETS], sum: AtomicU64::new(0) }
    }
}

impl<const FINEST: u32> Buckets<FINEST> {
    /// Counts `value` in the first bucket whose bound is not below it; `amount` goes to the sum.
    fn observe(&self, value: u64, amount: u64) {
        let count = &self.counts[Self::bucket(value)];
        count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
        self.sum.store(self.sum.load(Relaxed).wrapping_add(amount), Relaxed);
    }

    fn bucket(value: u64) -> usize {
        if value <= 1 << FINEST {
            return 0;
        }
        let below = value - 1;
        let doublings = below.ilog2();
        // The bucket in the middle of 1 and 2 has no whole number.
        let is_upper_half = doublings == 0 || below >> (doublings - 1) & 1 == 1;
        (2 * (doublings - FINEST) as usize + 1 + usize::from(is_upper_half)).min(BUCKETS - 1)
    }

    /// A bucket's bound, inclusive.
    fn bound(bucket: usize) -> f64 {
        let doubled = (1_u64 << FINEST) << (bucket / 2);
        let factor = if bucket.is_multiple_of(2) { 1.0 } else { 1.5 };
        doubled as f64 * factor
    }

    /// `unit`: of the bounds, in what is shown; `sum_unit`: of the sum.
    fn read(&self, unit: f64, sum_unit: f64) -> Reading {
        Reading::Histogram(HistogramReading {
            bounds: (0..BUCKETS - 1).map(|bucket| Self::bound(bucket) / unit).collect(),
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed) as f64 / sum_unit,
        })
    }
}

/// A histogram as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramReading {
    /// The buckets' bounds, inclusive; the last bucket has none.
    pub bounds: Vec<f64>,
    /// How many were in each bucket.
    pub counts: Vec<u64>,
    /// Of all values.
    pub sum: f64,
}

/// Times, shown in ms: from 8 us to 67 s.
#[derive(Debug, Default)]
pub struct LatencyMs(Buckets<3>);

impl LatencyMs {
    /// Counts a time. For the one writer.
    pub fn observe(&self, time: Duration) {
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.0.observe(ns.div_ceil(1_000), ns);
    }
}

impl Instrument for LatencyMs {
    const TYPE: Type = Type::Histogram;
    fn read(&self) -> Reading {
        self.0.read(1e3, 1e6)
    }
}

/// Sizes in bytes: from 512 B to 4 GiB.
#[derive(Debug, Default)]
pub struct SizeBytes(Buckets<9>);

impl SizeBytes {
    /// Counts a size. For the one writer.
    pub fn observe(&self, bytes: u64) {
        self.0.observe(bytes, bytes);
    }
}

impl Instrument for SizeBytes {
    const TYPE: Type = Type::Histogram;
    fn read(&self) -> Reading {
        self.0.read(1.0, 1.0)
    }
}

/// Numbers of things: from 1 to 8 million.
#[derive(Debug, Default)]
pub struct Amount(Buckets<0>);

impl Amount {
    /// Counts a number. For the one writer.
    pub fn observe(&self, amount: u64) {
        self.0.observe(amount, amount);
    }
}

impl Instrument for Amount {
    const TYPE: Type = Type::Histogram;
    fn read(&self) -> Reading {
        self.0.read(1.0, 1.0)
    }
}

/// A counter for each of Kafka's APIs; label `api`.
#[derive(Debug)]
pub struct ByApi([Counter; names::APIS.len() + 1]);

impl Default for ByApi {
    fn default() -> ByApi {
        ByApi(std::array::from_fn(|_| Counter::default()))
    }
}

impl ByApi {
    /// Counts one for an API key; those that Kafka does not know count together. For the one writer.
    pub fn add(&self, key: i16) {
        let unknown = names::APIS.len();
        self.0[usize::try_from(key).unwrap_or(unknown).min(unknown)].add(1);
    }
}

impl Instrument for ByApi {
    const TYPE: Type = Type::Counter;
    fn read(&self) -> Reading {
        let labels = names::APIS.iter().chain([&"unknown"]).map(|name| format!("api=\"{name}\""));
        Reading::Labelled(
            labels.zip(&self.0).map(|(label, counter)| (label, signed(counter.get()))).filter(used).collect(),
        )
    }
}

/// A counter for each of Kafka's error codes; labels `code` and `error`.
#[derive(Debug)]
pub struct ByError([Counter; names::ERRORS.len() + 1]);

impl Default for ByError {
    fn default() -> ByError {
        ByError(std::array::from_fn(|_| Counter::default()))
    }
}

impl ByError {
    /// Counts one for a code; 0 is no error and does not count, codes that Kafka does not know count as -1. For the one writer.
    pub fn add(&self, code: i16) {
        let place = usize::try_from(code).ok().filter(|code| *code < self.0.len()).unwrap_or(0);
        if code != 0 {
            self.0[place].add(1);
        }
    }
}

impl Instrument for ByError {
    const TYPE: Type = Type::Counter;
    fn read(&self) -> Reading {
        // No error has no counter; its place is that of -1.
        let labels = (0..self.0.len()).map(|place| match place {
            0 => "code=\"-1\",error=\"UNKNOWN_SERVER_ERROR\"".to_owned(),
            code => format!("code=\"{code}\",error=\"{}\"", names::ERRORS[code - 1]),
        });
        Reading::Labelled(
            labels.zip(&self.0).map(|(label, counter)| (label, signed(counter.get()))).filter(used).collect(),
        )
    }
}

fn used((_, count): &(String, i64)) -> bool {
    *count != 0
}

/// Nodes that [`ByNode`] has room for.
const NODES_MAX: usize = 64;

/// A gauge for each node of the cluster; label `node_id`. Nodes beyond 64 are not shown.
#[derive(Debug)]
pub struct ByNode([(AtomicI64, Gauge); NODES_MAX]);

impl Default for ByNode {
    fn default() -> ByNode {
        ByNode(std::array::from_fn(|_| (AtomicI64::new(NOBODY), Gauge::default())))
    }
}

const NOBODY: i64 = -1;

impl ByNode {
    /// Sets the values of all nodes there are. For the one writer.
    pub fn set(&self, values: impl IntoIterator<Item = (i32, i64)>) {
        let mut values = values.into_iter();
        for (node, gauge) in &self.0 {
            match values.next() {
                Some((node_id, value)) => {
                    gauge.set(value);
                    node.store(node_id.into(), Relaxed);
                }
                None => node.store(NOBODY, Relaxed),
            }
        }
    }
}

impl Instrument for ByNode {
    const TYPE: Type = Type::Gauge;
    fn read(&self) -> Reading {
        let nodes = self.0.iter().map(|(node, gauge)| (node.load(Relaxed), gauge.get()));
        let present = nodes.filter(|(node, _)| *node != NOBODY);
        Reading::Labelled(present.map(|(node, value)| (format!("node_id=\"{node}\""), value)).collect())
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slow, obvious way.
    fn first_that_holds<const FINEST: u32>(value: u64) -> usize {
        (0..BUCKETS - 1).find(|bucket| value as f64 <= Buckets::<FINEST>::bound(*bucket)).unwrap_or(BUCKETS - 1)
    }

    #[test]
    fn a_value_goes_to_the_first_bucket_that_holds_it() {
        let edges = (0..63).flat_map(|doublings| {
            let edge = 1_u64 << doublings;
            [edge - 1, edge, edge + 1, edge + edge / 2 - 1, edge + edge / 2, edge + edge / 2 + 1]
        });
        for value in (0..5_000).chain(edges) {
            assert_eq!(Buckets::<0>::bucket(value), first_that_holds::<0>(value), "{value}");
            assert_eq!(Buckets::<3>::bucket(value), first_that_holds::<3>(value), "{value}");
            assert_eq!(Buckets::<9>::bucket(value), first_that_holds::<9>(value), "{value}");
        }
        assert_eq!(Buckets::<3>::bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn times_are_shown_in_ms() {
        let latency = LatencyMs::default();
        latency.observe(Duration::from_micros(8));
        latency.observe(Duration::from_millis(1));
        latency.observe(Duration::from_secs(100));
        let Reading::Histogram(read) = latency.read() else { panic!("a histogram") };
        assert_eq!((read.bounds[0], read.counts[0]), (0.008, 1));
        assert_eq!(read.counts[BUCKETS - 1], 1);
        let place = read.bounds.iter().position(|bound| *bound >= 1.0).expect("bounds go up to a minute");
        assert_eq!(read.counts[place], 1);
        assert!((read.sum - 100_001.008).abs() < 1e-9);
    }

    #[test]
    fn errors_are_counted_by_code_and_no_error_is_none() {
        let errors = ByError::default();
        for code in [0, 3, 3, -1, 999, i16::MIN] {
            errors.add(code);
        }
        let unknown = ("code=\"-1\",error=\"UNKNOWN_SERVER_ERROR\"".to_owned(), 3);
        let topic = ("code=\"3\",error=\"UNKNOWN_TOPIC_OR_PARTITION\"".to_owned(), 2);
        assert_eq!(errors.read(), Reading::Labelled(vec![unknown, topic]));
    }

    #[test]
    fn requests_are_counted_by_api() {
        let requests = ByApi::default();
        for key in [0, 18, 18, 1000, -1] {
            requests.add(key);
        }
        let counts = [("Produce", 1), ("ApiVersions", 2), ("unknown", 2)];
        let labelled = counts.map(|(api, count)| (format!("api=\"{api}\""), count));
        assert_eq!(requests.read(), Reading::Labelled(labelled.into()));
    }

    #[test]
    fn nodes_that_left_are_not_shown() {
        let nodes = ByNode::default();
        nodes.set([(1, 5), (7, 0)]);
        let shown = |nodes: &ByNode| match nodes.read() {
            Reading::Labelled(values) => values,
            other => panic!("{other:?}"),
        };
        assert_eq!(shown(&nodes), [("node_id=\"1\"".to_owned(), 5), ("node_id=\"7\"".to_owned(), 0)]);
        nodes.set([(7, 3)]);
        assert_eq!(shown(&nodes), [("node_id=\"7\"".to_owned(), 3)]);
        nodes.set((0..100).map(|node| (node, 1)));
        assert_eq!(shown(&nodes).len(), NODES_MAX);
    }
}
