//! The broker itself, a metadata core and some shards, with producers and consumers, while everything around it breaks.
//!
//! *Invariants* (the promises that are checked): those in `check`; and once nothing breaks any more, every client gets its work
//! done.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Result, bail};
use chronik::config::process::Machine;
use chronik::config::{Config, Given, Origin, Sources};
use chronik::mesh;
use chronik::metrics::Metrics;
use chronik::model::ShardId;
use chronik::rt::{Rt, stop_pair};
use chronik::server::{self, Setup, metadata_core, shard_core};
use net::stream::Net;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use storage::disk::SimDiskOptions;

use crate::check::History;
use crate::nemesis::Nemesis;
use crate::produce::{Sizes, random_ms};
use crate::trace::Trace;
use crate::wire::Wire;
use crate::world::{Boot, Process, Stopped, World, WorldOptions};
use crate::{consume, produce};

/// The topic of all clients.
pub const TOPIC: &str = "records";
/// Its partitions.
pub const PARTITIONS: i32 = 2;
/// Of them the last is not idempotent.
pub const PRODUCERS: usize = 4;
const CONSUMERS: usize = 2;
const MS: u64 = 1_000_000;

/// How the broker or its disk is to be wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bugs {
    /// Of its logs.
    pub log: storage::log::Bugs,
    /// Flushes do nothing.
    pub skip_flush: bool,
    /// A flush covers only its own file, though the disk says otherwise.
    pub forget_barrier: bool,
    /// A start does not wait for what a killed process has left in flight.
    pub take_over_early: bool,
}

/// Makes a broker, or its disk, wrong.
type Plant = fn(&mut Bugs);

/// The faults that can be planted, by name.
pub const PLANTED: [(&str, Plant); 6] = [
    ("skip-flush", |bugs| bugs.skip_flush = true),
    ("forget-barrier", |bugs| bugs.forget_barrier = true),
    ("take-over-early", |bugs| bugs.take_over_early = true),
    ("acknowledge-early", |bugs| bugs.log.acknowledge_early = true),
    ("keep-torn-tail", |bugs| bugs.log.keep_torn_tail = true),
    ("forget-producers", |bugs| bugs.log.forget_producers = true),
];

impl Bugs {
    /// One fault, by its name.
    pub fn planted(name: &str) -> Option<Bugs> {
        let (_, plant) = PLANTED.iter().find(|(known, _)| *known == name)?;
        let mut bugs = Bugs::default();
        plant(&mut bugs);
        Some(bugs)
    }
}

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

/// What a client has.
#[derive(Clone)]
pub struct Client {
    /// Its executor.
    pub rt: Rt,
    /// Which one it is.
    pub number: usize,
    /// What it tells the checkers.
    pub history: History,
    /// How large its batches are.
    pub sizes: Sizes,
    net: Net,
    address: SocketAddr,
    trace: Trace,
}

impl Client {
    /// Connects to the broker.
    pub async fn connect(&self) -> Result<Wire> {
        Wire::connect(&self.rt, &self.net, self.address).await
    }

    /// Adds a line to the trace.
    pub fn log(&self, what: fmt::Arguments<'_>) {
        self.trace.log(self.rt.now().0, &self.name(), what);
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("client {}", self.number)
    }

    /// Waits less than `ms_max`.
    pub async fn pause(&self, ms_max: u64) {
        self.rt.sleep(random_ms(self.rt.random_u64(), ms_max)).await;
    }
}

/// Runs one seed. Err: a promise was broken; the message says which.
pub fn run(seed: u64, steps_max: Option<u64>, bugs: Bugs) -> (Report, Result<()>) {
    // What kind of world it is, by dice of its own.
    let dice = &mut SmallRng::seed_from_u64(!seed);
    let sizes = if dice.random() { Sizes::Mixed } else { Sizes::Blocks };
    let disk = SimDiskOptions {
        // A slow one gathers more for each write, and has more to lose.
        flush_ns: if dice.random() { SimDiskOptions::default().flush_ns } else { 2 * MS..=30 * MS },
        sector_bytes: if dice.random() { 512 } else { 4096 },
        bug_skip_flush: bugs.skip_flush,
        bug_forget_barrier: bugs.forget_barrier,
        bug_take_over_early: bugs.take_over_early,
        ..SimDiskOptions::default()
    };
    let mut world = World::new(seed, WorldOptions { steps_max, disk, ..WorldOptions::default() });
    let history = History::default();
    let broker = world.add_machine("broker", serve(bugs));
    let address = SocketAddr::new(world.ip(broker), 9092);
    let clients = world.add_machine("clients", use_broker(address, history.clone(), sizes, world.trace.clone()));
    world.start(broker, 3);
    world.start(clients, PRODUCERS + CONSUMERS);

    let nemesis = Nemesis::new(vec![(broker, vec![2, 3, 4])], &[clients], 333 * MS);
    let is_done = || history.is_broken() || history.done() == (PRODUCERS, CONSUMERS);
    let stopped = nemesis.torment(&mut world, is_done);
    let verdict = verdict(&history, stopped);
    (Report { trace: world.trace.to_string(), digest: world.digest(), steps: world.steps() }, verdict)
}

fn verdict(history: &History, stopped: Stopped) -> Result<()> {
    history.verdict(stopped == Stopped::Condition)?;
    match stopped {
        Stopped::Condition | Stopped::Steps => Ok(()),
        Stopped::Died => bail!("the broker ended itself, though its disk had not failed"),
        Stopped::Time | Stopped::Quiet => {
            let (producers, consumers) = history.done();
            bail!("nothing breaks any more, but only {producers} producers and {consumers} consumers are done")
        }
    }
}

/// The broker's process: the first executor is the metadata core's, each other is a shard's.
fn serve(bugs: Bugs) -> Boot {
    Rc::new(move |process: Process| {
        let Process { executors, net, disk } = process;
        let shards = executors.len() - 1;
        let mut config = config(shards);
        config.bugs = bugs.log;
        let (_, stop) = stop_pair();
        let metrics = Arc::new(Metrics::new(shards));
        let setup = Setup { config: Arc::new(config), metrics, stop, shards };
        for (executor, (rt, ends)) in executors.into_iter().zip(mesh::full_mesh(shards)).enumerate() {
            let world = server::World { rt: rt.clone(), disk: disk.clone(), net: net.clone() };
            match executor.checked_sub(1) {
                None => rt.spawn(metadata_core::run(world, setup.clone(), ends)),
                Some(shard) => rt.spawn(shard_core::run(world, setup.clone(), ShardId(shard), ends)),
            }
        }
    })
}

fn config(shards: usize) -> Config {
    let given = |name: &str, text: &str| Given { name: name.into(), text: text.into(), origin: Origin::Default };
    let flags = vec![
        given("data-dir", "/data"),
        given("bind-addr", "0.0.0.0"),
        given("pin", "false"),
        given("shards", &shards.to_string()),
        given("log.segment.bytes", "1048576"),
    ];
    let machine = Machine { cpus: vec![0], processors: 1 };
    Config::load(&Sources { flags, ..Sources::default() }, &machine).unwrap_or_else(|errors| panic!("{errors}"))
}

fn use_broker(address: SocketAddr, history: History, sizes: Sizes, trace: Trace) -> Boot {
    Rc::new(move |process: Process| {
        for (number, rt) in process.executors.into_iter().enumerate() {
            let (net, history, trace) = (process.net.clone(), history.clone(), trace.clone());
            let client = Client { rt: rt.clone(), number, history, sizes, net, address, trace };
            match number {
                0..PRODUCERS => rt.spawn(produce::run(client, number + 1 < PRODUCERS)),
                _ => rt.spawn(consume::run(client)),
            }
        }
    })
}

#[cfg(test)]
mod tests;
