//! Histories that have cost others data, step by step.

use super::{Step, World};

/// Broker 0 appends; `followers` get it, and all flush it and say so.
fn replicate(world: &mut World, followers: &[usize]) {
    world.perform(Step::Produce(0, true));
    world.perform(Step::Flush(0, usize::MAX));
    for follower in followers {
        world.perform(Step::Exchange(*follower, false));
        world.perform(Step::Flush(*follower, usize::MAX));
        world.perform(Step::Exchange(*follower, false));
    }
}

fn play(world: &mut World, steps: &[Step]) {
    steps.iter().for_each(|step| world.perform(*step));
}

fn values(world: &World) -> Vec<u64> {
    world.brokers[0].log.iter().map(|record| record.value).collect()
}

/// KIP-101: a follower restarts before it has heard of the high watermark, and is elected at once.
#[test]
fn a_restart_with_an_old_high_watermark_loses_nothing() {
    let mut world = World::new();
    replicate(&mut world, &[1, 2]);
    assert!(world.answered.contains(&1), "it is acknowledged");
    play(&mut world, &[Step::Crash(1, 0), Step::Restart { broker: 1, stays_in_sync: true }, Step::Learn(1)]);
    assert_eq!(world.brokers[1].high_watermark(), 0, "it does not know");
    play(&mut world, &[Step::Crash(0, 0), Step::Fence(0), Step::Learn(1), Step::Learn(2)]);
    assert_eq!(world.controller.leader, Some(1));
    world.heal();
    assert_eq!(values(&world), [1]);
}

/// KIP-279: quick elections, each leader with a tail of its own.
#[test]
fn quick_elections_leave_no_two_values() {
    let mut world = World::new();
    play(&mut world, &[Step::Produce(0, false), Step::Produce(0, false), Step::Flush(0, 9)]);
    play(&mut world, &[Step::Elect(1), Step::Learn(1), Step::Produce(1, false), Step::Flush(1, 9)]);
    play(&mut world, &[Step::Elect(2), Step::Learn(2), Step::Produce(2, false), Step::Flush(2, 9)]);
    play(&mut world, &[Step::Elect(0), Step::Learn(0), Step::Produce(0, false)]);
    play(&mut world, &[Step::Elect(1), Step::Learn(1), Step::Produce(1, false)]);
    world.heal();
    assert_eq!(values(&world), [3, 6], "what broker 1 had, and has added");
}

/// A leader that wrote nothing must follow one whose records are older than its reign.
#[test]
fn a_reign_that_wrote_nothing_is_no_obstacle() {
    let mut world = World::new();
    play(&mut world, &[Step::Produce(0, false), Step::Flush(0, 9), Step::Exchange(2, false), Step::Flush(2, 9)]);
    play(&mut world, &[Step::Elect(1), Step::Learn(1), Step::Elect(2), Step::Learn(2)]);
    world.heal();
    assert_eq!(values(&world), [1]);
}

/// KIP-966: the in-sync replicas become one; what was acknowledged is with the last.
#[test]
fn the_last_replica_standing_has_it() {
    let mut world = World::new();
    replicate(&mut world, &[1, 2]);
    play(&mut world, &[Step::Crash(2, 0), Step::Fence(2), Step::Crash(1, 0), Step::Fence(1), Step::Learn(0)]);
    play(&mut world, &[Step::Produce(0, true), Step::Produce(0, false), Step::Flush(0, 9)]);
    assert_eq!(world.brokers[0].high_watermark(), 1, "frozen");
    play(&mut world, &[Step::Crash(0, 0), Step::Fence(0)]);
    assert_eq!(world.controller.isr, [0]);
    play(&mut world, &[Step::Restart { broker: 1, stays_in_sync: false }, Step::Learn(1)]);
    assert_eq!(world.controller.leader, None, "who left does not lead");
    world.heal();
    assert_eq!(values(&world), [1, 3], "the second was refused before it was written");
}
