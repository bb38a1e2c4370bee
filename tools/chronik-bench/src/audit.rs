//! Is everything that was acknowledged really there: at its offset, once, whole, in order?
//!
//! Owns: the ledger of acknowledgements, and the comparison with what is read back. Pure.
//! Invariants: records are observed partition by partition, or interleaved, but each partition from its start in the order read.
//! Not here: the reading (`read_back`).
//! Why: a benchmark that believes acknowledgements can be won by a broker that writes nothing.

mod compare;
mod ledger;
pub mod read_back;

use serde::Serialize;

pub use compare::{Auditor, Observed};
pub use ledger::Ledger;

/// What an audit found. Counts of records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Acknowledged with an offset.
    pub acknowledged: u64,
    /// Read back, ours and others'.
    pub read: u64,
    /// Acknowledged, and nothing is at the offset: lost.
    pub missing: u64,
    /// Acknowledged, and something else is at the offset: lost too.
    pub replaced: u64,
    /// The right record, but bytes of its value changed.
    pub corrupted: u64,
    /// One record at more than one offset.
    pub duplicated: u64,
    /// One offset given to more than one acknowledged record.
    pub offsets_given_twice: u64,
    /// Behind a record that was sent after it, in the same partition.
    pub reordered: u64,
    /// In a partition that it was not sent to.
    pub misplaced: u64,
    /// Offsets without a record.
    pub gaps: u64,
    /// Ours, there, never acknowledged: allowed, their answer was lost or they failed.
    pub unacknowledged: u64,
    /// Not of this run.
    pub foreign: u64,
    /// Partitions that could not be read to their end.
    pub unread_partitions: u64,
}

impl Audit {
    /// No fault.
    pub fn is_clean(&self) -> bool {
        self.faults().is_empty()
    }

    /// What is wrong, by name; empty when all is well.
    pub fn faults(&self) -> Vec<(&'static str, u64)> {
        let all = [
            ("missing", self.missing),
            ("replaced", self.replaced),
            ("corrupted", self.corrupted),
            ("duplicated", self.duplicated),
            ("offsets given twice", self.offsets_given_twice),
            ("reordered", self.reordered),
            ("misplaced", self.misplaced),
            ("gaps", self.gaps),
            ("partitions not read to their end", self.unread_partitions),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}
