//! The simulator finds what it is for, and the same thing each time.

use storage::disk::{Fault, FaultOn};

use super::*;
use crate::world::{Crash, MachineId};

const SECOND: u64 = 1000 * MS;

/// A broker that has had clients, and has none now.
fn left_alone(seed: u64) -> (World, MachineId) {
    let mut world = World::new(seed, WorldOptions::default());
    let broker = world.add_machine("broker", Broker::alone(Bugs::default()).boot());
    let address = SocketAddr::new(world.ip(broker), 9092);
    let clients =
        client::boot(CREW, History::default(), Sizes::Mixed, world.trace.clone(), move || Route::Only(address));
    let clients = world.add_machine("clients", clients);
    world.start(broker, 3);
    world.start(clients, CREW.count());
    world.run_until(2 * SECOND, || false);
    world.crash(clients, Crash::Kill);
    (world, broker)
}

/// Nobody appends any more; that one flush may be the last.
#[test]
fn a_checkpoint_whose_flush_fails_ends_a_broker_that_is_left_alone() {
    let (mut world, broker) = left_alone(1);
    world.disk(broker).fail(Fault::next(FaultOn::Flush, "checkpoints"));
    world.run_until(world.now_ns() + 5 * SECOND, || false);
    assert!(!world.is_up(broker));
    assert!(
        world.trace.to_string().contains("dies: a flush failed, nothing after it can be believed: /data/checkpoints/")
    );
}

#[test]
fn a_recovery_whose_flush_fails_ends_a_broker_that_is_left_alone() {
    let (mut world, broker) = left_alone(1);
    world.crash(broker, Crash::Kill);
    world.disk(broker).fail(Fault::next(FaultOn::Flush, "partitions"));
    world.start(broker, 3);
    world.run_until(world.now_ns() + 5 * SECOND, || false);
    assert!(!world.is_up(broker));
    assert!(
        world.trace.to_string().contains("dies: a flush failed, nothing after it can be believed: /data/partitions/")
    );
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 1..5 {
        let (first, second) = (run(seed, None, Bugs::default()), run(seed, None, Bugs::default()));
        assert_eq!(first.0, second.0);
        assert!(first.0.trace.contains("at offset"), "nothing was produced");
    }
}
