//! Giving a segment that began as `prepared.log` its own name.
//!
//! *Which core*: the log's, in the background.
//! *Invariants*: only once everything before it is durable: else it would look as if something were lost.
//! *Not here*: rolling (roll).

use std::rc::Rc;

use super::Log;
use super::file::{PREPARED_NAME, Place, SegmentFile, segment_name};
use super::maintenance::StepError;

/// A rename, and its directory's flush.
pub(super) struct Name {
    file: Rc<SegmentFile>,
}

impl Name {
    pub(super) async fn execute(&self) -> Result<(), StepError> {
        let (disk, dir) = (&self.file.disk, &self.file.dir);
        let name = segment_name(self.file.base_offset.get(), "log");
        {
            // Nobody opens it between the rename and the moment when that is known.
            let _nobody_opens = self.file.opening.lock().await;
            disk.rename(&dir.join(PREPARED_NAME), &dir.join(name)).await?;
            self.file.place.set(Place::Named);
        }
        disk.sync_dir(dir).await.map_err(StepError::Flush)
    }
}

impl Log {
    pub(super) fn name_due(&self) -> Option<Name> {
        let mut segments = self.segments.iter().rev();
        let segment = segments.find(|segment| segment.file.place.get() == Place::Prepared)?;
        let is_due = segment.base_offset <= self.flushed_end_offset;
        is_due.then(|| Name { file: Rc::clone(&segment.file) })
    }
}
