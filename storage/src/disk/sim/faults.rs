//! What is to go wrong on a simulated disk, by call.

use super::super::DiskErrorReason;

/// What an operation is, as far as faults and latencies tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOn {
    /// Reads, sizes, listings.
    Read,
    /// Writes.
    Write,
    /// Flushes of files.
    Flush,
    /// Allocating and setting the size.
    Allocate,
    /// Opening, creating, renaming, removing, locking.
    Name,
    /// Flushes of directories.
    SyncDir,
}

/// A fault that waits for its operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which operations.
    pub on: FaultOn,
    /// On paths that contain this; an empty one is in every path.
    pub path_contains: String,
    /// How many such operations pass first.
    pub skip_count: u64,
    /// How many fail then; `u64::MAX` for all.
    pub fail_count: u64,
    /// With what.
    pub reason: DiskErrorReason,
}

impl Fault {
    /// The next such operation fails with an I/O error.
    pub fn next(on: FaultOn, path_contains: &str) -> Fault {
        let reason = DiskErrorReason::Io("Input/output error".to_owned());
        Fault { on, path_contains: path_contains.to_owned(), skip_count: 0, fail_count: 1, reason }
    }
    /// As [`Fault::next`], but every one from the first.
    pub fn every(on: FaultOn, path_contains: &str) -> Fault {
        Fault { fail_count: u64::MAX, ..Fault::next(on, path_contains) }
    }
    /// As [`Fault::next`], after `count` have passed.
    pub fn after(self, count: u64) -> Fault {
        Fault { skip_count: count, ..self }
    }
    /// With this reason instead.
    pub fn with(self, reason: DiskErrorReason) -> Fault {
        Fault { reason, ..self }
    }

    /// Counts the operation; the error if it is one to fail.
    pub(super) fn strikes(&mut self, on: FaultOn, path: &str) -> Option<DiskErrorReason> {
        if on != self.on || !path.contains(&self.path_contains) {
            return None;
        }
        if self.skip_count > 0 {
            self.skip_count -= 1;
            return None;
        }
        self.fail_count = self.fail_count.checked_sub(1)?;
        Some(self.reason.clone())
    }
}
