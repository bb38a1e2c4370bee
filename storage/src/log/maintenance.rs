//! What a log does in the background, one bounded step at a time.
//!
//! *Which core*: the log's.
//! *Invariants*: at most one step in flight per log; an append never waits for one, but for a single write of zeros.
//! *Not here*: what each step does (prewrite, name, seal, settle, retain).

use super::Log;
use super::name::Name;
use super::prewrite::Prewrite;
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
}

/// A step that has been executed.
pub struct MaintenanceDone {
    step: StepDone,
    planned_ms: i64,
}

enum StepDone {
    Prewrite(Prewrite, Result<(u64, u64), StepError>),
    Name(Result<(), StepError>),
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
        let step = match self.step {
            Step::Prewrite(step) => {
                let outcome = step.execute().await;
                StepDone::Prewrite(step, outcome)
            }
            Step::Name(step) => StepDone::Name(step.execute().await),
        };
        MaintenanceDone { step, planned_ms: self.now_ms }
    }
}

impl Log {
    /// The next step that is due, most urgent first; `None` while one is in flight. Ask after every [`Log::apply_flush`] and
    /// [`Log::apply_maintenance`], and every few seconds after [`Log::look_over`]: an answer costs a few comparisons.
    pub fn maintenance_plan(&mut self, now_ms: i64) -> Option<MaintenancePlan> {
        if self.maintenance_in_flight || self.offline.is_some() || self.no_space_until_ms.is_some_and(|at| now_ms < at)
        {
            return None;
        }
        let step = self.prewrite_due(now_ms).map(Step::Prewrite).or_else(|| self.name_due().map(Step::Name))?;
        self.maintenance_in_flight = true;
        Some(MaintenancePlan { step, now_ms })
    }

    /// A step has been executed. Afterwards the log may need a flush ([`Log::needs_flush`]).
    pub fn apply_maintenance(&mut self, done: MaintenanceDone) -> Result<(), MaintenanceError> {
        assert!(self.maintenance_in_flight, "a step ended that had not begun");
        self.maintenance_in_flight = false;
        let outcome = match done.step {
            StepDone::Prewrite(step, outcome) => outcome.map(|(from, to)| step.file().on_zeros(from, to)),
            StepDone::Name(outcome) => outcome,
        };
        outcome.map_err(|error| match error {
            StepError::Flush(error) => {
                self.offline.get_or_insert_with(|| error.clone());
                MaintenanceError::Flush(error)
            }
            StepError::Disk(error) if error.reason == DiskErrorReason::NoSpace => {
                self.no_space_until_ms = Some(done.planned_ms + NO_SPACE_PAUSE_MS);
                MaintenanceError::NoSpace(error)
            }
            StepError::Disk(error) => {
                self.on_write_error(&error);
                MaintenanceError::Offline(error)
            }
        })
    }
}
