//! Where a value lies between the ends of an axis, and which values are named on it.
//!
//! Invariants: `place` of any finite value is a number from 0 to 1.

/// An axis from `low` to `high`.
pub struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Axis {
    /// From zero to a round number above all values.
    pub fn linear(values: impl Iterator<Item = f64>) -> Self {
        let largest = values.fold(0.0, f64::max);
        let step = step(largest);
        Self { low: 0.0, high: (largest / step).ceil().max(1.0) * step, logarithmic: false }
    }

    /// Whole decades around all values.
    pub fn logarithmic(values: impl Iterator<Item = f64> + Clone) -> Self {
        let positive = values.filter(|value| *value > 0.0);
        let smallest = positive.clone().fold(f64::INFINITY, f64::min);
        let largest = positive.fold(0.0, f64::max);
        if largest <= 0.0 {
            return Self { low: 0.1, high: 1.0, logarithmic: true };
        }
        let (low, high) = (10_f64.powf(smallest.log10().floor()), 10_f64.powf(largest.log10().ceil()));
        Self { low, high: high.max(low * 10.0), logarithmic: true }
    }

    /// How far along the axis a value lies: 0 at its low end, 1 at its high end.
    pub fn place(&self, value: f64) -> f64 {
        let place = if self.logarithmic {
            (value.max(self.low).log10() - self.low.log10()) / (self.high.log10() - self.low.log10())
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(0.0, 1.0)
    }

    /// The values that are named, and their names.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let mut ticks = Vec::new();
        if self.logarithmic {
            let decades = (self.high / self.low).log10().round() as i32;
            for decade in 0..=decades {
                let value = self.low * 10_f64.powi(decade);
                ticks.push((value, trimmed(value)));
            }
        } else {
            let step = step(self.high);
            let count = (self.high / step).round() as u32;
            let (unit, letter) = if self.high >= 1e6 {
                (1e6, "M")
            } else if self.high >= 1e4 {
                (1e3, "k")
            } else {
                (1.0, "")
            };
            for index in 0..=count {
                let value = f64::from(index) * step;
                let letter = if index == 0 { "" } else { letter };
                ticks.push((value, format!("{}{letter}", trimmed(value / unit))));
            }
        }
        ticks
    }
}

/// A step of 1, 2 or 5 times a power of ten that cuts `span` into four to ten.
fn step(span: f64) -> f64 {
    if span <= 0.0 {
        return 1.0;
    }
    let magnitude = 10_f64.powf((span / 4.0).log10().floor());
    let factor = [5.0, 2.0].into_iter().find(|factor| span / (magnitude * factor) >= 4.0).unwrap_or(1.0);
    magnitude * factor
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_starts_at_zero_and_ends_above_the_largest() {
        for largest in [0.3, 7.0, 41_152.0, 1e6] {
            let axis = Axis::linear([largest, largest / 3.0].into_iter());
            assert_eq!(axis.place(0.0), 0.0);
            assert!(axis.place(largest) > 0.7 && axis.place(largest) <= 1.0, "{largest}");
            assert!((4..=12).contains(&axis.ticks().len()), "{largest}: {:?}", axis.ticks());
        }
    }

    #[test]
    fn a_logarithmic_axis_names_its_decades() {
        let axis = Axis::logarithmic([0.25, 40.0].into_iter());
        let names: Vec<String> = axis.ticks().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["0.1", "1", "10", "100"]);
        assert!((axis.place(1.0) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(axis.place(0.0), 0.0);
    }

    #[test]
    fn an_axis_of_nothing_is_still_an_axis() {
        for axis in [
            Axis::linear(std::iter::empty()),
            Axis::logarithmic(std::iter::empty()),
            Axis::logarithmic([1.0].into_iter()),
        ] {
            assert!(axis.place(1.0).is_finite() && axis.ticks().len() >= 2);
        }
    }
}
