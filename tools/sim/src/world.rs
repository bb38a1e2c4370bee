//! A simulated world: machines with their disks, the network between them, the executors of their processes, and time.
//!
//! Owns: the one loop that moves all of them. *Which core*: one thread, and everything in it.
//! *Invariants*: time moves to the next event of any part, and every part hears of it before a task runs. All chance comes from
//! the seed: the same seed and the same calls give the same trace.
//! *Not here*: what goes wrong when (`nemesis`), what runs on the machines (scenarios), what must hold (checkers).

use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;

use chronik::rt::Rt;
use chronik::rt::sim::{Death, SimExecutor, SimRuntime};
use net::stream::Net;
use net::stream::sim::{SimNet, SimNetOptions};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use storage::disk::{Disk, SimDisk, SimDiskOptions};

use crate::trace::Trace;

/// A part of the world in which things happen by themselves.
trait EventSource {
    /// When the next one is due, in ns of virtual time.
    fn next_due(&self) -> Option<u64>;
    /// Time is now `now_ns`: what is due happens.
    fn run_due(&self, now_ns: u64);
}

macro_rules! event_source {
    ($($part:ty),*) => {$(
        impl EventSource for $part {
            fn next_due(&self) -> Option<u64> {
                <$part>::next_due(self)
            }
            fn run_due(&self, now_ns: u64) {
                <$part>::run_due(self, now_ns);
            }
        }
    )*};
}
event_source!(SimRuntime, SimNet, SimDisk);

/// A machine of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineId(usize);

/// What a process is given when it starts: everything it may touch.
pub struct Process {
    /// Its executors, as many as it was started with.
    pub executors: Vec<Rt>,
    /// The network, seen from its machine.
    pub net: Net,
    /// Its machine's disk.
    pub disk: Disk,
}

/// Starts the tasks of a process.
pub type Boot = Rc<dyn Fn(Process)>;

struct Machine {
    name: String,
    ip: IpAddr,
    disk: SimDisk,
    boot: Boot,
    /// Of the process that runs; none: it is down.
    executors: Vec<SimExecutor>,
    processes_started: u64,
    /// Errors of its disk before this process.
    earlier_disk_errors: u64,
}

/// How a process ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `kill -9`: what it wrote stays, its peers hear of it.
    Kill,
    /// The machine loses power: what was not durable may be gone, nobody hears of it.
    Power,
}

/// Why a run stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// The condition holds.
    Condition,
    /// The time has come.
    Time,
    /// Nothing will ever happen again.
    Quiet,
    /// It took too many steps.
    Steps,
    /// A process ended itself without a reason: no operation of its disk had failed.
    Died,
}

/// How a world behaves.
#[derive(Clone, Debug, Default)]
pub struct WorldOptions {
    /// The network between the machines.
    pub net: SimNetOptions,
    /// Every machine's disk.
    pub disk: SimDiskOptions,
    /// Moves of time after which a run stops; none: no bound.
    pub steps_max: Option<u64>,
}

/// A world and its time.
pub struct World {
    /// All executors.
    pub runtime: SimRuntime,
    /// All connections.
    pub net: SimNet,
    /// What happened.
    pub trace: Trace,
    /// The dice of whoever drives the world; its parts have their own.
    pub dice: SmallRng,
    machines: Vec<Machine>,
    options: WorldOptions,
    now_ns: u64,
    steps: u64,
}

impl World {
    /// A world without machines, at time 0.
    pub fn new(seed: u64, options: WorldOptions) -> World {
        let mut dice = SmallRng::seed_from_u64(seed);
        World {
            runtime: SimRuntime::new(dice.next_u64()),
            net: SimNet::new(dice.next_u64(), options.net),
            trace: Trace::default(),
            dice,
            machines: Vec::new(),
            options,
            now_ns: 0,
            steps: 0,
        }
    }

    /// Adds a machine that is down, with an empty disk.
    pub fn add_machine(&mut self, name: &str, boot: Boot) -> MachineId {
        let number = u8::try_from(self.machines.len() + 1).expect("a world has few machines");
        self.machines.push(Machine {
            name: name.into(),
            ip: Ipv4Addr::new(10, 0, 0, number).into(),
            disk: SimDisk::new(self.dice.next_u64(), self.options.disk.clone()),
            boot,
            executors: Vec::new(),
            processes_started: 0,
            earlier_disk_errors: 0,
        });
        MachineId(self.machines.len() - 1)
    }

    /// Starts a machine's process on `executors` executors; it must be down.
    pub fn start(&mut self, id: MachineId, executors: usize) {
        let machine = &mut self.machines[id.0];
        assert!(machine.executors.is_empty(), "{} runs already", machine.name);
        machine.processes_started += 1;
        machine.earlier_disk_errors = machine.disk.error_count();
        let mut rts = Vec::with_capacity(executors);
        for executor in 0..executors {
            let name = format!("{}.{}/{executor}", machine.name, machine.processes_started);
            let (handle, rt) = self.runtime.new_executor(&name);
            machine.executors.push(handle);
            rts.push(rt);
        }
        self.trace.log(self.now_ns, &machine.name, format_args!("starts on {executors} executors"));
        let process = Process { executors: rts, net: self.net.host(machine.ip), disk: Disk::Sim(machine.disk.clone()) };
        (machine.boot)(process);
    }

    /// Ends a machine's process, at once and without a word to itself.
    pub fn crash(&mut self, id: MachineId, crash: Crash) {
        let seed = self.dice.next_u64();
        let machine = &mut self.machines[id.0];
        self.trace.log(self.now_ns, &machine.name, format_args!("crashes: {crash:?}"));
        // The world is taken from the process before its tasks are dropped, or their destructors would still act on it.
        match crash {
            Crash::Kill => {
                machine.disk.kill(seed);
                self.net.crash_host(machine.ip);
            }
            Crash::Power => {
                machine.disk.crash(seed);
                self.net.power_off_host(machine.ip);
            }
        }
        for executor in machine.executors.drain(..) {
            self.runtime.kill_executor(executor);
        }
    }

    /// Does its process run?
    pub fn is_up(&self, id: MachineId) -> bool {
        !self.machines[id.0].executors.is_empty()
    }

    /// Its name.
    pub fn name(&self, id: MachineId) -> &str {
        &self.machines[id.0].name
    }

    /// Its address.
    pub fn ip(&self, id: MachineId) -> IpAddr {
        self.machines[id.0].ip
    }

    /// Its disk, which outlives its processes.
    pub fn disk(&self, id: MachineId) -> &SimDisk {
        &self.machines[id.0].disk
    }

    /// The executors of its process.
    pub fn executors(&self, id: MachineId) -> &[SimExecutor] {
        &self.machines[id.0].executors
    }

    /// Now, in ns of virtual time.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// How often time has moved.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// True once in `one_in`.
    pub fn chance(&mut self, one_in: u32) -> bool {
        self.dice.random_range(0..one_in) == 0
    }

    /// Adds a line to the trace.
    pub fn log(&self, who: &str, what: std::fmt::Arguments<'_>) {
        self.trace.log(self.now_ns, who, what);
    }

    /// A process has ended itself. It may, once its disk has failed it; then it is as after any crash. False: it may not.
    fn bury(&mut self, death: &Death) -> bool {
        let dead = self.machines.iter().position(|machine| machine.executors.contains(&death.executor));
        let id = MachineId(dead.expect("every executor is a machine's"));
        self.log(self.name(id), format_args!("dies: {}", death.message));
        let machine = &self.machines[id.0];
        let has_reason = machine.disk.error_count() > machine.earlier_disk_errors;
        let crash = if self.chance(2) { Crash::Kill } else { Crash::Power };
        self.crash(id, crash);
        has_reason
    }

    /// Runs until `is_done`, or until `until_ns`, whichever is first.
    pub fn run_until(&mut self, until_ns: u64, is_done: impl Fn() -> bool) -> Stopped {
        loop {
            while let Some(death) = self.runtime.run_until_death() {
                if !self.bury(&death) {
                    return Stopped::Died;
                }
            }
            if is_done() {
                return Stopped::Condition;
            }
            if self.options.steps_max.is_some_and(|steps_max| self.steps >= steps_max) {
                return Stopped::Steps;
            }
            let next_due = self.parts().filter_map(EventSource::next_due).min();
            let Some(due_ns) = next_due.filter(|due_ns| *due_ns <= until_ns) else {
                self.move_time(until_ns);
                return if next_due.is_some() { Stopped::Time } else { Stopped::Quiet };
            };
            self.move_time(due_ns);
            self.steps += 1;
        }
    }

    /// The parts, always in the same order.
    fn parts(&self) -> impl Iterator<Item = &dyn EventSource> {
        let disks = self.machines.iter().map(|machine| &machine.disk as &dyn EventSource);
        [&self.runtime as &dyn EventSource, &self.net].into_iter().chain(disks)
    }

    fn move_time(&mut self, to_ns: u64) {
        // Something may have become due while it was already late.
        self.now_ns = self.now_ns.max(to_ns);
        for part in self.parts() {
            part.run_due(self.now_ns);
        }
    }

    /// Of everything that was logged, and of every disk's operations: equal for equal runs.
    pub fn digest(&self) -> u64 {
        let digest = self.trace.digest() ^ self.now_ns.rotate_left(32) ^ self.steps;
        self.machines.iter().fold(digest, |digest, machine| digest.rotate_left(7) ^ machine.disk.trace())
    }
}
