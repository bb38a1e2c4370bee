//! The turn: everything that was appended since the last one is made durable with one barrier, then acknowledged.
//!
//! *Invariants*: one turn at a time; a log's flushed end moves only after the barrier returned.
//! *Why* no tick: the next turn begins when the disk is free and those just answered have sent again (`turns`); what
//! gathered meanwhile is the batch (lesson 19).

use std::rc::Rc;

use futures_util::future::join;
use storage::log::FlushPlan;
use storage::turn::{self, TurnOutcome};

use crate::local::Pass;
use crate::model::PartitionId;
use crate::partition::AckError;
use crate::partition::ladder::FlushedEndOffset;
use crate::shard::Shard;
use crate::shard::hosted::Role;

/// Flushes for as long as the shard lives.
pub(crate) async fn run(shard: Rc<Shard>) {
    loop {
        let (partitions, plans) = shard.plan_turn();
        if plans.is_empty() {
            if shard.stopping.get() && shard.state.borrow().dirty.is_empty() {
                shard.flushed.notify();
                return;
            }
            shard.dirty.notified().await;
            // Requests that are already in the sockets' buffers get into this turn.
            shard.rt.yield_now().await;
            continue;
        }
        let begun = shard.rt.now();
        shard.turns.begin();
        let outcome = match shard.epochs_queued.take() {
            None => turn::flush(&shard.barrier, plans).await,
            // Epochs that came with what is flushed are durable with it.
            Some(mark) => join(turn::flush(&shard.barrier, plans), shard.make_epochs_durable(mark)).await.0,
        };
        shard.metrics.turn(shard.rt.now().since(begun), outcome.logs.len(), outcome.bytes, outcome.own_flushes == 0);
        if let Some(error) = &outcome.flush_error {
            // The device may have dropped writes that it reported complete, of any log; the next flush would succeed all the same.
            shard.rt.die(&format!("a flush failed, nothing after it can be believed: {error}"));
        }
        shard.moved.set(true);
        let waiting = shard.state.borrow().produces.len();
        shard.apply_turn(partitions, outcome);
        let answered = waiting - shard.state.borrow().produces.len();
        shard.turns.end();
        shard.turns.gather(&shard.rt, answered, shard.rt.now().since(begun)).await;
    }
}

impl Shard {
    fn plan_turn(&self) -> (Vec<(PartitionId, Pass)>, Vec<FlushPlan>) {
        let state = &mut *self.state.borrow_mut();
        let now_ms = self.rt.wall_ms();
        let mut partitions = Vec::new();
        let mut plans = Vec::new();
        for partition in std::mem::take(&mut state.dirty) {
            let Some(hosted) = state.partitions.get_mut(&partition) else { continue };
            hosted.is_dirty = false;
            if let Some(plan) = hosted.log.flush_plan(now_ms) {
                partitions.push((partition, hosted.at_work.enter()));
                plans.push(plan);
            }
        }
        (partitions, plans)
    }

    fn apply_turn(self: &Rc<Self>, partitions: Vec<(PartitionId, Pass)>, outcome: TurnOutcome) {
        let state = &mut *self.state.borrow_mut();
        let mut effects = std::mem::take(&mut state.effects);
        for ((partition, _pass), log_outcome) in partitions.into_iter().zip(outcome.logs) {
            // Deleted while the turn was in flight: nobody waits any more.
            let Some(hosted) = state.partitions.get_mut(&partition) else { continue };
            match hosted.log.apply_flush(log_outcome) {
                Ok(flushed_end) if !hosted.log.has_no_space() => match &mut hosted.role {
                    Role::Leader(leading) => {
                        leading.leader.on_flushed(FlushedEndOffset(flushed_end), &mut effects);
                        leading.on_moved(partition);
                    }
                    Role::Follower(following) => following.on_flushed(partition, FlushedEndOffset(flushed_end)),
                },
                Ok(_) => {
                    // What is appended stays, and is tried again; whoever waits is told now.
                    tracing::warn!("{partition:?}: the disk is full");
                    if let Some(leader) = hosted.role.leader_mut() {
                        leader.on_resigned(AckError::Offline, &mut effects);
                    }
                    state.without_space.push(partition);
                }
                Err(error) => {
                    tracing::error!("{partition:?} is offline: {error}");
                    self.metrics.log_offline();
                    hosted.role.on_offline(partition, &mut effects);
                }
            }
            if hosted.log.needs_flush() && !std::mem::replace(&mut hosted.is_dirty, true) {
                state.dirty.push(partition);
            }
            hosted.show();
            state.tails.on_turn(hosted);
            self.maintain_if_due(partition, hosted);
        }
        state.tails.keep_within_budget(&mut state.partitions);
        self.run_effects(state, &mut effects);
        state.effects = effects;
    }
}
