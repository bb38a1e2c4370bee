//! Three brokers that hold nothing become one cluster, while they crash and the network fails them.
//!
//! *Invariants* (what is checked): no broker is ever in another cluster than any other, at any time; once nothing breaks any more,
//! all are in it and ready.

use std::collections::BTreeSet;

use chronik::metrics::State;
use rand::Rng;
use rand::seq::SliceRandom;
use storage::disk::SimDiskOptions;

use crate::process::{Broker, Running};
use crate::world::{Crash, MachineId, Stopped, World, WorldOptions};

const BROKERS: usize = 3;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

struct Cluster {
    world: World,
    machines: Vec<MachineId>,
    running: Vec<Running>,
    seed: u64,
}

impl Cluster {
    fn new(seed: u64) -> Cluster {
        let mut world = World::new(seed, WorldOptions { disk: SimDiskOptions::default(), ..WorldOptions::default() });
        let running: Vec<Running> = (0..BROKERS).map(|_| Running::default()).collect();
        let machines = (1..=BROKERS)
            .zip(&running)
            .map(|(number, running)| {
                let broker = Broker { number, count: BROKERS, running: running.clone(), ..Broker::default() };
                world.add_machine(&format!("broker {number}"), broker.boot())
            })
            .collect();
        Cluster { world, machines, running, seed }
    }

    fn start(&mut self, broker: usize) {
        if !self.world.is_up(self.machines[broker]) {
            self.world.start(self.machines[broker], 2);
        }
    }

    /// Runs for a while; gives the clusters that brokers say they are in.
    fn run(&mut self, time_ns: u64) -> BTreeSet<String> {
        let until_ns = self.world.now_ns() + time_ns;
        let stopped = self.world.run_until(until_ns, || false);
        assert_ne!(stopped, Stopped::Died, "seed {}\n{}", self.seed, self.world.trace);
        let running = self.running.iter().filter_map(|running| running.borrow().clone());
        running.filter_map(|metrics| metrics.process.health.cluster_id().map(str::to_owned)).collect()
    }

    fn run_until_ready(&mut self, brokers: &[usize], within_ns: u64) {
        let until_ns = self.world.now_ns() + within_ns;
        let running = &self.running;
        let is_ready = |broker: &usize| {
            running[*broker].borrow().as_ref().is_some_and(|metrics| metrics.process.health.state() == State::Ready)
        };
        let stopped = self.world.run_until(until_ns, || brokers.iter().all(is_ready));
        assert_eq!(stopped, Stopped::Condition, "seed {}\n{}", self.seed, self.world.trace);
    }
}

#[test]
fn three_brokers_that_start_in_any_order_are_a_cluster_soon_after_the_last() {
    for seed in 0..30 {
        let mut cluster = Cluster::new(seed);
        let mut order: Vec<usize> = (0..3).collect();
        order.shuffle(&mut cluster.world.dice);
        let pause_ns = cluster.world.dice.random_range(0..1500 * MS);
        for broker in order {
            cluster.start(broker);
            cluster.run(pause_ns);
        }
        cluster.run_until_ready(&[0, 1, 2], 5 * SECOND);
        assert_eq!(cluster.run(0).len(), 1, "seed {seed}");
    }
}

#[test]
fn two_of_three_are_a_cluster_and_the_third_joins_it() {
    for seed in 0..12 {
        let mut cluster = Cluster::new(seed);
        let late = seed as usize % 3;
        let early: Vec<usize> = (0..3).filter(|broker| *broker != late).collect();
        early.iter().for_each(|broker| cluster.start(*broker));
        cluster.run_until_ready(&early, 15 * SECOND);
        cluster.start(late);
        cluster.run_until_ready(&[late], 10 * SECOND);
        assert_eq!(cluster.run(0).len(), 1, "seed {seed}");
    }
}

/// Whatever a founder had said when it failed, and to whom.
#[test]
fn there_is_never_a_second_cluster_whoever_crashes_and_whatever_is_lost() {
    for seed in 0..150 {
        let mut cluster = Cluster::new(seed);
        let mut seen = BTreeSet::new();
        for _ in 0..cluster.world.dice.random_range(5..25) {
            let broker = cluster.world.dice.random_range(0..3);
            let (one, other) = (cluster.machines[broker], cluster.machines[(broker + 1) % 3]);
            let (from, to) = (cluster.world.ip(one), cluster.world.ip(other));
            match cluster.world.dice.random_range(0..6) {
                0 => cluster.world.net.cut(from, to),
                1 => cluster.world.net.heal_all(),
                2 => _ = cluster.world.net.reset_between(from, to),
                3 if cluster.world.is_up(one) => cluster.world.crash(one, Crash::Power),
                4 if cluster.world.is_up(one) => cluster.world.crash(one, Crash::Kill),
                _ => cluster.start(broker),
            }
            let time_ns = cluster.world.dice.random_range(0..400 * MS);
            seen.extend(cluster.run(time_ns));
        }
        cluster.world.net.heal_all();
        (0..3).for_each(|broker| cluster.start(broker));
        cluster.run_until_ready(&[0, 1, 2], 60 * SECOND);
        seen.extend(cluster.run(0));
        assert_eq!(seen.len(), 1, "seed {seed}\n{}", cluster.world.trace);
    }
}
