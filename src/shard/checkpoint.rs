//! What the next start need not find out again: recovery points, high watermarks, log starts.
//!
//! *Invariants*: a checkpoint never says more than is durable: it is taken from what was flushed before it is written.

use std::rc::Rc;

use storage::checkpoints::Checkpoint;

use crate::shard::Shard;

impl Shard {
    /// Has anything moved since the last one?
    pub(crate) fn checkpoint_is_due(&self) -> bool {
        self.moved.get()
    }

    /// Writes where every partition of this shard stands.
    pub(crate) async fn write_checkpoint(&self) {
        self.moved.set(false);
        for (id, hosted) in &self.state.borrow().partitions {
            let ladder = hosted.leader.ladder();
            let checkpoint = Checkpoint {
                recovery_point: hosted.log.recovery_point(),
                high_watermark: ladder.high_watermark().0,
                log_start_offset: ladder.log_start().0,
            };
            self.checkpoints.set(*id, checkpoint);
        }
        if let Err(error) = self.checkpoints.save().await {
            tracing::warn!("the checkpoint was not written: {error}");
            self.moved.set(true);
        }
    }

    /// Finishes: everything appended is flushed and answered, and the checkpoint says so.
    pub(crate) async fn stop(self: &Rc<Self>) {
        self.stopping.set(true);
        self.dirty.notify();
        self.flushed.notified().await;
        self.write_checkpoint().await;
    }
}
