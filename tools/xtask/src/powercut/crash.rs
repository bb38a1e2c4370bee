//! A cut in a log of writes, and the disk that it leaves.
//!
//! Invariants: what precedes the last flush before the cut is there; of what lies between it and the next flush, any part may be.
//! Why down to sectors: a disk promises nothing about a write that was not flushed but that each logical block is old or new. The
//! file system's own blocks are not torn: XFS does not claim to survive that (its recovery believes a block's first sector), and how
//! a file system copes is not what is tested here.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result};
use rand::{Rng, rngs::SmallRng};

use super::write_log::{Entry, WriteLog};
use crate::command::{command, quietly};

/// As mkfs is told, for both.
const FILE_SYSTEM_BLOCK_BYTES: usize = 4096;

/// Where the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Entries before this one are durable.
    durable_end: usize,
    /// Entries from there up to this one may be there, in part.
    maybe_end: usize,
    /// Entries of the whole log.
    count: usize,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maybe = self.maybe_end - self.durable_end;
        write!(f, "after {} of {} writes, {maybe} more in doubt", self.durable_end, self.count)
    }
}

/// Every second cut is anywhere in the log, the others under load, which begins with the first mark: most of a log may be a mount.
pub fn choose(log: &WriteLog, random: &mut SmallRng) -> Crash {
    let load = log.entries.iter().position(|entry| entry.mark.is_some()).unwrap_or(0);
    let from = if random.random_bool(0.5) { load } else { 0 };
    at(log, random.random_range(from..=log.entries.len()))
}

/// The power goes before entry `cut` has completed.
fn at(log: &WriteLog, cut: usize) -> Crash {
    let flushes = |entry: &Entry| entry.is_flush;
    let durable_end = log.entries[..cut].iter().rposition(flushes).unwrap_or(0);
    // A flush comes before the data of its own entry: that entry is in doubt itself.
    let rest = &log.entries[(durable_end + 1).min(log.entries.len())..];
    let maybe_end = rest.iter().position(flushes).map_or(log.entries.len(), |length| durable_end + 1 + length);
    Crash { durable_end, maybe_end, count: log.entries.len() }
}

impl Crash {
    /// The last mark that was made before the power went: what it names was acknowledged.
    pub fn ledger<'a>(&self, log: &'a WriteLog) -> Option<&'a str> {
        log.entries[..self.maybe_end].iter().rev().find_map(|entry| entry.mark.as_deref())
    }

    /// Makes `after` from `before` and what the cut left of the writes.
    pub fn apply(&self, log: &WriteLog, before: &Path, after: &Path, random: &mut SmallRng) -> Result<()> {
        quietly(command("cp", ["--sparse=always"]).arg(before).arg(after))?;
        let disk = File::options().write(true).open(after).with_context(|| after.display().to_string())?;
        for (index, entry) in log.entries[..self.maybe_end].iter().enumerate() {
            let data = log.data(entry)?;
            if index < self.durable_end || entry.is_fua {
                disk.write_all_at(&data, entry.position)?;
                continue;
            }
            // Nothing of it, all of it, or some of its sectors.
            let share = [0.0, 0.5, 1.0][random.random_range(0..3)];
            let piece_bytes = if entry.is_metadata { FILE_SYSTEM_BLOCK_BYTES } else { log.sector_bytes };
            for (number, piece) in (0..).zip(data.chunks(piece_bytes)) {
                if random.random_bool(share) {
                    disk.write_all_at(piece, entry.position + number * piece_bytes as u64)?;
                }
            }
        }
        disk.sync_all().context("writing the disk that is left")
    }
}

#[cfg(test)]
mod tests {
    use super::super::write_log::tests::log_of;
    use super::*;
    use rand::SeedableRng;

    const FLUSH: u64 = 1;
    const MARK: u64 = 8;

    #[test]
    fn what_was_flushed_is_there_and_what_was_not_may_be_torn() {
        let log = log_of(&[
            (0, &[1; 512], 0, ""),
            (0, &[], FLUSH, ""),
            (0, &[], MARK, "one"),
            (512, &[2; 2048], 0, ""),
            (0, &[], FLUSH, ""),
            (4096, &[3; 512], 0, ""),
            (0, &[], MARK, "two"),
        ]);
        let crash = at(&log, 4);
        assert_eq!((crash.durable_end, crash.maybe_end), (1, 4));
        assert_eq!(crash.ledger(&log), Some("one"));
        let last = at(&log, 7);
        assert_eq!((last.durable_end, last.maybe_end, last.ledger(&log)), (4, 7, Some("two")));
        let first = at(&log, 0);
        assert_eq!((first.durable_end, first.maybe_end, first.ledger(&log)), (0, 1, None));
        let folder = tempfile::tempdir().expect("a folder");
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        std::fs::write(&before, [0; 8192]).expect("written");
        let mut torn = 0;
        for seed in 0..50 {
            crash.apply(&log, &before, &after, &mut SmallRng::seed_from_u64(seed)).expect("applied");
            let disk = std::fs::read(&after).expect("read");
            assert_eq!(disk[..512], [1; 512]);
            assert_eq!(disk[4096..4608], [0; 512]);
            let there = disk[512..2560].chunks(512).filter(|sector| **sector == [2; 512]).count();
            torn += usize::from((1..4).contains(&there));
        }
        assert!(torn > 5, "{torn}");
    }
}
