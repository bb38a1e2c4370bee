//! The leader of a partition: the only one who acknowledges.
//!
//! *Which core*: the shard that owns the partition.
//! *Invariants*: an acks=-1 waiter is released by the high watermark alone, an acks=1 waiter by the leader's own flush alone;
//! nobody waits for acks=-1 while too few replicas are in sync.
//! *Not here*: sequence numbers (the log's producer table is checked and advanced with the append), and the bytes. The sender
//! reads from the log at each follower's position: there is no queue here that could overflow (lesson 23).

use storage::epochs::EpochCache;

use crate::metadata::image::{BrokerEpoch, PartitionEpoch};
use crate::model::{BrokerId, LeaderEpoch, PartitionId};
use crate::partition::fetch_waiters::{FetchTicket, FetchWaiters};
use crate::partition::isr::{Assignment, Isr, IsrAnswer};
use crate::partition::ladder::{FlushedEndOffset, Ladder, LogEndOffset, LogStartOffset};
use crate::partition::opening;
use crate::partition::produce_waiters::{Acks, ProduceWaiters, Waiter};
use crate::partition::replica::{LagLimits, Opening};
use crate::partition::replication::{OpeningAnswer, OpeningRequest, ReplicaAck};
use crate::partition::{AckError, Acknowledged, Effect, Effects, IsrProposal};
use crate::rt::Monotonic;

/// Fewer replicas are in sync than `min.insync.replicas`: nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too few replicas are in sync")]
pub struct NotEnoughReplicas;

/// A replica claims to have flushed what its leader does not have. Its stream is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{broker:?} has flushed up to {flushed_end_offset}, the log ends at {log_end_offset}")]
pub struct AckBeyondLogEnd {
    /// Whose.
    pub broker: BrokerId,
    /// What it says.
    pub flushed_end_offset: i64,
    /// What can be.
    pub log_end_offset: i64,
}

/// What does not change while a leader leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reign {
    /// Of what.
    pub partition: PartitionId,
    /// The leader.
    pub broker: BrokerId,
    /// The number of the reign.
    pub leader_epoch: LeaderEpoch,
    /// How far behind a replica may be.
    pub lag_limits: LagLimits,
}

/// A leader's state.
#[derive(Debug)]
pub struct Leader {
    reign: Reign,
    /// Where this reign begins: below it, everything is from earlier leaders.
    epoch_start_offset: i64,
    ladder: Ladder,
    isr: Isr,
    flushed_waiters: ProduceWaiters,
    replicated_waiters: ProduceWaiters,
    fetches: FetchWaiters,
}

impl Leader {
    /// Begins to lead, in a leader epoch that is durable already, with the log as `ladder` has it.
    pub fn new(reign: Reign, ladder: Ladder, assignment: &Assignment, min_insync: usize, now: Monotonic) -> Leader {
        let epoch_start_offset = ladder.log_end().0;
        let mut leader = Leader {
            reign,
            epoch_start_offset,
            ladder,
            isr: Isr::new(reign.broker, assignment, min_insync, reign.lag_limits, now),
            flushed_waiters: ProduceWaiters::default(),
            replicated_waiters: ProduceWaiters::default(),
            fetches: FetchWaiters::default(),
        };
        leader.advance_high_watermark(&mut Vec::new());
        leader
    }

    /// The epoch it leads in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.reign.leader_epoch
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
    pub fn on_appended(&mut self, end: LogEndOffset, now: Monotonic) {
        self.isr.on_append(self.ladder.log_end().0, now);
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

    /// A follower asks to open the partition. `epochs` are those of the log here.
    pub fn on_opening(
        &mut self,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        request: &OpeningRequest,
        epochs: &EpochCache,
    ) -> OpeningAnswer {
        if request.leader_epoch > self.reign.leader_epoch {
            return OpeningAnswer::NotYet;
        }
        if request.leader_epoch < self.reign.leader_epoch {
            return OpeningAnswer::Fenced;
        }
        let (log_start, log_end) = (self.ladder.log_start().0, self.ladder.log_end().0);
        let answer = opening::answer(epochs, log_start, log_end, request);
        let opening = Opening { broker_epoch, number: request.opening };
        match self.isr.on_opening(broker, opening, answer == OpeningAnswer::Agreed) {
            None => OpeningAnswer::NotYet,
            Some(false) => OpeningAnswer::Fenced,
            Some(true) => answer,
        }
    }

    /// A follower's stream has broken.
    pub fn on_disconnected(&mut self, broker: BrokerId, now: Monotonic, fx: &mut Effects) {
        self.isr.on_closed(broker);
        self.settle(now, fx);
    }

    /// A follower says how far its log is durable. What belongs to another reign or an earlier opening changes nothing.
    pub fn on_replica_ack(
        &mut self,
        broker: BrokerId,
        broker_epoch: BrokerEpoch,
        ack: &ReplicaAck,
        now: Monotonic,
        fx: &mut Effects,
    ) -> Result<(), AckBeyondLogEnd> {
        let ReplicaAck { leader_epoch, opening, flushed_end_offset } = *ack;
        let log_end_offset = self.ladder.log_end().0;
        if leader_epoch != self.reign.leader_epoch {
            return Ok(());
        }
        if flushed_end_offset > log_end_offset {
            return Err(AckBeyondLogEnd { broker, flushed_end_offset, log_end_offset });
        }
        let opening = Opening { broker_epoch, number: opening };
        if self.isr.on_flushed(broker, opening, FlushedEndOffset(flushed_end_offset)) {
            self.settle(now, fx);
        }
        Ok(())
    }

    /// Metadata has come, of the same reign: who is in sync, who is alive.
    pub fn on_assignment(&mut self, assignment: &Assignment, now: Monotonic, fx: &mut Effects) {
        self.isr.on_assignment(assignment, now);
        self.settle(now, fx);
    }

    /// The controller has answered the proposal that was made at `proposed_at`.
    pub fn on_isr_answer(&mut self, proposed_at: PartitionEpoch, answer: IsrAnswer, now: Monotonic, fx: &mut Effects) {
        self.isr.on_answer(proposed_at, answer, now);
        self.settle(now, fx);
    }

    /// `min.insync.replicas` has changed.
    pub fn on_min_insync_replicas(&mut self, count: usize, fx: &mut Effects) {
        self.isr.set_min_insync_replicas(count);
        self.refuse_if_too_few(fx);
        self.advance_high_watermark(fx);
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
        self.settle(now, fx);
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

    /// Does time matter: does a produce wait, or a replica lag?
    pub fn needs_tick(&self) -> bool {
        !self.flushed_waiters.is_empty()
            || !self.replicated_waiters.is_empty()
            || self.isr.needs_tick(self.ladder.log_end().0)
    }

    /// Looks at the replicas, and does what follows: refuse, acknowledge, propose.
    fn settle(&mut self, now: Monotonic, fx: &mut Effects) {
        self.isr.look(&self.ladder, now);
        self.refuse_if_too_few(fx);
        self.advance_high_watermark(fx);
        let Reign { partition, leader_epoch, .. } = self.reign;
        let partition_epoch = self.isr.partition_epoch();
        if let Some(isr) = self.isr.propose(&self.ladder, self.epoch_start_offset, now) {
            let isr = isr.clone();
            fx.push(Effect::ProposeIsr(Box::new(IsrProposal { partition, leader_epoch, partition_epoch, isr })));
        }
    }

    fn refuse_if_too_few(&mut self, fx: &mut Effects) {
        if !self.isr.is_enough() {
            self.replicated_waiters.drain(|w| fx.push(refuse(&w, AckError::NotEnoughReplicasAfterAppend)));
        }
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
