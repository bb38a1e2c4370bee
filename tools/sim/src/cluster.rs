//! Brokers that are one cluster, with producers and consumers, while everything around them breaks.
//!
//! *Invariants* (the promises that are checked): those in `check`; and once nothing breaks any more, every partition takes and
//! gives records again, and its replicas become equal, within [`PROGRESS_NS`].
//! *Why* a mix of troubles for each seed: what needs many troubles of two kinds is not found where all kinds take turns.

use std::cell::RefCell;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use storage::disk::SimDiskOptions;

use crate::bugs::Bugs;
use crate::check::{History, OneHistory, check_copies, check_equal};
use crate::client::{self, Batches, Crew, Leaders, Route};
use crate::nemesis::{Nemesis, Strike};
use crate::process::{Broker, KAFKA_PORT, Running};
use crate::produce::Sizes;
use crate::replicas::{self, ReplicaLog};
use crate::scenario::{Report, verdict};
use crate::world::{MachineId, Stopped, World, WorldOptions};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// How long things break.
const TORMENT_NS: u64 = 20 * SECOND;
/// How long everything may take after that.
const PROGRESS_NS: u64 = 60 * SECOND;
/// From one look at the disks to the next.
const LOOK_NS: u64 = 2 * SECOND;
const PARTITIONS: i32 = 3;

const ALL_STRIKES: [Strike; 14] = [
    Strike::Kill,
    Strike::Power,
    Strike::PowerOfAll,
    Strike::CutOneWay,
    Strike::Cut,
    Strike::Isolate,
    Strike::Delay,
    Strike::Reset,
    Strike::Stall,
    Strike::Freeze,
    Strike::SlowDisk,
    Strike::BreakDisk,
    Strike::FillDisk,
    Strike::Clock,
];

/// What kind of world a seed is.
struct Setting {
    brokers: usize,
    crew: Crew,
    sizes: Sizes,
    disk: SimDiskOptions,
    strikes: Vec<Strike>,
    pause_ns: u64,
}

impl Setting {
    fn draw(seed: u64, bugs: Bugs) -> Setting {
        let dice = &mut SmallRng::seed_from_u64(!seed);
        let strikes = dice.random_range(1..=5);
        let mut all = ALL_STRIKES;
        let (strikes, _) = all.partial_shuffle(dice, strikes);
        let brokers = if dice.random_range(0..5) == 0 { 5 } else { 3 };
        Setting {
            brokers,
            crew: Crew {
                producers: 4,
                consumers: 2,
                partitions: PARTITIONS,
                replication_factor: 3,
                min_insync_replicas: if dice.random_range(0..4) == 0 { 1 } else { 2 },
                pause_ms_max: 500,
                keeps_acks_of_one: false,
                batches: Batches::UntilCalmAnd(10),
            },
            sizes: if dice.random_range(0..4) == 0 { Sizes::Blocks } else { Sizes::Mixed },
            disk: bugs.of_disk(SimDiskOptions {
                sector_bytes: if dice.random() { 512 } else { 4096 },
                ..SimDiskOptions::default()
            }),
            strikes: strikes.to_vec(),
            pause_ns: [300 * MS, SECOND, 3 * SECOND][dice.random_range(0..3)],
        }
    }
}

/// Runs one seed. Err: a promise was broken; the message says which.
pub fn run(seed: u64, steps_max: Option<u64>, bugs: Bugs) -> (Report, Result<()>) {
    let Setting { brokers, crew, sizes, disk, strikes, pause_ns } = Setting::draw(seed, bugs);
    let mut world = World::new(seed, WorldOptions { steps_max, disk, ..WorldOptions::default() });
    world.log("world", format_args!("{brokers} brokers, {crew:?}, {sizes:?}, {strikes:?} every {} ms", pause_ns / MS));
    let history = History::default();
    let ids: Vec<MachineId> = (1..=brokers)
        .map(|number| {
            let broker = Broker { number, count: brokers, bugs, running: Running::default() };
            world.add_machine(&format!("broker {number}"), broker.boot())
        })
        .collect();
    let addresses: Vec<SocketAddr> = ids.iter().map(|id| SocketAddr::new(world.ip(*id), KAFKA_PORT)).collect();
    let route = move || Route::Leaders(RefCell::new(Leaders::new(addresses.clone())));
    let clients = world.add_machine("clients", client::boot(crew, history.clone(), sizes, world.trace.clone(), route));
    for id in &ids {
        world.start(*id, 2);
    }
    world.start(clients, crew.count());

    let victims = ids.iter().map(|id| (*id, vec![2, 2, 3])).collect();
    let mut nemesis = Nemesis::new(victims, &[clients], pause_ns, &strikes);
    let mut audit = Audit { brokers: ids, crew, history: history.clone(), metadata: OneHistory::default() };
    let mut stopped = Stopped::Time;
    let mut next_look_ns = LOOK_NS;
    while stopped == Stopped::Time && world.now_ns() < TORMENT_NS {
        stopped = world.run_until(nemesis.next_ns().min(next_look_ns), || history.is_broken());
        if world.now_ns() >= next_look_ns {
            next_look_ns += LOOK_NS;
            history.note(audit.look(&world));
        }
        if stopped == Stopped::Time {
            nemesis.act(&mut world);
        }
    }
    nemesis.relent(&mut world);
    history.on_calm();
    let deadline_ns = world.now_ns() + PROGRESS_NS;
    if stopped == Stopped::Time {
        let is_done = || history.is_broken() || history.done() == (crew.producers, crew.consumers);
        stopped = world.run_until(deadline_ns, is_done);
    }
    let mut told = verdict(&history, stopped);
    if stopped == Stopped::Condition && told.is_ok() {
        told = audit.converge(&mut world, deadline_ns);
    }
    (Report::of(&world), told)
}

/// Looks at the disks of a cluster.
struct Audit {
    brokers: Vec<MachineId>,
    crew: Crew,
    history: History,
    metadata: OneHistory,
}

impl Audit {
    /// What clients were told of is on enough disks, and the metadata of all brokers is one history.
    fn look(&mut self, world: &World) -> Result<()> {
        for partition in 0..self.crew.partitions {
            let told = self.history.told(partition);
            let logs = self.logs(world, partition)?;
            check_copies(partition, &told, &logs, self.crew.min_insync_replicas)?;
        }
        for id in &self.brokers {
            let name = world.name(*id);
            if let Some(committed) = replicas::committed(world.disk(*id)).with_context(|| name.to_owned())? {
                self.metadata.on_committed(name, committed)?;
            }
        }
        Ok(())
    }

    /// The logs of a partition, on the disks of its replicas.
    fn logs(&self, world: &World, partition: i32) -> Result<Vec<ReplicaLog>> {
        let logs = self.brokers.iter().map(|id| replicas::durable_log(world.disk(*id), partition));
        let mut logs = logs.collect::<Result<Vec<_>>>()?;
        if self.brokers.len() > usize::from(self.crew.replication_factor.unsigned_abs()) {
            logs.retain(|log| !log.bytes.is_empty());
        }
        Ok(logs)
    }

    /// Runs on until all replicas are equal, and looks once more at everything.
    fn converge(&mut self, world: &mut World, deadline_ns: u64) -> Result<()> {
        loop {
            let equal = (0..self.crew.partitions)
                .try_for_each(|partition| check_equal(partition, &self.logs(world, partition)?));
            if equal.is_ok() || world.now_ns() >= deadline_ns {
                equal?;
                break;
            }
            let until_ns = world.now_ns() + SECOND / 2;
            world.run_until(until_ns, || false);
        }
        self.look(world)?;
        self.metadata.check_elections()
    }
}

#[cfg(test)]
mod tests;
