//! The leader of a partition: the only one who acknowledges.
//!
//! *Which core*: the shard that owns the partition.
//! *Invariants*: an acks=-1 waiter is released by the high watermark alone, an acks=1 waiter by the leader's own flush alone.
//! *Not here*: sequence numbers (the log's producer table is checked and advanced with the append), and the bytes.

use crate::model::{BrokerId, LeaderEpoch};
use crate::partition::fetch_waiters::{FetchTicket, FetchWaiters};
use crate::partition::isr::Isr;
use crate::partition::ladder::{FlushedEndOffset, Ladder, LogEndOffset, LogStartOffset};
use crate::partition::produce_waiters::{Acks, ProduceWaiters, Waiter};
use crate::partition::{AckError, Acknowledged, Effect, Effects};
use crate::rt::Monotonic;

/// Fewer replicas are in sync than `min.insync.replicas`: nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too few replicas are in sync")]
pub struct NotEnoughReplicas;

/// A leader's state.
#[derive(Debug)]
pub struct Leader {
    leader_epoch: LeaderEpoch,
    /// Where this reign begins: below it, everything is from earlier leaders.
    epoch_start_offset: i64,
    ladder: Ladder,
    isr: Isr,
    flushed_waiters: ProduceWaiters,
    replicated_waiters: ProduceWaiters,
    fetches: FetchWaiters,
}

impl Leader {
    /// Begins to lead in `leader_epoch`, which is durable already, with the log as `ladder` has it.
    pub fn new(leader_epoch: LeaderEpoch, ladder: Ladder, isr: Isr) -> Leader {
        let epoch_start_offset = ladder.log_end().0;
        let mut leader = Leader {
            leader_epoch,
            epoch_start_offset,
            ladder,
            isr,
            flushed_waiters: ProduceWaiters::default(),
            replicated_waiters: ProduceWaiters::default(),
            fetches: FetchWaiters::default(),
        };
        leader.advance_high_watermark(&mut Vec::new());
        leader
    }

    /// The epoch it leads in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The partition's offsets.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// May consumers be told the log's end? A new leader's high watermark may still be below its predecessor's (KIP-207).
    pub fn knows_high_watermark(&self) -> bool {
        self.ladder.high_watermark().0 >= self.epoch_start_offset
    }

    /// May a produce with these acks be appended?
    pub fn admit(&self, acks: Acks) -> Result<(), NotEnoughReplicas> {
        if acks == Acks::All && !self.isr.is_enough() { Err(NotEnoughReplicas) } else { Ok(()) }
    }

    /// The log has grown to `end`.
    pub fn on_appended(&mut self, end: LogEndOffset) {
        self.ladder.append_to(end);
    }

    /// A batch, appended now or before (a duplicate), waits for its acks. One whose rung is reached is answered at once.
    pub fn on_waiter(&mut self, acks: Acks, waiter: Waiter, fx: &mut Effects) {
        let (queue, rung) = match acks {
            // Nobody waits for these: they are as good as answered.
            Acks::None => return fx.push(acknowledge(&waiter, self.ladder.log_start())),
            Acks::Leader => (&mut self.flushed_waiters, self.ladder.flushed_end().0),
            Acks::All => (&mut self.replicated_waiters, self.ladder.high_watermark().0),
        };
        if waiter.end_offset <= rung {
            fx.push(acknowledge(&waiter, self.ladder.log_start()));
        } else {
            queue.park(waiter);
        }
    }

    /// The leader's own log is durable up to `end`.
    pub fn on_flushed(&mut self, end: FlushedEndOffset, fx: &mut Effects) {
        self.ladder.flush_to(end);
        let log_start = self.ladder.log_start();
        self.flushed_waiters.release(end.0, |waiter| fx.push(acknowledge(&waiter, log_start)));
        self.advance_high_watermark(fx);
    }

    /// A replica's log is durable up to `end`.
    pub fn on_replica_flushed(&mut self, broker: BrokerId, end: FlushedEndOffset, fx: &mut Effects) {
        self.isr.on_replica_flushed(broker, end);
        self.advance_high_watermark(fx);
    }

    /// The committed ISR is another one, in the same epoch.
    pub fn on_isr(&mut self, isr: Isr, fx: &mut Effects) {
        self.isr = isr;
        self.on_in_sync_changed(fx);
    }

    /// `min.insync.replicas` has changed.
    pub fn on_min_insync_replicas(&mut self, count: usize, fx: &mut Effects) {
        self.isr.set_min_insync_replicas(count);
        self.on_in_sync_changed(fx);
    }

    /// Records below `to` are gone. Fetches that wait must look again: theirs may be among them.
    pub fn on_trimmed(&mut self, to: LogStartOffset, fx: &mut Effects) {
        self.ladder.trim_to(to);
        self.fetches.wake_all(|ticket| fx.push(Effect::Wake(ticket)));
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Monotonic, fx: &mut Effects) {
        self.flushed_waiters.expire(now, |w| fx.push(refuse(&w, AckError::TimedOut)));
        self.replicated_waiters.expire(now, |w| fx.push(refuse(&w, AckError::TimedOut)));
    }

    /// The leadership ends, or the disk is full, for `reason`: everybody who waits is told, and no answer follows.
    pub fn on_resigned(&mut self, reason: AckError, fx: &mut Effects) {
        self.flushed_waiters.drain(|w| fx.push(refuse(&w, reason)));
        self.replicated_waiters.drain(|w| fx.push(refuse(&w, reason)));
        self.fetches.wake_all(|ticket| fx.push(Effect::Wake(ticket)));
    }

    /// A fetch waits for the high watermark to pass `offset`.
    pub fn on_fetch_parked(&mut self, ticket: FetchTicket, offset: i64) {
        self.fetches.park(ticket, offset);
    }

    /// A fetch waits no longer.
    pub fn on_fetch_left(&mut self, ticket: FetchTicket) {
        self.fetches.unpark(ticket);
    }

    /// Does any produce wait (so that time matters)?
    pub fn has_waiters(&self) -> bool {
        !self.flushed_waiters.is_empty() || !self.replicated_waiters.is_empty()
    }

    fn on_in_sync_changed(&mut self, fx: &mut Effects) {
        if !self.isr.is_enough() {
            self.replicated_waiters.drain(|w| fx.push(refuse(&w, AckError::NotEnoughReplicasAfterAppend)));
        }
        self.advance_high_watermark(fx);
    }

    fn advance_high_watermark(&mut self, fx: &mut Effects) {
        let Some(target) = self.isr.high_watermark(self.ladder.flushed_end()) else { return };
        if self.ladder.raise_high_watermark(target) {
            let log_start = self.ladder.log_start();
            self.replicated_waiters.release(target.0, |waiter| fx.push(acknowledge(&waiter, log_start)));
            self.fetches.on_high_watermark(target.0, |ticket| fx.push(Effect::Wake(ticket)));
        }
    }
}

fn acknowledge(waiter: &Waiter, log_start: LogStartOffset) -> Effect {
    let acknowledged = Acknowledged { base_offset: waiter.base_offset, log_start_offset: log_start.0 };
    Effect::Answer { ticket: waiter.ticket, outcome: Ok(acknowledged) }
}

fn refuse(waiter: &Waiter, reason: AckError) -> Effect {
    Effect::Answer { ticket: waiter.ticket, outcome: Err(reason) }
}
