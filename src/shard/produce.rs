//! Appending what producers send, and answering them when their acks are met.
//!
//! *Invariants*: a batch's offsets are fixed when [`Shard::produce`] returns; each part of an order is settled exactly once.

use std::rc::Rc;
use std::time::Duration;

use smallvec::{SmallVec, smallvec};
use storage::log::AppendError;
use storage::producers::{ProducerVerdict, SequenceError};

use crate::limits;
use crate::local;
use crate::mesh::Responder;
use crate::message::{ProduceError, ProduceOrder, ProduceOutcome, ProducePart, Reply};
use crate::metrics::ShardMetrics;
use crate::partition::ladder::LogEndOffset;
use crate::partition::produce_waiters::Waiter;
use crate::partition::{AckError, Acks, ProduceTicket};
use crate::rt::Monotonic;
use crate::shard::hosted::Role;
use crate::shard::{Shard, State};

/// Bits of a ticket that say which part of its order it stands for.
const PART_BITS: u32 = limits::PRODUCE_PARTS_MAX.trailing_zeros();

/// Who wants the outcomes.
pub enum Client {
    /// A connection of this shard.
    Here(local::OneshotSender<Vec<ProduceOutcome>>),
    /// A connection of another shard.
    There(Responder),
}

/// An order whose parts are not all settled.
pub(crate) struct PendingProduce {
    open: usize,
    outcomes: SmallVec<[Option<ProduceOutcome>; 1]>,
    client: Client,
    received: Monotonic,
    begun: Monotonic,
}

impl Shard {
    /// Appends the order's batches and parks it until their acks are met.
    pub fn produce(&self, order: ProduceOrder, client: Client) {
        let begun = self.rt.now();
        self.metrics.stage_queue(begun.since(order.received));
        let state = &mut *self.state.borrow_mut();
        let parts = order.parts.len();
        assert!(parts > 0 && parts <= limits::PRODUCE_PARTS_MAX, "an order of {parts} parts");
        let pending =
            PendingProduce { open: parts, outcomes: smallvec![None; parts], client, received: order.received, begun };
        let key = state.produces.insert(pending);
        let now_ms = self.rt.wall_ms();
        let mut effects = std::mem::take(&mut state.effects);
        for (index, part) in order.parts.iter().enumerate() {
            let ticket = ProduceTicket((key << PART_BITS | index) as u64);
            match state.append(part, order.acks, begun, now_ms, &self.metrics) {
                Ok((base_offset, end_offset)) => {
                    let waiter = Waiter { ticket, base_offset, end_offset, deadline: order.deadline };
                    let hosted = state.partitions.get_mut(&part.partition).expect("it was appended to just now");
                    let leader = hosted.role.leader_mut().expect("only a leader's log is appended to here");
                    leader.on_waiter(order.acks, waiter, &mut effects);
                }
                Err(error) => {
                    self.settle(state, ticket, Err(error));
                }
            }
        }
        self.run_effects(state, &mut effects);
        state.effects = effects;
        self.metrics.stage_append(self.rt.now().since(begun));
        self.turns.on_produce();
        if !state.dirty.is_empty() {
            self.dirty.notify();
        }
        if !state.produces.is_empty() {
            self.waiting.notify();
        }
    }

    /// One part has its outcome; with the last one the client is answered.
    pub(crate) fn settle(&self, state: &mut State, ticket: ProduceTicket, outcome: ProduceOutcome) {
        let key = (ticket.0 >> PART_BITS) as usize;
        let index = (ticket.0 & ((1 << PART_BITS) - 1)) as usize;
        let pending = state.produces.get_mut(key).expect("a ticket names an order that is not settled");
        assert!(pending.outcomes[index].replace(outcome).is_none(), "part {index} was settled twice");
        pending.open -= 1;
        if pending.open == 0 {
            let PendingProduce { outcomes, client, received, begun, .. } = state.produces.remove(key);
            let now = self.rt.now();
            self.metrics.stage_total(now.since(received));
            if outcomes.iter().flatten().any(Result::is_ok) {
                self.metrics.stage_acks(now.since(begun));
            }
            let outcomes = outcomes.into_iter().flatten().collect();
            match client {
                Client::Here(sender) => sender.send(outcomes),
                Client::There(responder) => responder.answer(Reply::Produce(outcomes)),
            }
        }
    }
}

impl State {
    /// Appends one batch, or finds the duplicate that it is: its base offset and the offset after its last.
    fn append(
        &mut self,
        part: &ProducePart,
        acks: Acks,
        now: Monotonic,
        now_ms: i64,
        metrics: &ShardMetrics,
    ) -> Result<(i64, i64), ProduceError> {
        let hosted = match self.partitions.get_mut(&part.partition) {
            Some(hosted) => hosted,
            None if self.broken.contains(&part.partition) => return Err(ProduceError::Storage),
            None if self.image.partition(part.partition).is_some() => return Err(ProduceError::NotLeader),
            None => return Err(ProduceError::UnknownPartition),
        };
        let Role::Leader(leading) = &mut hosted.role else { return Err(ProduceError::NotLeader) };
        leading.leader.admit(acks).map_err(|_| ProduceError::NotEnoughReplicas)?;
        if let ProducerVerdict::Duplicate { base_offset, last_offset, .. } =
            hosted.log.producers().check(&part.header)?
        {
            return Ok((base_offset, last_offset + 1));
        }
        let epoch = leading.leader.leader_epoch();
        let appended = hosted.log.append(&part.batch, &part.header, epoch, now_ms)?;
        leading.leader.on_appended(LogEndOffset(appended.last_offset + 1), now);
        leading.on_grown(part.partition);
        let (records, bytes) = (part.header.record_count.max(0) as usize, part.batch.len());
        metrics.produced(records, bytes);
        hosted.metrics.counters.records_in.add(records as u64);
        hosted.metrics.counters.bytes_in.add(bytes as u64);
        if !std::mem::replace(&mut hosted.is_dirty, true) {
            self.dirty.push(part.partition);
        }
        Ok((appended.base_offset, appended.last_offset + 1))
    }
}

/// Times out waiting produces and replicas that lag. Sleeps for good while none does.
pub(crate) async fn time_out(shard: Rc<Shard>) {
    while !shard.stopping.get() {
        shard.waiting.notified().await;
        loop {
            let is_waiting = !shard.state.borrow().produces.is_empty();
            let pause_ms = if is_waiting { limits::PRODUCE_TIMEOUT_SWEEP_MS } else { limits::ISR_LOOK_MS };
            shard.rt.sleep(Duration::from_millis(pause_ms)).await;
            let now = shard.rt.now();
            let state = &mut *shard.state.borrow_mut();
            let mut is_idle = true;
            let mut effects = std::mem::take(&mut state.effects);
            for (id, hosted) in &mut state.partitions {
                if let Role::Leader(leading) = &mut hosted.role
                    && leading.leader.needs_tick()
                {
                    is_idle = false;
                    leading.leader.on_tick(now, &mut effects);
                    leading.on_moved(*id);
                }
            }
            shard.run_effects(state, &mut effects);
            state.effects = effects;
            if is_idle {
                break;
            }
        }
    }
}

impl From<SequenceError> for ProduceError {
    fn from(error: SequenceError) -> ProduceError {
        match error {
            SequenceError::OutOfOrderSequence { .. } => ProduceError::OutOfOrderSequence,
            SequenceError::InvalidProducerEpoch { .. } => ProduceError::InvalidProducerEpoch,
        }
    }
}

impl From<AppendError> for ProduceError {
    fn from(error: AppendError) -> ProduceError {
        match error {
            AppendError::NoSpace | AppendError::Offline => ProduceError::Storage,
        }
    }
}

impl From<AckError> for ProduceError {
    fn from(error: AckError) -> ProduceError {
        match error {
            AckError::NotEnoughReplicasAfterAppend => ProduceError::NotEnoughReplicasAfterAppend,
            AckError::TimedOut => ProduceError::TimedOut,
            AckError::NotLeader => ProduceError::NotLeader,
            AckError::Offline => ProduceError::Storage,
        }
    }
}
