//! What goes wrong in a world, and when: drawn from its seed.
//!
//! *Invariants*: what is broken is mended some time later, and [`Nemesis::relent`] mends everything: after it a world must be
//! able to finish its work.

use rand::Rng;

use crate::world::{Crash, MachineId, World};

const MS: u64 = 1_000_000;

/// A trouble that has passed some time later.
enum Mend {
    Restart(MachineId),
    Heal(MachineId, MachineId),
}

/// Breaks things.
pub struct Nemesis {
    /// Machines that may crash, with the numbers of executors to restart them with.
    victims: Vec<(MachineId, Vec<usize>)>,
    /// Machines whose connections may break: victims and others.
    all: Vec<MachineId>,
    /// Mean time between two troubles.
    pause_ns: u64,
    next_strike_ns: u64,
    mends: Vec<(u64, Mend)>,
}

impl Nemesis {
    /// Strikes at `victims` (each restarted with one of those numbers of executors), and between all machines, about every
    /// `pause_ns`.
    pub fn new(victims: Vec<(MachineId, Vec<usize>)>, others: &[MachineId], pause_ns: u64) -> Nemesis {
        let all = victims.iter().map(|(victim, _)| *victim).chain(others.iter().copied()).collect();
        Nemesis { victims, all, pause_ns, next_strike_ns: pause_ns, mends: Vec::new() }
    }

    /// When it acts next.
    pub fn next_ns(&self) -> u64 {
        self.mends.iter().map(|(at_ns, _)| *at_ns).chain([self.next_strike_ns]).min().expect("it always has plans")
    }

    /// Does what is due.
    pub fn act(&mut self, world: &mut World) {
        let now_ns = world.now_ns();
        while let Some(due) = self.mends.iter().position(|(at_ns, _)| *at_ns <= now_ns) {
            let (_, mend) = self.mends.remove(due);
            self.mend(world, mend);
        }
        if self.next_strike_ns <= now_ns {
            self.strike(world);
            self.next_strike_ns = now_ns + world.dice.random_range(1..=2 * self.pause_ns);
        }
    }

    /// Mends everything, and leaves it alone from now on.
    pub fn relent(mut self, world: &mut World) {
        world.log("nemesis", format_args!("relents"));
        for (_, mend) in std::mem::take(&mut self.mends) {
            self.mend(world, mend);
        }
        world.net.heal_all();
    }

    fn mend(&self, world: &mut World, mend: Mend) {
        match mend {
            Mend::Restart(id) => {
                let choices = self.victims.iter().find(|(victim, _)| *victim == id).map(|(_, choices)| &choices[..]);
                let choices = choices.expect("only victims are restarted");
                let executors = choices[world.dice.random_range(0..choices.len())];
                world.start(id, executors);
            }
            Mend::Heal(from, to) => {
                world.log("nemesis", format_args!("heals {} to {}", world.name(from), world.name(to)));
                world.net.heal(world.ip(from), world.ip(to));
            }
        }
    }

    fn strike(&mut self, world: &mut World) {
        let (victim, _) = self.victims[world.dice.random_range(0..self.victims.len())];
        match world.dice.random_range(0..9) {
            0 | 1 => self.crash(world, victim, Crash::Kill),
            2 | 3 => self.crash(world, victim, Crash::Power),
            4 => self.cut(world, false),
            5 => self.cut(world, true),
            6 => self.reset(world),
            7 => stall(world, victim),
            _ => {
                let by_ms = world.dice.random_range(-3_600_000..=3_600_000);
                world.log("nemesis", format_args!("sets the wall clock {by_ms} ms on"));
                world.runtime.jump_wall_clock(by_ms);
            }
        }
    }

    fn crash(&mut self, world: &mut World, victim: MachineId, crash: Crash) {
        if world.is_up(victim) {
            world.crash(victim, crash);
            let down_ns = world.dice.random_range(MS..=2000 * MS);
            self.mends.push((world.now_ns() + down_ns, Mend::Restart(victim)));
        }
    }

    /// Two different machines, if there are.
    fn pair(&self, world: &mut World) -> Option<(MachineId, MachineId)> {
        let one = world.dice.random_range(0..self.all.len());
        let other = world.dice.random_range(0..self.all.len());
        (one != other).then(|| (self.all[one], self.all[other]))
    }

    fn cut(&mut self, world: &mut World, both_ways: bool) {
        let Some((from, to)) = self.pair(world) else { return };
        let until_ns = world.now_ns() + world.dice.random_range(MS..=3000 * MS);
        for (from, to) in [(from, to), (to, from)].into_iter().take(1 + usize::from(both_ways)) {
            world.log("nemesis", format_args!("cuts {} to {}", world.name(from), world.name(to)));
            world.net.cut(world.ip(from), world.ip(to));
            self.mends.push((until_ns, Mend::Heal(from, to)));
        }
    }

    fn reset(&self, world: &mut World) {
        let Some((one, other)) = self.pair(world) else { return };
        let count = world.net.reset_between(world.ip(one), world.ip(other));
        world.log(
            "nemesis",
            format_args!("resets {count} connections of {} and {}", world.name(one), world.name(other)),
        );
    }
}

/// Takes a processor, or the disk, away for a while.
fn stall(world: &mut World, victim: MachineId) {
    if !world.is_up(victim) {
        return;
    }
    let until_ns = world.now_ns() + world.dice.random_range(MS..=1000 * MS);
    if world.chance(2) {
        world.log("nemesis", format_args!("stalls the disk of {}", world.name(victim)));
        world.disk(victim).stall_until(until_ns);
    } else {
        let index = world.dice.random_range(0..world.executors(victim).len());
        world.log("nemesis", format_args!("stalls executor {index} of {}", world.name(victim)));
        let executor = world.executors(victim)[index];
        world.runtime.stall_executor(executor, until_ns);
    }
}
