//! The simulated disk: its own data, sizes, extents and directory entries, and what of them is durable.
//!
//! *Which core*: the simulation's one thread. One [`SimDisk`] is one machine's disk; it outlives its processes.
//! *Invariants*: time moves only by [`SimDisk::run_due`], and everything is drawn from the seed, so that the same seed and the
//! same calls give the same disk. What a flush covers is exactly what the design's barrier rule says, and no more.
//! *Not here*: pretending that a device tears within a sector, or that a flushed block rots (but see [`SimDisk::flip_bit`]).
//! *Why* so strict: real disks lose less than they may, so faults in what is flushed when would not show on them.

mod face;
mod faults;
mod image;
#[cfg(test)]
mod tests;
mod tree;
mod world;

pub use face::{SimFile, SimLock};
pub use faults::{Fault, FaultOn};

use image::SimInode;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use world::World;

/// A simulated disk of one machine. Cheap to clone; every clone is the same disk.
#[derive(Clone)]
pub struct SimDisk {
    world: Rc<RefCell<World>>,
}

/// What kind of disk to simulate.
#[derive(Clone, Debug)]
pub struct SimDiskOptions {
    /// How long a read takes, in ns, besides its bytes.
    pub read_ns: RangeInclusive<u64>,
    /// How long a write takes, in ns, besides its bytes.
    pub write_ns: RangeInclusive<u64>,
    /// How long a flush of a file takes, in ns.
    pub flush_ns: RangeInclusive<u64>,
    /// How long anything else takes, in ns.
    pub other_ns: RangeInclusive<u64>,
    /// How long a KiB takes to move, in ns.
    pub ns_per_kib: u64,
    /// Room for file blocks, in bytes.
    pub capacity_bytes: Option<u64>,
    /// What the device writes whole: 512 or 4096.
    pub sector_bytes: usize,
    /// Does a flush of one file cover what others have written in place, as on ext4 and XFS?
    pub barrier_holds: bool,
    /// Of a million reads, how many fail.
    pub read_errors_per_million: u32,
    /// Of a million writes, how many fail.
    pub write_errors_per_million: u32,
    /// Of a million flushes, how many fail.
    pub flush_errors_per_million: u32,
    /// A fault to find: a flush makes only its own file durable, though the disk says otherwise.
    pub bug_forget_barrier: bool,
    /// A fault to find: flushes say so and do nothing.
    pub bug_skip_flush: bool,
    /// A fault to find: who takes a file over does not wait for the writes that a killed process has left.
    pub bug_take_over_early: bool,
}

impl Default for SimDiskOptions {
    /// A healthy NVMe disk of 512-byte sectors with ext4.
    fn default() -> SimDiskOptions {
        SimDiskOptions {
            read_ns: 40_000..=200_000,
            write_ns: 20_000..=300_000,
            flush_ns: 50_000..=1_000_000,
            other_ns: 20_000..=500_000,
            ns_per_kib: 500,
            capacity_bytes: None,
            sector_bytes: 512,
            barrier_holds: true,
            read_errors_per_million: 0,
            write_errors_per_million: 0,
            flush_errors_per_million: 0,
            bug_forget_barrier: false,
            bug_skip_flush: false,
            bug_take_over_early: false,
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64, options: SimDiskOptions) -> SimDisk {
        SimDisk { world: Rc::new(RefCell::new(World::new(seed, options))) }
    }

    /// When the next operation completes, in virtual ns.
    pub fn next_due(&self) -> Option<u64> {
        self.world.borrow().next_due()
    }
    /// Time is now `now_ns`: completes what is due, and wakes who waits. Call it whenever time moves, before tasks run, since
    /// an operation's latency counts from the last such call.
    pub fn run_due(&self, now_ns: u64) {
        let wakers = self.world.borrow_mut().run_due(now_ns);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// kill -9 of the process: what completed stays, what is in flight happens in part, wholly or not at all, unanswered; a write
    /// may also happen later, up to seconds after the next process has begun. Every handle fails from now on, every lock is free.
    /// The disk can be used again at once.
    pub fn kill(&self, seed: u64) {
        self.world.borrow_mut().end_process(&mut SmallRng::seed_from_u64(seed));
    }
    /// Power loss: as [`SimDisk::kill`], and of what is not durable any part is gone.
    pub fn crash(&self, seed: u64) {
        let dice = &mut SmallRng::seed_from_u64(seed);
        let mut world = self.world.borrow_mut();
        world.end_process(dice);
        world.lose_power(dice);
    }

    /// Adds a fault; of several that fit an operation, the first counts.
    pub fn fail(&self, fault: Fault) {
        self.world.borrow_mut().faults.push(fault);
    }
    /// Takes back all faults and error rates.
    pub fn heal(&self) {
        let mut world = self.world.borrow_mut();
        world.faults.clear();
        world.options.read_errors_per_million = 0;
        world.options.write_errors_per_million = 0;
        world.options.flush_errors_per_million = 0;
    }
    /// Nothing completes before `until_ns`.
    pub fn stall_until(&self, until_ns: u64) {
        self.world.borrow_mut().stalled_until_ns = until_ns;
    }
    /// From now on everything takes `factor` times as long; 1: as it should.
    pub fn slow_down(&self, factor: u64) {
        self.world.borrow_mut().slowness = factor;
    }
    /// What file blocks take.
    pub fn used_bytes(&self) -> u64 {
        self.world.borrow().used_bytes()
    }
    /// How many operations have failed, not counting those for want of room.
    pub fn error_count(&self) -> u64 {
        self.world.borrow().error_count
    }
    /// Room for file blocks from now on.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<u64>) {
        self.world.borrow_mut().options.capacity_bytes = capacity_bytes;
    }
    /// Turns a bit (0 to 7) of the byte at `position` of a file over, on the medium. False if there is no such byte.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> bool {
        let tree = &mut self.world.borrow_mut().tree;
        let Ok(node) = tree.resolve(path) else { return false };
        match tree.file_mut(node) {
            Ok((file, _)) if position < file.current().bytes => {
                file.flip(position, bit);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }

    /// What a file holds now, durable or not.
    pub fn file_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.world.borrow();
        let file = world.tree.file(world.tree.resolve(path).ok()?).ok()?;
        let mut bytes = vec![0; file.current().bytes as usize];
        file.current().read(0, &mut bytes);
        Some(bytes)
    }
    /// Every file under a directory that is durable under its name, with what of it is durable: what is left if power is lost now,
    /// and with it all that may go.
    pub fn durable_files(&self, dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        self.world.borrow().tree.durable_files(dir)
    }
    /// Puts a file there, durably, with its directories.
    pub fn set_file_bytes(&self, path: &Path, contents: &[u8]) {
        self.world.borrow_mut().tree.put_durable(path, SimInode::durable(contents));
    }
    /// A digest of every completed operation, its time and its fate: equal for equal runs.
    pub fn trace(&self) -> u64 {
        self.world.borrow().trace()
    }
}

/// Runs a future with this disk as the only source of events, from its own next event to the next. For tests. Panics when the
/// future waits for something that no event of the disk can bring.
pub fn sim_block_on<T>(disk: &SimDisk, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        let due_ns = disk.next_due().expect("the future waits, but the disk has nothing under way");
        disk.run_due(due_ns);
    }
}
