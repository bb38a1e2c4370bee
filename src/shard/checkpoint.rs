//! What the next start need not find out again: recovery points, high watermarks, log starts.
//!
//! *Invariants*: a checkpoint never says more than is durable: it is taken from what was flushed before it is written.

use std::rc::Rc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use storage::checkpoints::Checkpoint;
use storage::disk::{DiskError, DiskErrorReason};

use crate::limits;
use crate::model::PartitionId;
use crate::shard::Shard;

impl Shard {
    /// Makes this start's files, with what those of earlier starts hold. On a full disk it waits for space, while what is there
    /// is served.
    pub(crate) async fn take_over(&self) {
        let mut told = false;
        while let Err(error) = self.make_files().await {
            if error.reason != DiskErrorReason::NoSpace {
                self.rt.die(&error.to_string());
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!("{error}: the files of the last start stay in use");
            }
            self.rt.sleep(Duration::from_millis(limits::HOUSEKEEPING_MS)).await;
        }
    }

    async fn make_files(&self) -> Result<(), DiskError> {
        self.epoch_journal.make_file().await?;
        self.checkpoints.save().await
    }

    /// Has anything moved since the last one?
    pub(crate) fn checkpoint_is_due(&self) -> bool {
        self.moved.get()
    }

    /// Writes where every partition of this shard stands.
    pub(crate) async fn write_checkpoint(&self) {
        self.moved.set(false);
        self.note_checkpoints();
        if let Err(error) = self.checkpoints.save().await {
            tracing::warn!("the checkpoint was not written: {error}");
            self.moved.set(true);
        }
    }

    fn note_checkpoints(&self) {
        let state = self.state.borrow();
        // While a log is cut, what the cut has noted holds.
        for (id, hosted) in state.partitions.iter().filter(|(id, _)| !state.cutting.contains_key(*id)) {
            let ladder = hosted.role.ladder();
            let checkpoint = Checkpoint {
                recovery_point: hosted.log.recovery_point(),
                high_watermark: ladder.high_watermark().0,
                log_start_offset: ladder.log_start().0,
            };
            self.checkpoints.set(*id, checkpoint);
        }
    }

    /// Finishes: everything appended is flushed and answered, and the checkpoint says so.
    pub(crate) async fn stop(self: &Rc<Self>) {
        self.stopping.set(true);
        self.dirty.notify();
        self.flushed.notified().await;
        let ids: Vec<PartitionId> = self.state.borrow().partitions.keys().copied().collect();
        let closing = ids.into_iter().map(|id| self.write_down(id));
        stream::iter(closing).buffer_unordered(limits::PARTITIONS_OPENING_MAX).collect::<Vec<()>>().await;
        self.write_checkpoint().await;
    }

    /// Writes down what a log knows, so that the next start need not read it.
    async fn write_down(&self, id: PartitionId) {
        let next = |closing: bool| {
            let state = &mut *self.state.borrow_mut();
            let log = &mut state.partitions.get_mut(&id)?.log;
            if closing {
                log.start_closing();
            }
            log.maintenance_plan(self.rt.wall_ms())
        };
        let mut plan = next(true);
        while let Some(step) = plan {
            let done = step.execute().await;
            let applied =
                self.state.borrow_mut().partitions.get_mut(&id).map(|hosted| hosted.log.apply_maintenance(done));
            if let Some(Err(error)) = applied {
                tracing::warn!("{id:?} was not settled, the next start will read it: {error}");
                return;
            }
            plan = next(false);
        }
    }
}
