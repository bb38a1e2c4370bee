//! The broker itself, a metadata core and some shards, with producers and consumers, while everything around it breaks.
//!
//! *Invariants* (the promises that are checked): those in `check`; and once nothing breaks any more, every client gets its work
//! done.

use std::net::SocketAddr;

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use storage::disk::SimDiskOptions;

use crate::bugs::Bugs;
use crate::check::History;
use crate::client::{self, Batches, Crew, Route};
use crate::nemesis::{Nemesis, WITH_ONE};
use crate::process::{Broker, KAFKA_PORT};
use crate::produce::Sizes;
use crate::scenario::{Report, verdict};
use crate::world::{World, WorldOptions};

const CREW: Crew = Crew {
    producers: 4,
    consumers: 2,
    partitions: 2,
    replication_factor: 1,
    min_insync_replicas: 1,
    pause_ms_max: 200,
    keeps_acks_of_one: true,
    batches: Batches::Exactly(100),
};
const MS: u64 = 1_000_000;

/// Runs one seed. Err: a promise was broken; the message says which.
pub fn run(seed: u64, steps_max: Option<u64>, bugs: Bugs) -> (Report, Result<()>) {
    // What kind of world it is, by dice of its own.
    let dice = &mut SmallRng::seed_from_u64(!seed);
    let sizes = if dice.random() { Sizes::Mixed } else { Sizes::Blocks };
    let disk = bugs.of_disk(SimDiskOptions {
        // A slow one gathers more for each write, and has more to lose.
        flush_ns: if dice.random() { SimDiskOptions::default().flush_ns } else { 2 * MS..=30 * MS },
        sector_bytes: if dice.random() { 512 } else { 4096 },
        ..SimDiskOptions::default()
    });
    let mut world = World::new(seed, WorldOptions { steps_max, disk, ..WorldOptions::default() });
    let history = History::default();
    let broker = world.add_machine("broker", Broker::alone(bugs).boot());
    let address = SocketAddr::new(world.ip(broker), KAFKA_PORT);
    let boot = client::boot(CREW, history.clone(), sizes, world.trace.clone(), move || Route::Only(address));
    let clients = world.add_machine("clients", boot);
    world.start(broker, 3);
    world.start(clients, CREW.count());

    let nemesis = Nemesis::new(vec![(broker, vec![2, 3, 4])], &[clients], 333 * MS, &WITH_ONE);
    let is_done = || history.is_broken() || history.done() == (CREW.producers, CREW.consumers);
    let stopped = nemesis.torment(&mut world, is_done);
    (Report::of(&world), verdict(&history, stopped))
}

#[cfg(test)]
mod tests;
