//! Which leader epoch wrote which offsets (KIP-101): a list of (epoch, first offset).
//!
//! *Which core*: the log's.
//! *Invariants*: epochs and start offsets both rise strictly along the list, and neither is negative; so there are never more
//! entries than records, plus one.
//! *Why* more than the log needs: an epoch is durable before it is used, so the list may hold epochs without a record, never less.

mod checkpoint;

pub use checkpoint::CheckpointError;

use crate::ids::LeaderEpoch;

/// The epochs of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<(LeaderEpoch, i64)>,
}

impl EpochCache {
    /// A cache with these entries; those that break the order are dropped.
    pub fn new(entries: impl IntoIterator<Item = (LeaderEpoch, i64)>) -> EpochCache {
        let mut cache = EpochCache::default();
        entries.into_iter().for_each(|(epoch, start_offset)| cache.assign(epoch, start_offset));
        cache
    }

    /// The entries, oldest first.
    pub fn entries(&self) -> &[(LeaderEpoch, i64)] {
        &self.entries
    }

    /// The newest epoch.
    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// `epoch` writes from `start_offset` on. An epoch that is known, older or negative (none) changes nothing; entries at or
    /// above `start_offset` wrote nothing and go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: i64) {
        if epoch.0 < 0 || start_offset < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        self.truncate_from_end(start_offset);
        self.entries.push((epoch, start_offset));
    }

    /// The epoch that wrote `offset`, or would write it next.
    pub fn epoch_at(&self, offset: i64) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|index| self.entries[index].0)
    }

    /// The largest epoch not above `epoch`, and where it ended: where the next one began, or `log_end_offset` (KIP-101,
    /// KIP-279). If all that is left of the log is newer, `epoch` itself, and where that begins: somebody who has read up to
    /// there is in order. `None`: no epoch is known at all, or `epoch` is none.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: i64) -> Option<(LeaderEpoch, i64)> {
        if epoch.0 < 0 || self.entries.is_empty() {
            return None;
        }
        let after = self.entries.partition_point(|(known, _)| *known <= epoch);
        let end = self.entries.get(after).map_or(log_end_offset, |(_, start)| *start);
        let found = after.checked_sub(1).map_or(epoch, |index| self.entries[index].0);
        Some((found, end))
    }

    /// The log was cut to `end_offset`: epochs that began there or later are gone.
    pub fn truncate_from_end(&mut self, end_offset: i64) {
        let kept = self.entries.partition_point(|(_, start)| *start < end_offset);
        self.entries.truncate(kept);
    }

    /// The log now begins at `start_offset`: older epochs go, the one that wrote there begins there.
    pub fn truncate_from_start(&mut self, start_offset: i64) {
        let after = self.entries.partition_point(|(_, start)| *start <= start_offset);
        let Some(index) = after.checked_sub(1) else { return };
        self.entries.drain(..index);
        self.entries[0].1 = start_offset;
    }
}

#[cfg(test)]
mod tests;
