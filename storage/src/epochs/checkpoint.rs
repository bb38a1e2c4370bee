//! Kafka's `leader-epoch-checkpoint`: text, so that a person can read it.
//!
//! ```text
//! 0                  the version
//! 2                  how many entries
//! 0 0                epoch, start offset
//! 3 117
//! ```

use std::fmt::Write;

use super::EpochCache;
use crate::ids::LeaderEpoch;

const VERSION: &str = "0";

/// Why a text is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not text at all.
    #[error("it is not text")]
    NotText,
    /// Its last line is not complete.
    #[error("its last line is cut")]
    Cut,
    /// Written by another version.
    #[error("its version is not 0")]
    Version,
    /// A line that is not what it should be.
    #[error("line {0} makes no sense")]
    Malformed(usize),
    /// An entry that does not lie beyond the one before it.
    #[error("line {0} does not lie beyond the one before it")]
    NotRising(usize),
    /// Fewer or more entries than it says.
    #[error("it says {expected} entries and has {found}")]
    Count {
        /// What it says.
        expected: usize,
        /// What it has.
        found: usize,
    },
}

impl EpochCache {
    /// The text.
    pub fn to_text(&self) -> String {
        let mut text = format!("{VERSION}\n{}\n", self.entries.len());
        for (epoch, start_offset) in &self.entries {
            writeln!(text, "{} {start_offset}", epoch.0).expect("a string takes all that is written to it");
        }
        text
    }

    /// Reads what [`EpochCache::to_text`] or Kafka wrote. An empty text is an empty cache, as for Kafka.
    pub fn from_text(text: &[u8]) -> Result<EpochCache, CheckpointError> {
        let text = std::str::from_utf8(text).map_err(|_| CheckpointError::NotText)?;
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(CheckpointError::Cut);
        }
        let mut lines = text.lines().zip(1..);
        let mut cache = EpochCache::default();
        let Some((version, _)) = lines.next() else { return Ok(cache) };
        if version != VERSION {
            return Err(CheckpointError::Version);
        }
        let (count, _) = lines.next().ok_or(CheckpointError::Malformed(2))?;
        let expected: usize = count.parse().map_err(|_| CheckpointError::Malformed(2))?;
        for (line, number) in lines {
            let (epoch, start_offset) = entry(line).ok_or(CheckpointError::Malformed(number))?;
            let rises =
                |&(last_epoch, last_start): &(LeaderEpoch, i64)| last_epoch < epoch && last_start < start_offset;
            if !cache.entries.last().is_none_or(rises) {
                return Err(CheckpointError::NotRising(number));
            }
            cache.entries.push((epoch, start_offset));
        }
        let found = cache.entries.len();
        if found == expected { Ok(cache) } else { Err(CheckpointError::Count { expected, found }) }
    }
}

fn entry(line: &str) -> Option<(LeaderEpoch, i64)> {
    let (epoch, start_offset) = line.split_once(' ')?;
    let (epoch, start_offset): (i32, i64) = (epoch.parse().ok()?, start_offset.parse().ok()?);
    (epoch >= 0 && start_offset >= 0).then_some((LeaderEpoch(epoch), start_offset))
}
