//! Who is in sync, and how far each of them has flushed.
//!
//! *Which core*: the leader's shard.
//! *Invariants*: the leader is a member; every member is a replica.
//! *Why* flushed offsets: an acknowledged record is on the disk of every in-sync replica, so a power cut of all brokers at
//! once loses nothing; Kafka counts what lies in the page cache.

use crate::model::BrokerId;
use crate::partition::ladder::{FlushedEndOffset, HighWatermark};

/// Another broker's replica, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Progress {
    broker: BrokerId,
    in_sync: bool,
    flushed_end: FlushedEndOffset,
}

/// The in-sync replicas of one partition, as its leader sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Isr {
    others: Vec<Progress>,
    min_insync_replicas: usize,
}

impl Isr {
    /// The committed state: `replicas` and `isr` both with the leader `me` among them.
    pub fn new(me: BrokerId, replicas: &[BrokerId], isr: &[BrokerId], min_insync_replicas: usize) -> Isr {
        assert!(isr.contains(&me), "leader {me:?} is not in the ISR {isr:?}");
        assert!(isr.iter().all(|b| replicas.contains(b)), "ISR {isr:?} is no part of the replicas {replicas:?}");
        let others = replicas
            .iter()
            .filter(|broker| **broker != me)
            .map(|&broker| Progress { broker, in_sync: isr.contains(&broker), flushed_end: FlushedEndOffset(0) })
            .collect();
        Isr { others, min_insync_replicas }
    }

    /// `min.insync.replicas` has changed.
    pub fn set_min_insync_replicas(&mut self, count: usize) {
        self.min_insync_replicas = count;
    }

    /// Are enough replicas in sync for acks=-1? The minimum is never more than there are replicas.
    pub fn is_enough(&self) -> bool {
        let in_sync = 1 + self.others.iter().filter(|p| p.in_sync).count();
        in_sync >= self.min_insync_replicas.min(1 + self.others.len())
    }

    /// A replica says what it has flushed. Cumulative: an older, lower word changes nothing (lesson 7).
    pub fn on_replica_flushed(&mut self, broker: BrokerId, flushed_end: FlushedEndOffset) {
        if let Some(progress) = self.others.iter_mut().find(|p| p.broker == broker) {
            progress.flushed_end = progress.flushed_end.max(flushed_end);
        }
    }

    /// What the high watermark may be: the smallest flushed end of any member. `None` while too few are in sync: it is frozen.
    pub fn high_watermark(&self, mine: FlushedEndOffset) -> Option<HighWatermark> {
        let members = self.others.iter().filter(|p| p.in_sync).map(|p| p.flushed_end.0);
        self.is_enough().then(|| HighWatermark(members.fold(mine.0, i64::min)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const B: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];

    #[test]
    fn a_lone_replica_is_enough_whatever_the_minimum_says() {
        let isr = Isr::new(B[0], &B[..1], &B[..1], 2);
        assert_eq!(isr.high_watermark(FlushedEndOffset(7)), Some(HighWatermark(7)));
    }

    #[test]
    fn the_slowest_member_sets_the_high_watermark() {
        let mut isr = Isr::new(B[0], &B, &B, 2);
        isr.on_replica_flushed(B[1], FlushedEndOffset(5));
        isr.on_replica_flushed(B[2], FlushedEndOffset(3));
        isr.on_replica_flushed(B[1], FlushedEndOffset(4));
        assert_eq!(isr.high_watermark(FlushedEndOffset(9)), Some(HighWatermark(3)));
    }

    /// Lesson 6: below the minimum nothing moves.
    #[test]
    fn below_the_minimum_the_high_watermark_is_frozen() {
        let isr = Isr::new(B[0], &B, &B[..1], 2);
        assert!(!isr.is_enough());
        assert_eq!(isr.high_watermark(FlushedEndOffset(9)), None);
    }
}
