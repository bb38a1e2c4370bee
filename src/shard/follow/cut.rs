//! Cutting a follower's log to where it agrees with its leader's, or beginning it anew.
//!
//! *Invariants*: what is cut is flushed before; a lowered checkpoint is durable before the epoch journal's word of the cut, and both
//! before any byte goes: a crash at any point leaves a log whose epochs are all known, since what is above the checkpoint is read
//! again. Of one partition there is one cut at a time; a role changes only before a cut has begun, or after it.
//! *Not here*: where to cut (`partition::opening`), how (`storage`).

use std::rc::Rc;
use std::time::Duration;

use storage::checkpoints::Checkpoint;
use storage::data_dir::partitions::SetAside;
use storage::disk::DiskError;
use storage::epoch_journal::EpochChange;
use storage::log::{MaintenanceError, TruncateDone, TruncateError, TruncatePlan};

use crate::limits;
use crate::model::PartitionId;
use crate::partition::ladder::{LogEndOffset, LogStartOffset};
use crate::shard::Shard;
use crate::shard::hosted::{Hosted, Role};

/// What is to become of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It ends here.
    Cut(LogEndOffset),
    /// It begins anew, here.
    BeginAt(LogStartOffset),
}

/// How far a cut is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cutting {
    /// It waits for what is in flight; the number is its own.
    Waits(u64),
    /// There is no way back.
    HasBegun,
}

impl Shard {
    /// Begins a cut; its end is the next opening.
    pub(super) fn cut(self: &Rc<Self>, id: PartitionId, wanted: Wanted) {
        let number = self.next_cut.replace(self.next_cut.get() + 1);
        let before = self.state.borrow_mut().cutting.insert(id, Cutting::Waits(number));
        assert_eq!(before, None, "{id:?} is being cut already");
        let shard = self.clone();
        self.rt.spawn(async move {
            let outcome = match wanted {
                Wanted::Cut(to) => shard.cut_to(id, number, to).await,
                Wanted::BeginAt(at) => shard.begin_at(id, at).await.map(Some),
            };
            match outcome {
                Ok(None) => return,
                Ok(Some(())) => {}
                Err(reason) => {
                    tracing::error!("{id:?} is offline: it could not be cut: {reason}");
                    shard.metrics.log_offline();
                }
            }
            shard.on_cut_over(id);
        });
    }

    fn on_cut_over(&self, id: PartitionId) {
        let state = &mut *self.state.borrow_mut();
        state.cutting.remove(&id);
        if let Some(Role::Follower(following)) = state.partitions.get_mut(&id).map(|hosted| &mut hosted.role)
            && let Some(link) = &following.link
        {
            link.open(id);
        }
        self.cut_over.beat();
    }

    /// Nothing is cut any more when this returns, nor is a cut of before going to begin.
    pub(crate) async fn uncut(&self, id: PartitionId) {
        loop {
            {
                let cutting = &mut self.state.borrow_mut().cutting;
                match cutting.get(&id) {
                    None => return,
                    Some(Cutting::Waits(_)) => {
                        cutting.remove(&id);
                        return;
                    }
                    Some(Cutting::HasBegun) => {}
                }
            }
            self.cut_over.next().await;
        }
    }

    /// `None`: it was called off.
    async fn cut_to(&self, id: PartitionId, number: u64, to: LogEndOffset) -> Result<Option<()>, String> {
        let _slot = self.cut_slots.acquire(1).await;
        let Some((plan, pass)) = self.planned_cut(id, number, to).await? else { return Ok(None) };
        if plan.is_some() {
            self.save_checkpoint().await;
        }
        let mark = self.epoch_journal.queue([(id, EpochChange::Cut { end_offset: to.0 })]);
        self.make_epochs_durable(mark).await;
        let done = match plan {
            Some(plan) => Some(plan.execute().await),
            None => None,
        };
        drop(pass);
        self.on_cut_done(id, to, done).map(Some)
    }

    /// Waits until the log is idle, and plans.
    async fn planned_cut(
        &self,
        id: PartitionId,
        number: u64,
        to: LogEndOffset,
    ) -> Result<Option<(Option<TruncatePlan>, crate::local::Pass)>, String> {
        let mut pause_ms = 1;
        loop {
            {
                let state = &mut *self.state.borrow_mut();
                if state.cutting.get(&id) != Some(&Cutting::Waits(number)) {
                    return Ok(None);
                }
                let hosted = state.partitions.get_mut(&id).ok_or("it is gone")?;
                match hosted.log.truncate_plan(to.0, self.rt.wall_ms()) {
                    Ok(plan) => {
                        state.cutting.insert(id, Cutting::HasBegun);
                        self.lower_checkpoint(id, hosted, to.0);
                        return Ok(Some((plan, hosted.at_work.enter())));
                    }
                    Err(TruncateError::Offline) => return Err("its disk has failed".into()),
                    Err(TruncateError::Busy) => {}
                }
            }
            self.rt.sleep(Duration::from_millis(pause_ms)).await;
            pause_ms = (2 * pause_ms).min(limits::CUT_RETRY_MS_MAX);
        }
    }

    fn lower_checkpoint(&self, id: PartitionId, hosted: &Hosted, to_offset: i64) {
        let ladder = hosted.role.ladder();
        let checkpoint = Checkpoint {
            recovery_point: hosted.log.recovery_point().min(to_offset),
            high_watermark: ladder.high_watermark().0.min(to_offset),
            log_start_offset: ladder.log_start().0.min(to_offset),
        };
        self.checkpoints.set(id, checkpoint);
    }

    fn on_cut_done(&self, id: PartitionId, to: LogEndOffset, done: Option<TruncateDone>) -> Result<(), String> {
        let state = &mut *self.state.borrow_mut();
        let Some(hosted) = state.partitions.get_mut(&id) else { return Ok(()) };
        let end = match done {
            None => hosted.log.offsets().log_end_offset,
            Some(done) => match hosted.log.apply_truncate(done) {
                Ok(end) => end,
                Err(error @ MaintenanceError::Flush(_)) => self.rt.die(&error.to_string()),
                Err(error) => {
                    hosted.role.on_offline(id, &mut Vec::new());
                    return Err(error.to_string());
                }
            },
        };
        tracing::info!("{id:?}: cut to {end}, {} was wanted", to.0);
        if let Role::Follower(following) = &mut hosted.role {
            following.follower.on_cut(LogEndOffset(end));
        }
        hosted.show();
        state.tails.count(hosted);
        self.moved.set(true);
        Ok(())
    }

    async fn begin_at(&self, id: PartitionId, at: LogStartOffset) -> Result<(), String> {
        let hosted = {
            let state = &mut *self.state.borrow_mut();
            state.cutting.insert(id, Cutting::HasBegun);
            let Some(hosted) = state.partitions.remove(&id) else { return Ok(()) };
            state.tails.forget(&hosted);
            hosted
        };
        let Hosted { mut role, log, metrics, at_work, .. } = hosted;
        at_work.emptied().await;
        let dir = log.dir().to_owned();
        drop(log);
        self.checkpoints.set(id, Checkpoint { recovery_point: 0, high_watermark: 0, log_start_offset: at.0 });
        self.save_checkpoint().await;
        let mark = self.epoch_journal.queue([(id, EpochChange::Cut { end_offset: 0 })]);
        self.make_epochs_durable(mark).await;
        let (now, random) = (self.rt.wall_ms(), self.rt.random_u64());
        let aside = self.data_dir.set_aside(&dir, SetAside::Delete, now, random).await;
        aside.map_err(|error| error.to_string())?;
        let opened = self.open_log(&metrics.topic, id, role.leader_epoch()).await;
        let state = &mut *self.state.borrow_mut();
        match opened {
            Ok((log, _)) => {
                tracing::info!("{id:?}: its log begins anew at {}", at.0);
                if let Role::Follower(following) = &mut role {
                    following.follower.on_begun(at);
                }
                state.partitions.insert(id, Hosted::new(role, log, metrics));
                Ok(())
            }
            Err(reason) => {
                role.on_offline(id, &mut Vec::new());
                state.broken.insert(id);
                Err(reason.to_string())
            }
        }
    }

    /// Makes the noted checkpoints durable. Tries again where there is no space: what waits for it may not go on.
    async fn save_checkpoint(&self) {
        while let Err(error) = self.checkpoints.save().await {
            self.on_small_write_failed("the checkpoint", &error).await;
        }
    }

    /// Makes the epoch journal durable up to `mark`.
    pub(crate) async fn make_epochs_durable(&self, mark: storage::epoch_journal::Mark) {
        while let Err(error) = self.epoch_journal.durable(mark).await {
            self.on_small_write_failed("the epoch journal", &error).await;
        }
    }

    async fn on_small_write_failed(&self, what: &str, error: &DiskError) {
        if error.reason != storage::disk::DiskErrorReason::NoSpace {
            self.rt.die(&format!("{what} could not be written: {error}"));
        }
        tracing::warn!("{what} waits for space: {error}");
        self.rt.sleep(Duration::from_millis(limits::NO_SPACE_RETRY_MS)).await;
    }
}
