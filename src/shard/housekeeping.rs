//! What nobody waits for: zeros ahead of the tail, rolls, retention, checkpoints, producers that have gone, idle connections.
//!
//! *Invariants*: at most one maintenance step in flight per log, and few per shard; an idle shard does nothing but look at its
//! clock now and then.

use std::rc::Rc;
use std::time::Duration;

use crate::limits;
use crate::model::PartitionId;
use crate::partition::ladder::LogStartOffset;
use crate::shard::{Hosted, Shard};

/// Runs for as long as the shard lives.
pub(crate) async fn run(shard: Rc<Shard>) {
    let mut next_retention = shard.rt.now().after(shard.retention_interval());
    while !shard.stopping.get() {
        shard.rt.sleep(Duration::from_millis(limits::HOUSEKEEPING_MS)).await;
        if shard.checkpoint_is_due() {
            shard.write_checkpoint().await;
        }
        shard.retry_without_space().await;
        shard.show();
        if shard.rt.now() >= next_retention {
            shard.look_over_all().await;
            next_retention = shard.rt.now().after(shard.retention_interval());
        }
    }
}

impl Shard {
    fn retention_interval(&self) -> Duration {
        Duration::from_millis(self.config.broker.log_retention_check_interval_ms)
    }

    /// Starts a maintenance step of a log if one is due and not too many are at it. Called after every turn of the log.
    pub(crate) fn maintain_if_due(self: &Rc<Self>, id: PartitionId, hosted: &mut Hosted) {
        if hosted.in_maintenance || self.maintained.get() >= limits::LOGS_IN_MAINTENANCE_MAX {
            return;
        }
        let Some(plan) = hosted.log.maintenance_plan(self.rt.wall_ms()) else { return };
        hosted.in_maintenance = true;
        let pass = hosted.at_work.enter();
        self.maintained.set(self.maintained.get() + 1);
        let shard = self.clone();
        self.rt.spawn(async move {
            let done = plan.execute().await;
            if let Some(error) = done.flush_error() {
                shard.rt.die(&format!("a flush failed, nothing after it can be believed: {error}"));
            }
            drop(pass);
            shard.maintained.set(shard.maintained.get() - 1);
            let state = &mut *shard.state.borrow_mut();
            let Some(hosted) = state.partitions.get_mut(&id) else { return };
            hosted.in_maintenance = false;
            let was_offline = hosted.log.is_offline().is_some();
            let applied = hosted.log.apply_maintenance(done);
            shard.moved.set(true);
            let log_start = hosted.log.offsets().log_start_offset;
            let mut effects = std::mem::take(&mut state.effects);
            if let Err(error) = applied {
                tracing::warn!("maintenance of {id:?}: {error}");
                if !was_offline && hosted.log.is_offline().is_some() {
                    shard.metrics.log_offline();
                    hosted.role.on_offline(id, &mut effects);
                }
            }
            if log_start > hosted.role.ladder().log_start().0 {
                hosted.role.on_trimmed(id, LogStartOffset(log_start), &mut effects);
                hosted.show();
            }
            // An append may have waited for this step's end.
            if hosted.log.needs_flush() && !std::mem::replace(&mut hosted.is_dirty, true) {
                state.dirty.push(id);
                shard.dirty.notify();
            }
            shard.maintain_if_due(id, hosted);
            shard.run_effects(state, &mut effects);
            state.effects = effects;
        });
    }

    /// Logs that were refused space try again.
    async fn retry_without_space(self: &Rc<Self>) {
        if !self.state.borrow().unopened.is_empty() {
            self.assign_again().await;
        }
        let state = &mut *self.state.borrow_mut();
        for id in std::mem::take(&mut state.without_space) {
            if let Some(hosted) = state.partitions.get_mut(&id)
                && !std::mem::replace(&mut hosted.is_dirty, true)
            {
                state.dirty.push(id);
                self.dirty.notify();
            }
        }
    }

    /// Retention, rolls by time and forgotten producers, for every log, a few at a time.
    async fn look_over_all(self: &Rc<Self>) {
        let ids: Vec<PartitionId> = self.state.borrow().partitions.keys().copied().collect();
        for some in ids.chunks(64) {
            {
                let state = &mut *self.state.borrow_mut();
                for id in some {
                    if let Some(hosted) = state.partitions.get_mut(id) {
                        let high_watermark = hosted.role.ladder().high_watermark().0;
                        hosted.log.look_over(self.rt.wall_ms(), high_watermark);
                        state.tails.count(hosted);
                        self.maintain_if_due(*id, hosted);
                    }
                }
            }
            self.rt.yield_now().await;
        }
        let day_ago = self.rt.wall_ms() - limits::STRAY_KEPT_MS;
        for (why, until) in [
            (storage::data_dir::partitions::SetAside::Stray, day_ago),
            (storage::data_dir::partitions::SetAside::Delete, i64::MAX),
        ] {
            if self.id.0 == 0
                && let Err(error) = self.data_dir.remove_set_aside(why, until).await
            {
                tracing::warn!("removing what was set aside: {error}");
            }
        }
    }
}
