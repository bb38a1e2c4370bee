//! The metadata node: the loop that turns requests into committed changes, and changes into images that every core knows.
//!
//! *Which core*: metadata; everything here lives on its executor.
//! *Invariants*: a request is proposed when it arrives, never at a tick; it is answered after its change is flushed, committed,
//! applied, and acknowledged by every subscriber; answers leave in the order of their changes. Nothing is borrowed across an
//! await. After an error of the disk nothing is proposed, acknowledged or written any more ([`Node::failed`] tells).
//! *Not here*: decisions (controller), bytes (raft_log), who the subscribers are.
//! *Why* one machine and thin tasks: `machine` holds raft and does no I/O; the tasks here carry its outputs to the disk
//! (`write`), to subscribers and to peers. What arrives while a flush is under way goes into the next one: that is all the
//! batching there is.
//!
//! ```text
//! submit, receive, tick -> machine -> records  -> write (one write, one flush) -> machine.on_persisted
//!                                  -> applied  -> publisher -> acknowledged -> answers
//!                                  -> messages -> next_message (peers: see `quorum`)
//! ```

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use raft::SnapshotStatus;
use raft::eraftpb::Message;
use storage::disk::{Disk, DiskError};

use super::controller::Rules;
use super::image::{Image, Voter};
use super::publish::{Publisher, Subscription};
use super::raft_log::open::{self, Opened};
use super::raft_log::{Identity, OpenError};
use super::request::{Reply, Request, SubmitError};
use super::wait::Signal;
use crate::metrics::MetadataMetrics;
use crate::model::{BrokerId, TopicId};
use crate::rt::Rt;

mod decide;
mod logger;
mod machine;
mod report;
mod stats;
mod write;

pub use machine::WAITING_REQUESTS_MAX;
pub use stats::NodeStats;

use machine::{Machine, Output};
use stats::Stats;

/// Time between two ticks of raft's clock; a lone voter's stands still.
pub const TICK: Duration = Duration::from_millis(100);
/// Messages that wait for their peers' streams; above it, raft is told that the peer is unreachable.
const OUTBOX_MESSAGES_MAX: usize = 4096;

/// What a node is opened with.
#[derive(Clone)]
pub struct NodeOptions {
    /// Who it is.
    pub identity: Identity,
    /// The voters that an empty directory begins with, this node among them; `None`: it must not be empty.
    pub initial_voters: Option<Vec<Voter>>,
    /// What decisions are made by.
    pub rules: Rules,
    /// A snapshot is due when the log has grown by so many bytes since the last; no more of it stays in memory for followers
    /// than these, but for those that are slow.
    pub snapshot_bytes: u64,
    /// Or by so many entries.
    pub snapshot_entries: u64,
    /// Where it counts.
    pub metrics: Arc<MetadataMetrics>,
}

impl NodeOptions {
    /// A group of one on its own.
    pub fn standalone(identity: Identity, rules: Rules) -> NodeOptions {
        let voter = initial_voter(identity.node_id, Some(identity.directory_id));
        NodeOptions {
            identity,
            initial_voters: Some(vec![voter]),
            rules,
            snapshot_bytes: 64 << 20,
            snapshot_entries: 100_000,
            metrics: Arc::default(),
        }
    }
}

/// The voter that a broker is in a group's first configuration; `None`: its directory is not known yet.
pub fn initial_voter(node_id: BrokerId, directory_id: Option<uuid::Uuid>) -> Voter {
    let raft_id = u64::from(node_id.0.unsigned_abs()) + 1;
    Voter { raft_id, node_id, directory_id }
}

/// Why a node works no more: the process has to end.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NodeFailure {
    /// The raft log could not be written or flushed: nobody knows what it holds.
    #[error("raft log: {0}")]
    Disk(#[from] DiskError),
    /// An entry that was committed cannot be applied.
    #[error("metadata log: {0}")]
    Apply(String),
}

/// See the module.
pub struct Node {
    rt: Rt,
    disk: Disk,
    machine: RefCell<Machine>,
    publisher: Publisher,
    /// Raised when the machine, the writer or a subscriber has news.
    work: Rc<Signal>,
    /// What waits to be written.
    jobs: RefCell<VecDeque<write::Job>>,
    /// Raised when a job comes, or the node stops.
    jobs_changed: Signal,
    outbox: RefCell<VecDeque<Message>>,
    state_changed: Signal,
    stopping: Cell<bool>,
    running_tasks: Cell<u32>,
    /// From the start of a snapshot until the log begins after it.
    snapshotting: Cell<bool>,
    failure: RefCell<Option<NodeFailure>>,
    stats: Stats,
}

impl Node {
    /// Opens the node's state in `dir` (an absolute path) and starts its tasks on this executor. A group of one comes back
    /// leading and caught up; otherwise await [`Node::caught_up`] before relying on the image.
    ///
    /// # Errors
    /// See [`OpenError`]: the state is missing, corrupt, contradictory or somebody else's. Never repaired by itself.
    pub async fn open(rt: Rt, disk: Disk, dir: &Path, options: NodeOptions) -> Result<Rc<Node>, OpenError> {
        let opened = open::open(&disk, dir, &options.identity, options.initial_voters.as_deref()).await?;
        let Opened { wal, tail, image, voter } = opened;
        let seed = rt.random_u64();
        let machine = Machine::new(voter, options.rules, image, tail, seed, options.snapshot_bytes)
            .map_err(|error| OpenError::Inconsistent { dir: dir.to_owned(), reason: error.to_string() })?;
        let is_alone = machine.is_alone();
        let stats = Stats::new(options.metrics.clone());
        stats.on_image(&machine.image(), machine.am_controller());
        let work = Rc::new(Signal::default());
        let node = Rc::new(Node {
            rt: rt.clone(),
            disk,
            machine: RefCell::new(machine),
            publisher: Publisher::new(work.clone()),
            work,
            jobs: RefCell::default(),
            jobs_changed: Signal::default(),
            outbox: RefCell::default(),
            state_changed: Signal::default(),
            stopping: Cell::new(false),
            running_tasks: Cell::new(2),
            snapshotting: Cell::new(false),
            failure: RefCell::new(None),
            stats,
        });
        rt.spawn(node.clone().drive());
        rt.spawn(write::Writer::new(node.clone(), wal, dir, &options).run());
        if is_alone {
            // It leads after its first flush. If that fails, `failed` says so.
            node.caught_up().await;
        } else {
            rt.spawn(node.clone().tick());
        }
        Ok(node)
    }

    /// The image as of the last entry applied.
    pub fn image(&self) -> Arc<Image> {
        self.machine.borrow().image()
    }

    /// raft's name for this node.
    pub fn raft_id(&self) -> u64 {
        self.machine.borrow().voter().raft_id
    }

    /// Does this node decide?
    pub fn am_controller(&self) -> bool {
        self.machine.borrow().am_controller()
    }

    /// Asks for a change. Resolves when it counts: committed, applied, and acknowledged by every subscriber. If the future is
    /// dropped, the change goes on.
    ///
    /// # Errors
    /// See [`SubmitError`]: nothing was changed, but for `Unknown` and `Stopping`.
    pub async fn submit(&self, request: Request) -> Result<Reply, SubmitError> {
        if self.stopping.get() {
            return Err(SubmitError::Stopping);
        }
        let ids = self.fresh_ids(&request);
        let ticket = self.machine.borrow_mut().submit(&request, &ids, self.rt.now())?;
        self.work.raise();
        ticket.await.unwrap_or(Err(SubmitError::Stopping))
    }

    /// Waits until this node has applied a version and every subscriber acts on it; returns also when the node stops.
    pub async fn reached(&self, version: u64) {
        self.state_changed.until(|| (self.stopping.get() || self.acted_on() >= version).then_some(())).await;
    }

    /// The version that this node has applied and every subscriber acts on.
    pub fn acted_on(&self) -> u64 {
        self.image().version().min(self.publisher.acknowledged())
    }

    /// A new subscriber. Its first publication is everything there is; from now on requests wait for its acknowledgements too,
    /// so whoever subscribes must go on taking and acknowledging, or drop it.
    pub fn subscribe(&self) -> Subscription {
        self.publisher.subscribe(self.image())
    }

    /// Waits until this node has applied everything that was committed before its controller (itself, in a group of one) took
    /// office. False: it stopped before.
    pub async fn caught_up(&self) -> bool {
        let reached = || match self.stopping.get() {
            true => Some(false),
            false => self.machine.borrow().is_caught_up().then_some(true),
        };
        self.state_changed.until(reached).await
    }

    /// Waits for the error that ends this node; the process must end then.
    pub async fn failed(&self) -> NodeFailure {
        self.state_changed.until(|| self.failure.borrow().clone()).await
    }

    /// Counters, as of now.
    pub fn stats(&self) -> NodeStats {
        self.stats.read(&self.machine.borrow())
    }

    /// Stops: takes no more requests, writes what is proposed, answers what counts by then (`Stopping` to the rest), ends all
    /// subscriptions and tasks.
    pub async fn stop(&self) {
        self.stopping.set(true);
        self.jobs_changed.raise();
        self.work.raise();
        self.state_changed.raise();
        self.state_changed.until(|| (self.running_tasks.get() == 0).then_some(())).await;
        self.publisher.close();
        self.machine.borrow_mut().refuse_all();
    }

    /// A message from a peer. Only one stream per peer, in order.
    pub fn receive(&self, message: Message) {
        self.machine.borrow_mut().on_message(message, self.rt.now());
        self.work.raise();
    }

    /// A peer cannot be reached: what was sent to it last is lost.
    pub fn unreachable(&self, raft_id: u64) {
        self.machine.borrow_mut().on_unreachable(raft_id);
        self.work.raise();
    }

    /// A snapshot has gone to a peer, or did not get there.
    pub fn snapshot_sent(&self, raft_id: u64, status: SnapshotStatus) {
        self.machine.borrow_mut().on_snapshot_sent(raft_id, status);
        self.work.raise();
    }

    /// The next message to a peer, for as long as the node runs.
    pub async fn next_message(&self) -> Option<Message> {
        let taken = || match self.outbox.borrow_mut().pop_front() {
            None if self.stopping.get() => Some(None),
            None => None,
            message => Some(message),
        };
        self.state_changed.until(taken).await
    }

    async fn drive(self: Rc<Node>) {
        loop {
            let acknowledged = self.publisher.acknowledged();
            let output = self.machine.borrow_mut().turn(acknowledged, self.rt.now());
            let idle = output.is_empty();
            self.carry_out(output);
            if !idle {
                // What was published may be acknowledged already, and requests may have come.
                self.rt.yield_if_needed().await;
                continue;
            }
            if self.stopping.get() {
                if self.is_quiet() {
                    break;
                }
                // The writer ends when the machine is idle: let it look.
                self.jobs_changed.raise();
            }
            self.wait_for_work().await;
        }
        self.end_task();
    }

    /// Waits until the machine has something to do that `turn` did not see.
    async fn wait_for_work(&self) {
        let raised = Cell::new(false);
        self.work.until(|| raised.replace(true).then_some(())).await;
    }

    fn carry_out(&self, output: Output) {
        if let Some(fault) = output.fault {
            self.fail(NodeFailure::Apply(fault));
        }
        self.stats.on_committed(&output.committed);
        output.led_term.into_iter().for_each(|term| self.stats.on_leader(term));
        if let Some(publication) = output.publication {
            self.stats.on_image(&publication.image, self.am_controller());
            self.publisher.publish(&publication);
        }
        self.send(output.messages);
        let has_work = !output.jobs.is_empty() || self.needs_snapshot();
        self.jobs.borrow_mut().extend(output.jobs);
        if has_work {
            self.jobs_changed.raise();
        }
        self.state_changed.raise();
    }

    fn send(&self, messages: Vec<Message>) {
        let mut outbox = self.outbox.borrow_mut();
        for message in messages {
            if outbox.len() < OUTBOX_MESSAGES_MAX {
                outbox.push_back(message);
            } else {
                self.machine.borrow_mut().on_unreachable(message.to);
            }
        }
    }

    async fn tick(self: Rc<Node>) {
        while !self.stopping.get() {
            self.rt.sleep(TICK).await;
            self.machine.borrow_mut().on_tick(self.rt.now());
            self.work.raise();
        }
    }

    /// Does a follower need a snapshot that there is not, and that is not under way?
    fn needs_snapshot(&self) -> bool {
        !self.stopping.get() && !self.snapshotting.get() && self.machine.borrow().wants_snapshot()
    }

    /// Ends everything, because of an error that is final.
    fn fail(&self, failure: NodeFailure) {
        tracing::error!(%failure, "the metadata node failed");
        self.failure.borrow_mut().get_or_insert(failure);
        self.stopping.set(true);
        self.machine.borrow_mut().refuse_all();
        self.jobs.borrow_mut().clear();
        self.jobs_changed.raise();
        self.work.raise();
        self.state_changed.raise();
    }

    /// Is nothing left to be done but to end?
    fn is_quiet(&self) -> bool {
        self.failure.borrow().is_some() || self.running_tasks.get() == 1
    }

    fn end_task(&self) {
        self.running_tasks.set(self.running_tasks.get() - 1);
        self.work.raise();
        self.state_changed.raise();
    }

    /// A fresh id for each topic that may be created: random (version 4), and none whose text begins with a dash, which
    /// command lines would take for a flag.
    fn fresh_ids(&self, request: &Request) -> Vec<TopicId> {
        let Request::CreateTopics { topics, .. } = request else { return Vec::new() };
        let draw = || {
            let bytes = (u128::from(self.rt.random_u64()) << 64 | u128::from(self.rt.random_u64())).to_be_bytes();
            uuid::Builder::from_random_bytes(bytes).into_uuid()
        };
        let dash = |id: &uuid::Uuid| id.as_bytes()[0] >> 2 == 62;
        let fresh = || std::iter::repeat_with(draw).find(|id| !dash(id)).map(TopicId);
        topics.iter().filter_map(|_| fresh()).collect()
    }
}

#[cfg(test)]
mod tests;
