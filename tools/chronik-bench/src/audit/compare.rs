//! What was acknowledged against what is there.
//!
//! Invariants: one pass over each partition; memory is a bit a record and a few words a lane.

use std::collections::BTreeMap;

use super::Audit;
use super::ledger::{Ledger, Run};
use crate::payload::Identity;

/// One record as read back.
#[derive(Clone, Copy, Debug)]
pub struct Observed {
    /// The partition it was read from.
    pub partition: u32,
    /// Its offset.
    pub offset: i64,
    /// Who it says it is; `None` for a record that is none of ours.
    pub identity: Option<Identity>,
    /// Whether its value has the bytes that this identity was sent with.
    pub intact: bool,
}

/// Compares.
pub struct Auditor {
    audit: Audit,
    partitions: Vec<Partition>,
    lanes: BTreeMap<(u32, u32), Lane>,
}

struct Partition {
    expected_offset: i64,
    acknowledged: std::vec::IntoIter<Run>,
    current: Option<Run>,
}

/// One lane in one partition.
#[derive(Default)]
struct Lane {
    seen: Vec<u64>,
    next_sequence: u64,
}

impl Lane {
    /// Whether the record was not seen before.
    fn see(&mut self, sequence: u64) -> bool {
        let (word, bit) = ((sequence / 64) as usize, 1 << (sequence % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let new = self.seen[word] & bit == 0;
        self.seen[word] |= bit;
        new
    }
}

/// A sequence that no run reaches: beyond it, an identity is damage, not a place in a bitmap (of at most 1 GiB).
const SEQUENCE_MAX: u64 = 1 << 33;

impl Auditor {
    /// An audit of these acknowledgements, in partitions that are read from `start_offsets`.
    pub fn new(ledger: Ledger, start_offsets: &[i64]) -> Self {
        let acknowledged = ledger.count();
        let (runs, offsets_given_twice) = ledger.into_sorted(start_offsets.len());
        let partitions = runs
            .into_iter()
            .enumerate()
            .map(|(index, runs)| {
                let mut acknowledged = runs.into_iter();
                let current = acknowledged.next();
                let expected_offset = start_offsets.get(index).copied().unwrap_or(0);
                Partition { expected_offset, acknowledged, current }
            })
            .collect();
        let audit = Audit { acknowledged, offsets_given_twice, ..Audit::default() };
        Self { audit, partitions, lanes: BTreeMap::new() }
    }

    /// The next record of a partition.
    pub fn observe(&mut self, record: &Observed) {
        self.audit.read += 1;
        let Some(partition) = self.partitions.get_mut(record.partition as usize) else {
            self.audit.misplaced += 1;
            return;
        };
        if record.offset < partition.expected_offset {
            self.audit.duplicated += 1;
            return;
        }
        self.audit.gaps += (record.offset - partition.expected_offset) as u64;
        partition.expected_offset = record.offset + 1;
        self.audit.missing += partition.skip_to(record.offset);
        let acknowledged = partition.take(record.offset);
        match record.identity.filter(|identity| identity.sequence < SEQUENCE_MAX) {
            Some(identity) => self.judge(record, &identity, acknowledged),
            None => {
                self.audit.foreign += 1;
                self.audit.replaced += u64::from(acknowledged.is_some());
            }
        }
    }

    fn judge(&mut self, record: &Observed, identity: &Identity, acknowledged: Option<(u32, u64)>) {
        match acknowledged {
            Some(expected) if expected == (identity.lane, identity.sequence) => {}
            Some(_) => self.audit.replaced += 1,
            None => self.audit.unacknowledged += 1,
        }
        if !record.intact {
            self.audit.corrupted += 1;
            return;
        }
        if identity.partition != record.partition {
            self.audit.misplaced += 1;
            return;
        }
        let lane = self.lanes.entry((identity.lane, identity.partition)).or_default();
        if !lane.see(identity.sequence) {
            self.audit.duplicated += 1;
        } else if identity.sequence < lane.next_sequence {
            self.audit.reordered += 1;
        }
        lane.next_sequence = lane.next_sequence.max(identity.sequence + 1);
    }

    /// The verdict, once each partition was read as far as its end offset.
    pub fn finish(mut self, end_offsets: &[i64]) -> Audit {
        for (partition, end_offset) in self.partitions.iter_mut().zip(end_offsets) {
            self.audit.missing += partition.skip_to(i64::MAX);
            let left = end_offset - partition.expected_offset;
            if left > 0 {
                self.audit.gaps += left as u64;
            }
        }
        self.audit
    }

    /// A partition could not be read to its end.
    pub fn on_unread(&mut self) {
        self.audit.unread_partitions += 1;
    }
}

impl Partition {
    /// Passes over acknowledgements below an offset; how many.
    fn skip_to(&mut self, offset: i64) -> u64 {
        let mut passed = 0;
        while let Some(run) = &mut self.current {
            let below = (offset.saturating_sub(run.base_offset)).clamp(0, run.count as i64) as u64;
            if below == 0 {
                break;
            }
            passed += below;
            self.drop_first(below);
        }
        passed
    }

    /// The lane and sequence acknowledged at an offset, taken off the list.
    fn take(&mut self, offset: i64) -> Option<(u32, u64)> {
        let run = self.current.filter(|run| run.base_offset == offset)?;
        self.drop_first(1);
        Some((run.lane, run.base_sequence))
    }

    fn drop_first(&mut self, records: u64) {
        if let Some(run) = &mut self.current {
            run.base_offset += records as i64;
            run.base_sequence += records;
            run.count -= records;
            if run.count == 0 {
                self.current = self.acknowledged.next();
            }
        }
    }
}

#[cfg(test)]
mod tests;
