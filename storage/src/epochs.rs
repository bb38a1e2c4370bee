//! Which leader epoch wrote which offsets (KIP-101): a list of (epoch, first offset).
//!
//! *Which core*: the log's.
//! *Invariants*: epochs and start offsets both rise strictly along the list.
//! *Why* more than the log needs: an epoch is durable before it is used, so the list may hold epochs without a record, never less.

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

    /// `epoch` writes from `start_offset` on. An epoch that is known or older changes nothing; entries at or above
    /// `start_offset` wrote nothing and go.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: i64) {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return;
        }
        self.entries.retain(|(_, start)| *start < start_offset);
        self.entries.push((epoch, start_offset));
    }

    /// The epoch that wrote `offset`, or would write it next.
    pub fn epoch_at(&self, offset: i64) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|index| self.entries[index].0)
    }

    /// The largest epoch not above `epoch`, and where it ended (KIP-101, KIP-279). `None`: all known epochs are larger.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end_offset: i64) -> Option<(LeaderEpoch, i64)> {
        let after = self.entries.partition_point(|(known, _)| *known <= epoch);
        let index = after.checked_sub(1)?;
        let end = self.entries.get(after).map_or(log_end_offset, |(_, start)| *start);
        Some((self.entries[index].0, end))
    }

    /// The log was cut to `end_offset`: epochs that began there or later are gone.
    pub fn truncate_from_end(&mut self, end_offset: i64) {
        self.entries.retain(|(_, start)| *start < end_offset);
    }

    /// The log now begins at `start_offset`: older epochs go, the one that wrote there begins there.
    pub fn truncate_from_start(&mut self, start_offset: i64) {
        let Some(epoch) = self.epoch_at(start_offset) else { return };
        self.entries.retain(|(known, _)| *known >= epoch);
        if let Some(first) = self.entries.first_mut() {
            first.1 = first.1.max(start_offset);
        }
    }
}
