//! What is run for a seed, and what a run comes to.

use anyhow::{Result, bail};

use crate::bugs::{self, Bugs};
use crate::check::History;
use crate::world::{Stopped, World};
use crate::{broker, cluster};

/// Runs a seed, for so many moves of time at most. Err: a promise was broken; the message says which.
pub type Run = fn(u64, Option<u64>, Bugs) -> (Report, Result<()>);

/// What is run for a seed.
pub struct Scenario {
    /// Runs it.
    pub run: Run,
    /// Faults that it must be able to find.
    pub planted: &'static [&'static str],
    /// What chooses it on the command line.
    pub flag: &'static str,
}

/// One broker.
pub const BROKER: Scenario = Scenario { run: broker::run, planted: &bugs::IN_ONE, flag: "" };
/// Several.
pub const CLUSTER: Scenario = Scenario { run: cluster::run, planted: &bugs::IN_CLUSTER, flag: "--cluster " };

/// What a run comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// The run as text.
    pub trace: String,
    /// Of everything that happened.
    pub digest: u64,
    /// How often time moved.
    pub steps: u64,
}

impl Report {
    /// Of a world that has stopped.
    pub fn of(world: &World) -> Report {
        Report { trace: world.trace.to_string(), digest: world.digest(), steps: world.steps() }
    }
}

/// What clients have to say about a run that stopped like that.
pub fn verdict(history: &History, stopped: Stopped) -> Result<()> {
    history.verdict(stopped == Stopped::Condition)?;
    match stopped {
        Stopped::Condition | Stopped::Steps => Ok(()),
        Stopped::Died => bail!("a broker ended itself, though its disk had not failed"),
        Stopped::Time | Stopped::Quiet => {
            let (producers, consumers) = history.done();
            bail!("nothing breaks any more, but only {producers} producers and {consumers} consumers are done")
        }
    }
}
