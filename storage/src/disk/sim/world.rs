//! One simulated disk: its tree, the operations in flight, the time, the dice, and what is to go wrong.
//!
//! *Which core*: the simulation's one thread.
//! *Invariants*: an operation takes effect when it completes, in [`World::run_due`]; same seed and same calls, same everything.
//! *Not here*: the futures that wait (face.rs), what a fault is (faults.rs).

use super::super::{BLOCK_BYTES, DiskErrorReason};
use super::SimDiskOptions;
use super::faults::{Fault, FaultOn};
use super::image::{Content, Loss, Sequence};
use super::tree::{NodeId, Tree};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::task::Waker;

/// How an operation in flight ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As it should.
    Whole,
    /// With this error, or by a crash; a write may have written any part of itself.
    Broken,
}

/// What an operation does when it ends, and then whom to wake. Gets the fault that it is to report, if any.
pub(super) type Work = Box<dyn FnOnce(&mut World, Ending, Option<DiskErrorReason>) -> Option<Waker>>;

/// How long the device may keep a write of a process that is gone.
const LATE_NS_MAX: u64 = 3_000_000_000;

struct InFlight {
    on: FaultOn,
    path: PathBuf,
    /// The file, for what has a handle.
    node: Option<NodeId>,
    work: Work,
}

pub(super) struct World {
    pub(super) options: SimDiskOptions,
    pub(super) tree: Tree,
    pub(super) locks: BTreeSet<NodeId>,
    pub(super) faults: Vec<Fault>,
    pub(super) drain_waiters: Vec<Waker>,
    pub(super) stalled_until_ns: u64,
    /// How many times as long as it should an operation takes.
    pub(super) slowness: u64,
    /// Grows with every end of a process: what belongs to an earlier one is dead.
    pub(super) life: u64,
    /// The first flush that failed in this life.
    pub(super) flush_failure: Option<String>,
    pub(super) failure_waiters: Vec<Waker>,
    /// Errors that were answered, but for want of room.
    pub(super) error_count: u64,
    dice: SmallRng,
    pub(super) now_ns: u64,
    next_operation: u64,
    in_flight: BTreeMap<(u64, u64), InFlight>,
    /// Writes of killed processes that the device still has.
    late: BTreeMap<(u64, u64), InFlight>,
    trace: u64,
}

impl World {
    pub(super) fn new(seed: u64, options: SimDiskOptions) -> World {
        assert!(BLOCK_BYTES.is_multiple_of(options.sector_bytes), "a block is whole sectors");
        World {
            options,
            tree: Tree::new(),
            locks: BTreeSet::new(),
            faults: Vec::new(),
            drain_waiters: Vec::new(),
            stalled_until_ns: 0,
            slowness: 1,
            life: 0,
            flush_failure: None,
            failure_waiters: Vec::new(),
            error_count: 0,
            dice: SmallRng::seed_from_u64(seed),
            now_ns: 0,
            next_operation: 0,
            in_flight: BTreeMap::new(),
            late: BTreeMap::new(),
            trace: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Puts an operation in flight; `bytes` is what it moves, `node` the file, if it has a handle.
    pub(super) fn submit(&mut self, on: FaultOn, path: PathBuf, node: Option<NodeId>, bytes: usize, work: Work) {
        let range = match on {
            FaultOn::Read => &self.options.read_ns,
            FaultOn::Write => &self.options.write_ns,
            FaultOn::Flush => &self.options.flush_ns,
            FaultOn::Allocate | FaultOn::Name | FaultOn::SyncDir => &self.options.other_ns,
        };
        let latency_ns = self.dice.random_range(range.clone()) + bytes as u64 * self.options.ns_per_kib / 1024;
        self.next_operation += 1;
        let due_ns = self.now_ns + latency_ns * self.slowness;
        self.in_flight.insert((due_ns, self.next_operation), InFlight { on, path, node, work });
    }
    pub(super) fn next_due(&self) -> Option<u64> {
        let next = [&self.in_flight, &self.late]
            .into_iter()
            .filter_map(|some| some.first_key_value())
            .min_by_key(|next| next.0);
        next.map(|(&(due_ns, _), _)| due_ns.max(self.stalled_until_ns))
    }
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }
    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    /// Completes everything due, and says whom to wake.
    pub(super) fn run_due(&mut self, now_ns: u64) -> Vec<Waker> {
        self.now_ns = self.now_ns.max(now_ns);
        let mut wakers = Vec::new();
        while self.next_due().is_some_and(|due_ns| due_ns <= self.now_ns) {
            let next = self.in_flight.first_key_value().map(|(key, _)| *key);
            if let Some(entry) = self.late.first_entry().filter(|late| next.is_none_or(|next| *late.key() < next)) {
                let ((_, number), operation) = entry.remove_entry();
                self.land(number, operation);
                continue;
            }
            let ((_, number), operation) = self.in_flight.pop_first().expect("something is due");
            let fault = self.draw_fault(&operation);
            self.error_count += u64::from(fault.is_some());
            if let Some(reason) = fault.as_ref().filter(|_| matches!(operation.on, FaultOn::Flush | FaultOn::SyncDir)) {
                self.flush_failure.get_or_insert_with(|| format!("{}: {reason}", operation.path.display()));
                wakers.append(&mut self.failure_waiters);
            }
            self.note(number, &operation, fault.is_some());
            let ending = if fault.is_some() { Ending::Broken } else { Ending::Whole };
            wakers.extend((operation.work)(self, ending, fault));
        }
        if self.in_flight.is_empty() {
            wakers.append(&mut self.drain_waiters);
        }
        wakers
    }
    fn draw_fault(&mut self, operation: &InFlight) -> Option<DiskErrorReason> {
        let path = operation.path.to_string_lossy();
        for fault in &mut self.faults {
            if let Some(reason) = fault.strikes(operation.on, &path) {
                return Some(reason);
            }
        }
        let per_million = match operation.on {
            FaultOn::Read => self.options.read_errors_per_million,
            FaultOn::Write => self.options.write_errors_per_million,
            FaultOn::Flush => self.options.flush_errors_per_million,
            FaultOn::Allocate | FaultOn::Name | FaultOn::SyncDir => 0,
        };
        let strikes = per_million > 0 && self.dice.random_range(0..1_000_000) < per_million;
        strikes.then(|| DiskErrorReason::Io("Input/output error".to_owned()))
    }
    /// Folds what happens into one number (FNV-1a), so that two runs can be compared.
    fn note(&mut self, number: u64, operation: &InFlight, failed: bool) {
        let head = [self.now_ns, number, operation.on as u64, u64::from(failed)];
        let bytes = head.iter().flat_map(|word| word.to_le_bytes());
        for byte in bytes.chain(operation.path.as_os_str().as_encoded_bytes().iter().copied()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// A write of a process that is gone gets to its file.
    fn land(&mut self, number: u64, operation: InFlight) {
        self.note(number, &operation, false);
        drop((operation.work)(self, Ending::Whole, None));
    }
    /// Whoever waits for the writes that earlier processes have left to a file finds them done.
    pub(super) fn land_all(&mut self, node: NodeId) {
        let of_file: Vec<_> = self.late.extract_if(.., |_, operation| operation.node == Some(node)).collect();
        for ((_, number), operation) in of_file {
            self.land(number, operation);
        }
    }

    /// The process ends: operations in flight happen, wholly or in part, or not, or, if they are writes, some time later; nobody
    /// hears of it. Handles and locks go.
    pub(super) fn end_process(&mut self, dice: &mut SmallRng) {
        let mut in_flight: Vec<_> = std::mem::take(&mut self.in_flight).into_iter().collect();
        in_flight.shuffle(dice);
        for ((_, number), operation) in in_flight {
            match (dice.random_range(0..4), operation.on) {
                (0, _) => drop((operation.work)(self, Ending::Whole, None)),
                (1, FaultOn::Write) => drop((operation.work)(self, Ending::Broken, None)),
                (2, FaultOn::Write) => {
                    self.late.insert((self.now_ns + dice.random_range(0..=LATE_NS_MAX), number), operation);
                }
                _ => {}
            }
        }
        self.life += 1;
        self.flush_failure = None;
        self.failure_waiters.clear();
        self.locks.clear();
        self.drain_waiters.clear();
        self.tree.close_all();
    }
    /// The machine loses power, after [`World::end_process`].
    pub(super) fn lose_power(&mut self, dice: &mut SmallRng) {
        // Crashes that keep all or nothing find other faults than those that keep half.
        let survival = [0.0, 0.1, 0.5, 0.9, 1.0][dice.random_range(0..5)];
        self.late.clear();
        self.tree.lose_power(&mut Loss { dice, survival, sector_bytes: self.options.sector_bytes });
        self.stalled_until_ns = 0;
    }

    /// Fails if `blocks` more do not fit.
    fn reserve(&self, blocks: u64) -> Result<(), DiskErrorReason> {
        if blocks > 0 && blocks * BLOCK_BYTES as u64 > self.free_bytes() {
            return Err(DiskErrorReason::NoSpace);
        }
        Ok(())
    }
    pub(super) fn free_bytes(&self) -> u64 {
        match self.options.capacity_bytes {
            None => u64::MAX / 2,
            Some(capacity) => capacity.saturating_sub(self.used_bytes()),
        }
    }
    pub(super) fn used_bytes(&self) -> u64 {
        self.tree.block_count() * BLOCK_BYTES as u64
    }
    pub(super) fn write(
        &mut self,
        node: NodeId,
        position: u64,
        bytes: &[u8],
        ending: Ending,
    ) -> Result<(), DiskErrorReason> {
        let first = position / BLOCK_BYTES as u64;
        let contents: Vec<Content> = bytes.chunks(BLOCK_BYTES).map(Content::new).collect();
        self.reserve(self.tree.file(node)?.missing(first..first + contents.len() as u64))?;
        for (block, content) in (first..).zip(&contents).filter(|_| ending == Ending::Broken) {
            if self.dice.random_bool(0.5) {
                let (file, sequence) = self.tree.file_mut(node)?;
                file.write(sequence, block, std::slice::from_ref(content));
            }
        }
        if ending == Ending::Whole {
            let (file, sequence) = self.tree.file_mut(node)?;
            file.write(sequence, first, &contents);
        }
        Ok(())
    }
    pub(super) fn allocate(&mut self, node: NodeId, bytes: u64) -> Result<(), DiskErrorReason> {
        self.reserve(self.tree.file(node)?.missing(0..bytes.div_ceil(BLOCK_BYTES as u64)))?;
        let (file, sequence) = self.tree.file_mut(node)?;
        file.allocate(sequence, bytes);
        Ok(())
    }
    pub(super) fn flush(&mut self, node: NodeId, upto: Sequence, ending: Ending) {
        if ending == Ending::Broken {
            let dice = &mut self.dice;
            self.tree.each_dirty(|_, file| file.lose_cached(upto, dice));
        } else if !self.options.bug_skip_flush {
            let device = self.options.barrier_holds && !self.options.bug_forget_barrier;
            self.tree.flush(node, upto, device);
        }
    }
}
