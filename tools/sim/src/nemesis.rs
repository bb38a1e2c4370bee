//! What goes wrong in a world, and when: drawn from its seed.
//!
//! *Invariants*: what is broken is mended some time later, and in the end everything is: then a world must be able to finish its
//! work.

use rand::Rng;
use storage::disk::{Fault, FaultOn};

use crate::world::{Crash, MachineId, Stopped, World};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// How long it breaks things.
const TORMENT_NS: u64 = 20 * SECOND;
/// How long a world has to finish its work after that.
const GRACE_NS: u64 = 120 * SECOND;
/// What a disk may be told to refuse: flushes more often, for a failed one is believed by no one.
const REFUSALS: [FaultOn; 8] = [
    FaultOn::Flush,
    FaultOn::Flush,
    FaultOn::Flush,
    FaultOn::Write,
    FaultOn::Read,
    FaultOn::Allocate,
    FaultOn::Name,
    FaultOn::SyncDir,
];

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strike {
    /// A process is killed.
    Kill,
    /// A machine loses power.
    Power,
    /// All of them do.
    PowerOfAll,
    /// Nothing gets from one machine to another.
    CutOneWay,
    /// Nor back.
    Cut,
    /// Nothing gets to one machine, or from it.
    Isolate,
    /// What gets from one machine to another takes long.
    Delay,
    /// Connections are lost.
    Reset,
    /// A processor or a disk stands still.
    Stall,
    /// A whole process stands still while the world goes on, and then believes that it is still what it was.
    Freeze,
    /// A disk takes long.
    SlowDisk,
    /// A disk fails.
    BreakDisk,
    /// A disk is full.
    FillDisk,
    /// The wall clock jumps.
    Clock,
}

/// What goes wrong with one broker; as often as it is listed.
pub const WITH_ONE: [Strike; 13] = [
    Strike::Kill,
    Strike::Kill,
    Strike::Power,
    Strike::Power,
    Strike::CutOneWay,
    Strike::Cut,
    Strike::Reset,
    Strike::Stall,
    Strike::BreakDisk,
    Strike::BreakDisk,
    Strike::BreakDisk,
    Strike::FillDisk,
    Strike::Clock,
];

/// A trouble that has passed some time later.
enum Mend {
    Restart(MachineId),
    /// Its disk works again, and whoever had to do with it as it was starts anew.
    ReplaceDisk(MachineId),
    GiveSpace(MachineId),
    SpeedUp(MachineId),
    Heal(MachineId, MachineId),
}

/// Breaks things.
pub struct Nemesis {
    /// Machines that may crash, with the numbers of executors to restart them with.
    victims: Vec<(MachineId, Vec<usize>)>,
    /// Machines whose connections may break: victims and others.
    all: Vec<MachineId>,
    /// What it does, one as likely as the other.
    repertoire: Vec<Strike>,
    /// Mean time between two troubles.
    pause_ns: u64,
    next_strike_ns: u64,
    mends: Vec<(u64, Mend)>,
    /// Has a flush of a log fail soon after a restart, when what recovery has left half done would show.
    interrupts_recoveries: bool,
}

impl Nemesis {
    /// Strikes with `repertoire` at `victims` (each restarted with one of those numbers of executors), and between all machines, about every
    /// `pause_ns`.
    pub fn new(
        victims: Vec<(MachineId, Vec<usize>)>,
        others: &[MachineId],
        pause_ns: u64,
        repertoire: &[Strike],
    ) -> Nemesis {
        let all = victims.iter().map(|(victim, _)| *victim).chain(others.iter().copied()).collect();
        Nemesis {
            victims,
            all,
            repertoire: repertoire.to_vec(),
            pause_ns,
            next_strike_ns: pause_ns,
            mends: Vec::new(),
            interrupts_recoveries: repertoire.contains(&Strike::BreakDisk),
        }
    }

    /// Breaks things until the time for that is over, then waits for the world to finish its work.
    pub fn torment(mut self, world: &mut World, is_done: impl Fn() -> bool) -> Stopped {
        let mut stopped = Stopped::Time;
        while stopped == Stopped::Time && world.now_ns() < TORMENT_NS {
            stopped = world.run_until(self.next_ns(), &is_done);
            if stopped == Stopped::Time {
                self.act(world);
            }
        }
        self.relent(world);
        if stopped == Stopped::Time {
            let deadline_ns = world.now_ns() + GRACE_NS;
            stopped = world.run_until(deadline_ns, is_done);
        }
        stopped
    }

    /// When it acts next.
    pub fn next_ns(&self) -> u64 {
        self.mends.iter().map(|(at_ns, _)| *at_ns).chain([self.next_strike_ns]).min().expect("it always has plans")
    }

    /// Does what is due.
    pub fn act(&mut self, world: &mut World) {
        let now_ns = world.now_ns();
        self.attend_to_the_dead(world);
        while let Some(due) = self.mends.iter().position(|(at_ns, _)| *at_ns <= now_ns) {
            let (_, mend) = self.mends.remove(due);
            self.mend(world, mend);
        }
        if self.next_strike_ns <= now_ns {
            self.strike(world);
            self.next_strike_ns = now_ns + world.dice.random_range(1..=2 * self.pause_ns);
        }
    }

    /// Whoever ended itself is restarted some time later.
    fn attend_to_the_dead(&mut self, world: &mut World) {
        for index in 0..self.victims.len() {
            let (victim, _) = self.victims[index];
            let is_planned = |(_, mend): &(u64, Mend)| matches!(mend, Mend::Restart(id) if *id == victim);
            if !world.is_up(victim) && !self.mends.iter().any(is_planned) {
                self.plan_restart(world, victim);
            }
        }
    }

    /// Mends everything, and leaves it alone from now on.
    pub fn relent(mut self, world: &mut World) {
        world.log("nemesis", format_args!("relents"));
        self.interrupts_recoveries = false;
        self.attend_to_the_dead(world);
        while !self.mends.is_empty() {
            let (_, mend) = self.mends.remove(0);
            self.mend(world, mend);
        }
        world.net.heal_all();
    }

    fn mend(&mut self, world: &mut World, mend: Mend) {
        match mend {
            Mend::ReplaceDisk(id) => {
                world.log("nemesis", format_args!("mends the disk of {}", world.name(id)));
                world.disk(id).heal();
                self.crash(world, id, Crash::Kill);
            }
            Mend::GiveSpace(id) => {
                world.log("nemesis", format_args!("gives space to {}", world.name(id)));
                world.disk(id).set_capacity_bytes(None);
            }
            Mend::SpeedUp(id) => {
                world.log("nemesis", format_args!("the disk of {} is quick again", world.name(id)));
                world.disk(id).slow_down(1);
            }
            Mend::Restart(id) => {
                let choices = self.victims.iter().find(|(victim, _)| *victim == id).map(|(_, choices)| &choices[..]);
                let choices = choices.expect("only victims are restarted");
                let executors = choices[world.dice.random_range(0..choices.len())];
                world.start(id, executors);
                if self.interrupts_recoveries && world.chance(2) {
                    let skip_count = world.dice.random_range(0..5);
                    self.break_disk(world, id, Fault::next(FaultOn::Flush, "/partitions/").after(skip_count));
                }
            }
            Mend::Heal(from, to) => {
                world.log("nemesis", format_args!("heals {} to {}", world.name(from), world.name(to)));
                world.net.heal(world.ip(from), world.ip(to));
            }
        }
    }

    fn strike(&mut self, world: &mut World) {
        let (victim, _) = self.victims[world.dice.random_range(0..self.victims.len())];
        match self.repertoire[world.dice.random_range(0..self.repertoire.len())] {
            Strike::Kill => self.crash(world, victim, Crash::Kill),
            Strike::Power => self.crash(world, victim, Crash::Power),
            Strike::PowerOfAll => {
                for index in 0..self.victims.len() {
                    self.crash(world, self.victims[index].0, Crash::Power);
                }
            }
            Strike::CutOneWay => self.cut(world, false),
            Strike::Cut => self.cut(world, true),
            Strike::Isolate => self.isolate(world, victim),
            Strike::Delay => self.delay(world),
            Strike::Reset => self.reset(world),
            Strike::Stall => stall(world, victim),
            Strike::Freeze => freeze(world, victim),
            Strike::SlowDisk => self.slow_disk(world, victim),
            Strike::BreakDisk => self.break_something_of_disk(world, victim),
            Strike::FillDisk => self.fill_disk(world, victim),
            Strike::Clock => {
                let by_ms = world.dice.random_range(-3_600_000..=3_600_000);
                world.log("nemesis", format_args!("sets the wall clock {by_ms} ms on"));
                world.runtime.jump_wall_clock(by_ms);
            }
        }
    }

    fn crash(&mut self, world: &mut World, victim: MachineId, crash: Crash) {
        if world.is_up(victim) {
            world.crash(victim, crash);
            self.plan_restart(world, victim);
        }
    }

    fn plan_restart(&mut self, world: &mut World, victim: MachineId) {
        let down_ns = world.dice.random_range(MS..=2000 * MS);
        self.mends.push((world.now_ns() + down_ns, Mend::Restart(victim)));
    }

    /// Some operation of the disk fails soon, or all of its kind do.
    fn break_something_of_disk(&mut self, world: &mut World, victim: MachineId) {
        let on = REFUSALS[world.dice.random_range(0..REFUSALS.len())];
        let fault = if world.chance(4) { Fault::every(on, "") } else { Fault::next(on, "") };
        let skip_count = world.dice.random_range(0..40);
        self.break_disk(world, victim, fault.after(skip_count));
    }

    fn break_disk(&mut self, world: &mut World, victim: MachineId, fault: Fault) {
        let Fault { on, path_contains, skip_count, fail_count, .. } = &fault;
        let what = format!("{on:?} of *{path_contains}* after {skip_count}, {fail_count} times");
        world.log("nemesis", format_args!("breaks the disk of {}: {what}", world.name(victim)));
        world.disk(victim).fail(fault);
        let until_ns = world.now_ns() + world.dice.random_range(MS..=2000 * MS);
        self.mends.push((until_ns, Mend::ReplaceDisk(victim)));
    }

    /// The disk has room for no more than a little.
    fn fill_disk(&mut self, world: &mut World, victim: MachineId) {
        let room_bytes = world.dice.random_range(0..=2 << 20);
        world.log("nemesis", format_args!("leaves {} {room_bytes} bytes of space", world.name(victim)));
        let disk = world.disk(victim);
        disk.set_capacity_bytes(Some(disk.used_bytes() + room_bytes));
        let until_ns = world.now_ns() + world.dice.random_range(MS..=3000 * MS);
        self.mends.push((until_ns, Mend::GiveSpace(victim)));
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

    /// Between one machine and all others, clients among them or not.
    fn isolate(&mut self, world: &mut World, victim: MachineId) {
        let until_ns = world.now_ns() + world.dice.random_range(MS..=6000 * MS);
        let from_all = world.chance(2);
        let count = if from_all { self.all.len() } else { self.victims.len() };
        world.log("nemesis", format_args!("isolates {} from {count} machines", world.name(victim)));
        for index in 0..count {
            let other = self.all[index];
            if other != victim {
                for (from, to) in [(victim, other), (other, victim)] {
                    world.net.cut(world.ip(from), world.ip(to));
                    self.mends.push((until_ns, Mend::Heal(from, to)));
                }
            }
        }
    }

    fn delay(&mut self, world: &mut World) {
        let Some((from, to)) = self.pair(world) else { return };
        let until_ns = world.now_ns() + world.dice.random_range(MS..=5000 * MS);
        let most_ms = world.dice.random_range(1..=1000);
        world.log("nemesis", format_args!("delays {} to {} by {most_ms} ms", world.name(from), world.name(to)));
        world.net.delay(world.ip(from), world.ip(to), most_ms * MS);
        self.mends.push((until_ns, Mend::Heal(from, to)));
    }

    fn slow_disk(&mut self, world: &mut World, victim: MachineId) {
        let until_ns = world.now_ns() + world.dice.random_range(MS..=5000 * MS);
        let factor = world.dice.random_range(2..=200);
        world.log("nemesis", format_args!("makes the disk of {} {factor} times as slow", world.name(victim)));
        world.disk(victim).slow_down(factor);
        self.mends.push((until_ns, Mend::SpeedUp(victim)));
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

/// Stops a process whole; what it has given to the kernel goes on.
fn freeze(world: &mut World, victim: MachineId) {
    let until_ns = world.now_ns() + world.dice.random_range(MS..=6000 * MS);
    world.log("nemesis", format_args!("freezes {} until {} ms", world.name(victim), until_ns / MS));
    for executor in world.executors(victim) {
        world.runtime.stall_executor(*executor, until_ns);
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
