//! Going offline: what a failed write means for a log.
//!
//! *Which core*: the log's.
//! *Invariants*: once offline, for good in this process; no space is not a failure.
//! *Not here*: a failed flush, which ends the process (turn).

use super::Log;
use crate::disk::{DiskError, DiskErrorReason};

impl Log {
    /// A write or what goes with one failed. No space only stops appends.
    pub(super) fn on_write_error(&mut self, error: &DiskError) {
        match error.reason {
            DiskErrorReason::NoSpace => self.no_space = true,
            DiskErrorReason::NotFound | DiskErrorReason::Io(_) => {
                self.offline.get_or_insert_with(|| error.clone());
            }
        }
    }
}
