//! What a log does in the background, one bounded step at a time.
//!
//! *Which core*: the log's.
//! *Invariants*: at most one step in flight per log; an append never waits for one, but for a single write of zeros.
//! *Not here*: what each step does (prewrite, name, roll, seal, settle, retain).

use super::Log;
use super::file::Place;
use super::name::Name;
use super::prewrite::Prewrite;
use super::retain::{Date, Plant, Remove};
use super::roll::Prepare;
use super::seal::Seal;
use super::settle::Settle;
use crate::disk::{DiskError, DiskErrorReason};

/// After there was no space for a step, the next one waits so long.
const NO_SPACE_PAUSE_MS: i64 = 1_000;

/// A step of maintenance; it owns what it needs.
pub struct MaintenancePlan {
    step: Step,
    now_ms: i64,
}

enum Step {
    Prewrite(Prewrite),
    Name(Name),
    Prepare(Prepare),
    Seal(Seal),
    Settle(Settle),
    Remove(Remove),
    Plant(Plant),
    Date(Date),
}

/// A step that has been executed.
pub struct MaintenanceDone {
    outcome: Result<StepDone, StepError>,
    planned_ms: i64,
}

/// A step, and what came of it.
enum StepDone {
    Prewrite(Prewrite, (u64, u64)),
    Name,
    Prepare(Prepare),
    Seal(Seal, i64),
    Settle(Settle),
    Remove(Remove),
    Plant,
    Date(Date, Option<i64>),
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StepError {
    /// It may be tried again, or takes the log offline.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Nothing can be believed any more.
    #[error(transparent)]
    Flush(DiskError),
}

impl StepError {
    /// The error, where what failed makes no difference.
    pub(super) fn into_disk_error(self) -> DiskError {
        let (StepError::Disk(error) | StepError::Flush(error)) = self;
        error
    }
}

/// What a failed step means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaintenanceError {
    /// A flush failed: **the process must end**, as after [`crate::turn::TurnOutcome::flush_error`].
    #[error("a flush failed, nothing after it can be believed: {0}")]
    Flush(DiskError),
    /// The log is offline now.
    #[error("the log is offline: {0}")]
    Offline(DiskError),
    /// There is no space; the step will be tried again.
    #[error("{0}")]
    NoSpace(DiskError),
}

impl MaintenancePlan {
    /// Does the step.
    pub async fn execute(self) -> MaintenanceDone {
        let outcome = match self.step {
            Step::Prewrite(step) => step.execute().await.map(|zeros| StepDone::Prewrite(step, zeros)),
            Step::Name(step) => step.execute().await.map(|()| StepDone::Name),
            Step::Prepare(step) => step.execute().await.map(|()| StepDone::Prepare(step)),
            Step::Seal(step) => step.execute().await.map(|max_timestamp| StepDone::Seal(step, max_timestamp)),
            Step::Settle(mut step) => step.execute().await.map(|()| StepDone::Settle(step)),
            Step::Remove(step) => step.execute().await.map(|()| StepDone::Remove(step)),
            Step::Plant(step) => step.execute().await.map(|()| StepDone::Plant),
            Step::Date(step) => step.execute().await.map(|max_timestamp| StepDone::Date(step, max_timestamp)),
        };
        MaintenanceDone { outcome, planned_ms: self.now_ms }
    }
}

impl MaintenanceDone {
    /// A flush failed: **the process must end**, as after [`crate::turn::TurnOutcome::flush_error`], and even if the log is gone.
    pub fn flush_error(&self) -> Option<&DiskError> {
        match &self.outcome {
            Err(StepError::Flush(error)) => Some(error),
            Ok(_) | Err(StepError::Disk(_)) => None,
        }
    }
}

impl Log {
    /// The next step that is due, most urgent first; `None` while one is in flight. Ask after every [`Log::apply_flush`] and
    /// [`Log::apply_maintenance`], and every few seconds after [`Log::look_over`]: an answer costs a few comparisons.
    pub fn maintenance_plan(&mut self, now_ms: i64) -> Option<MaintenancePlan> {
        if self.maintenance_in_flight
            || self.truncating_to.is_some()
            || self.offline.is_some()
            || self.no_space_until_ms.is_some_and(|at| now_ms < at)
        {
            return None;
        }
        let step = self.step_due(now_ms)?;
        self.maintenance_in_flight = true;
        Some(MaintenancePlan { step, now_ms })
    }

    fn step_due(&mut self, now_ms: i64) -> Option<Step> {
        if let Some(step) = self.prewrite_due(now_ms) {
            return Some(Step::Prewrite(step));
        }
        if let Some(step) = self.prepare_due() {
            return Some(Step::Prepare(step));
        }
        let chore = if self.has_chores { self.chore_due() } else { None };
        chore.or_else(|| self.settle_due(now_ms).map(Step::Settle))
    }
    /// What segments other than the active one need. Most of the time that is nothing, which is remembered.
    fn chore_due(&mut self) -> Option<Step> {
        if let Some(step) = self.name_due() {
            return Some(Step::Name(step));
        }
        if let Some(step) = self.seal_due() {
            return Some(Step::Seal(step));
        }
        if let Some(step) = self.date_due() {
            return Some(Step::Date(step));
        }
        if let Some(step) = self.remove_due() {
            return Some(Step::Remove(step));
        }
        if let Some(step) = self.plant_due() {
            return Some(Step::Plant(step));
        }
        let closed = self.segments.iter().take(self.segments.len() - 1);
        // What waits for a flush or for a settling is asked for again.
        self.has_chores = !closed.clone().all(|segment| segment.has_files)
            || self.active().file.place.get() == Place::Prepared
            || (self.segments.len() > 1 && self.may_give_up_oldest());
        None
    }

    /// A step has been executed. Afterwards the log may need a flush ([`Log::needs_flush`]).
    pub fn apply_maintenance(&mut self, done: MaintenanceDone) -> Result<(), MaintenanceError> {
        assert!(self.maintenance_in_flight, "a step ended that had not begun");
        self.maintenance_in_flight = false;
        match done.outcome {
            Ok(StepDone::Prewrite(step, (from, to))) => step.file().on_zeros(from, to),
            Ok(StepDone::Name) => {}
            Ok(StepDone::Prepare(step)) => self.on_prepared(&step),
            Ok(StepDone::Seal(step, max_timestamp)) => self.on_sealed(&step, max_timestamp),
            Ok(StepDone::Settle(step)) => self.on_settled(step),
            Ok(StepDone::Remove(step)) => self.on_removed(&step),
            Ok(StepDone::Plant) => self.on_planted(),
            Ok(StepDone::Date(step, max_timestamp)) => self.on_dated(&step, max_timestamp),
            Err(StepError::Disk(error)) if error.reason == DiskErrorReason::NoSpace => {
                self.no_space_until_ms = Some(done.planned_ms + NO_SPACE_PAUSE_MS);
                return Err(MaintenanceError::NoSpace(error));
            }
            Err(error) => return Err(self.on_step_failed(error)),
        }
        Ok(())
    }

    /// A step failed that leaves the log in doubt.
    pub(super) fn on_step_failed(&mut self, error: StepError) -> MaintenanceError {
        let (StepError::Flush(cause) | StepError::Disk(cause)) = &error;
        self.offline.get_or_insert_with(|| cause.clone());
        match error {
            StepError::Flush(error) => MaintenanceError::Flush(error),
            StepError::Disk(error) => MaintenanceError::Offline(error),
        }
    }
}
