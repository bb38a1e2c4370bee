//! How single values are written on the command line.
//!
//! Invariants: a value prints as it may be typed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Serialize, Serializer};

/// Largest value of `--message-size`.
const MESSAGE_BYTES_MAX: u64 = 32 << 20;

/// `30s`, `500ms`, `2m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| "expected a time such as 30s, 500ms or 2m".to_owned())?;
    let seconds = match unit {
        "" | "s" => number,
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("unknown unit {unit:?}: us, ms, s, m or h")),
    };
    if seconds > 30.0 * 86_400.0 {
        return Err("more than 30 days".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// Writes a time as seconds.
pub fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Writes a time as seconds, or nothing.
pub fn optional_seconds<S: Serializer>(time: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(serializer)
}

/// `256`, `16k`, `1MiB`; k and M are 1024 and 1024 * 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "expected bytes such as 256, 16KiB or 1MiB".to_owned())?;
    let unit = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(format!("unknown unit {unit:?}: KiB, MiB or GiB")),
    };
    number.checked_mul(unit).ok_or_else(|| "too large".to_owned())
}

/// Records per second, above zero.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "expected a number of records per second".to_owned())?;
    if rate > 0.0 && rate <= 1e9 { Ok(rate) } else { Err("must be above 0 and at most 1e9".to_owned()) }
}

/// Sizes of values, drawn uniformly from `min..=max` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// Smallest, in bytes.
    pub min: u32,
    /// Largest, in bytes.
    pub max: u32,
}

impl FromStr for SizeRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let (min, max) = (bytes(min)?, bytes(max)?);
        if min > max || max > MESSAGE_BYTES_MAX {
            return Err(format!("expected SIZE or MIN-MAX, at most {MESSAGE_BYTES_MAX} bytes"));
        }
        Ok(Self { min: min as u32, max: max as u32 })
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.min == self.max { write!(f, "{}", self.min) } else { write!(f, "{}-{}", self.min, self.max) }
    }
}

impl Serialize for SizeRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whose acknowledgement a record awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody's.
    None,
    /// The leader's.
    Leader,
    /// That of all in-sync replicas.
    All,
}

impl Acks {
    /// As on the wire.
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err("expected all, -1, 1 or 0".to_owned()),
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        })
    }
}

impl Serialize for Acks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Before the first `=`.
    pub name: String,
    /// After it.
    pub value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Serialize for Pair {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One flag and the values that it takes in turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    /// The flag, without dashes.
    pub flag: String,
    /// Its values, as typed.
    pub values: Vec<String>,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (flag, values) = text.split_once('=').ok_or("expected FLAG=VALUE,VALUE,..")?;
        let flag = flag.trim_start_matches("--").to_owned();
        let values: Vec<String> = values.split(',').map(|value| value.trim().to_owned()).collect();
        if flag.is_empty() || values.iter().any(String::is_empty) {
            return Err("expected FLAG=VALUE,VALUE,..".to_owned());
        }
        if ["sweep", "svg", "json", "quiet", "bootstrap-servers"].contains(&flag.as_str()) {
            return Err(format!("--{flag} is not a setting of the load"));
        }
        Ok(Self { flag, values })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn times_have_units_and_default_to_seconds() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "-1s", "1 fortnight", "1.2.3s", "1000000h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_are_one_number_or_a_range() {
        assert_eq!("256".parse(), Ok(SizeRange { min: 256, max: 256 }));
        assert_eq!("100-1KiB".parse(), Ok(SizeRange { min: 100, max: 1024 }));
        assert_eq!(SizeRange { min: 100, max: 1000 }.to_string(), "100-1000");
        for wrong in ["", "9-3", "-5", "1GiB", "99999999999999999999", "20000000000GiB"] {
            assert!(wrong.parse::<SizeRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_sweep_is_one_flag_and_its_values() {
        let sweep: Sweep = "--concurrency=1, 8".parse().unwrap();
        assert_eq!((sweep.flag.as_str(), sweep.values), ("concurrency", vec!["1".to_owned(), "8".to_owned()]));
        for wrong in ["concurrency", "=1", "a=1,,2", "json=a,b"] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }
}
