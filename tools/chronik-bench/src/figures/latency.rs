//! A histogram of durations: 1 us to 1 h, three significant digits; longer ones count as 1 h.
//!
//! Not here: which durations belong in it (`recorder`).

use hdrhistogram::Histogram;

const NS_MAX: u64 = 3_600_000_000_000;

/// Durations, counted by length.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1_000, NS_MAX, 3).expect("the bounds are constants, and valid"))
    }
}

impl Latency {
    /// Counts `records` records of this duration.
    pub fn record(&mut self, duration_ns: u64, records: u64) {
        self.0.saturating_record_n(duration_ns, records);
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The duration, in milliseconds, that this part of all did not exceed.
    pub fn quantile_ms(&self, quantile: f64) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(quantile) as f64 / 1e6)
    }

    /// The longest.
    pub fn max_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.max() as f64 / 1e6)
    }

    /// The mean.
    pub fn mean_ms(&self) -> Option<f64> {
        (!self.0.is_empty()).then(|| self.0.mean() / 1e6)
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn merged_histograms_count_as_one() {
        let (mut one, mut other, mut both) = (Latency::default(), Latency::default(), Latency::default());
        for n in 1..=1000_u64 {
            let (half, ns) = (if n % 2 == 0 { &mut one } else { &mut other }, n * 10_000);
            half.record(ns, 1);
            both.record(ns, 1);
        }
        one.add(&other);
        for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(one.quantile_ms(quantile), both.quantile_ms(quantile));
        }
        assert_eq!((one.count(), one.max_ms()), (1000, both.max_ms()));
        let p99 = one.quantile_ms(0.99).unwrap();
        assert!((p99 - 9.9).abs() < 0.02, "{p99}");
    }

    #[test]
    fn nothing_measured_has_no_figure_and_too_long_counts_as_longest() {
        let mut latency = Latency::default();
        assert_eq!((latency.quantile_ms(0.5), latency.max_ms(), latency.mean_ms()), (None, None, None));
        latency.record(u64::MAX, 1);
        assert!(latency.max_ms().unwrap() >= 3_599_999.0);
        latency.clear();
        assert_eq!(latency.count(), 0);
    }
}
