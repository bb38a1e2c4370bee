//! Rows of figures, and the ratio of two columns of rows.

use serde::Serialize;

use crate::statistics::median;

/// What one turn gave. `None` where the load does not tell.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Row {
    /// Records per second.
    pub msgs_per_s: Option<f64>,
    /// Millions of bytes of values per second.
    pub mb_per_s: Option<f64>,
    /// Median latency.
    pub p50_ms: Option<f64>,
    /// 99 of 100 were faster.
    pub p99_ms: Option<f64>,
    /// The broker's CPU, user and system, for 10^9 bytes of values.
    pub cpu_s_per_gb: Option<f64>,
    /// The broker's resident memory after the turn.
    pub rss_mib: Option<f64>,
}

impl Row {
    fn figures(&self) -> [(&'static str, Option<f64>); 6] {
        [
            ("msgs_per_s", self.msgs_per_s),
            ("mb_per_s", self.mb_per_s),
            ("p50_ms", self.p50_ms),
            ("p99_ms", self.p99_ms),
            ("cpu_s_per_gb", self.cpu_s_per_gb),
            ("rss_mib", self.rss_mib),
        ]
    }

    /// The figures in one line.
    pub fn line(&self) -> String {
        let told = self.figures().into_iter().filter_map(|(name, value)| Some(format!("{name} {:.1}", value?)));
        told.collect::<Vec<_>>().join("  ")
    }
}

/// One figure of two brokers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The figure's name, unit last.
    pub what: &'static str,
    /// Median of the first.
    pub first: f64,
    /// Median of the second.
    pub second: f64,
    /// Second over first: the median of the rounds' ratios.
    pub ratio: f64,
    /// The smallest of them.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// The ratios of rows measured in the same rounds.
pub fn of(first: &[Row], second: &[Row]) -> Vec<Ratio> {
    let names = Row::default().figures();
    let column = |rows: &[Row], index: usize| rows.iter().map(|row| row.figures()[index].1).collect::<Vec<_>>();
    let ratio = |(index, (what, _)): (usize, (&'static str, Option<f64>))| {
        let pairs: Vec<(f64, f64)> = column(first, index)
            .into_iter()
            .zip(column(second, index))
            .filter_map(|(first, second)| Some((first?, second?)))
            .filter(|(first, _)| *first > 0.0)
            .collect();
        let ratios: Vec<f64> = pairs.iter().map(|(first, second)| second / first).collect();
        Some(Ratio {
            what,
            first: median(pairs.iter().map(|pair| pair.0).collect())?,
            second: median(pairs.iter().map(|pair| pair.1).collect())?,
            min: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            max: ratios.iter().copied().fold(0.0, f64::max),
            ratio: median(ratios)?,
        })
    };
    names.into_iter().enumerate().filter_map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(msgs_per_s: f64) -> Row {
        Row { msgs_per_s: Some(msgs_per_s), ..Row::default() }
    }

    #[test]
    fn a_ratio_is_taken_within_a_round() {
        // A noisy machine: the second round was ten times slower for both.
        let ratios = of(&[row(100.0), row(10.0), row(90.0)], &[row(500.0), row(60.0), row(450.0)]);
        assert_eq!(ratios.len(), 1);
        assert_eq!((ratios[0].ratio, ratios[0].min, ratios[0].max), (5.0, 5.0, 6.0));
        assert_eq!((ratios[0].first, ratios[0].second), (90.0, 450.0));
    }
}
