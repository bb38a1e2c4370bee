//! raft and the image in one machine without I/O: requests, messages, ticks and completed writes in; records, messages and
//! publications out.
//!
//! *Which core*: metadata.
//! *Invariants*: between raft's `ready` and `advance` nothing else is called, for `turn` does both without a pause; what raft
//! may read is in the tail before it advances; `image` holds every committed entry that was handed out, once (lesson 49);
//! `proposed` is `image` plus everything that this node has proposed in its term, so that a decision sees those before it.
//! *Not here*: the disk, time other than what is passed in. A panic of raft ends the process, as everywhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::{Message, MessageType};
use raft::{Config, RawNode, SnapshotStatus, StateRole};

use self::office::Office;
use super::decide::{Grounds, decide};
use super::logger;
use super::write::Job;
use crate::local::{OneshotReceiver, OneshotSender, oneshot};
use crate::metadata::change::Change;
use crate::metadata::controller::{Decision, Rules};
use crate::metadata::image::{Delta, Image, Voter};
use crate::metadata::publish::Publication;
use crate::metadata::raft_log::RECORD_BYTES_MAX;
use crate::metadata::raft_log::record::LogRecord;
use crate::metadata::raft_log::tail::{SnapshotImage, TAIL_BYTES_MAX, Tail};
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::{BrokerId, TopicId};
use crate::rt::Monotonic;

mod office;
mod turn;

/// Requests that wait for their commit or for acknowledgements; above it, more are refused.
pub const WAITING_REQUESTS_MAX: usize = 4096;
/// Bytes that wait uncommitted; above it, more are refused.
const UNCOMMITTED_BYTES_MAX: u64 = 16 << 20;
const MESSAGE_BYTES_MAX: u64 = 1 << 20;
const COMMITTED_BYTES_PER_READY_MAX: u64 = 4 << 20;
const HEARTBEAT_TICKS: usize = 1;
/// Who hears no leader for so long, and up to twice as long, calls an election.
const ELECTION_TICKS: usize = 3;

type Outcome = Result<Reply, SubmitError>;

/// See the module.
pub(super) struct Machine {
    raw: RawNode<Tail>,
    voter: Voter,
    rules: Rules,
    image: Arc<Image>,
    proposed: Image,
    /// The term in which this node leads, once it has applied everything from before it.
    reign: Option<u64>,
    office: Office,
    waiting: VecDeque<Waiting>,
    /// Bytes of applied entries that stay in memory whoever needs them.
    tail_bytes_max: usize,
    /// Entries up to here must stay in the tail: a snapshot is under way.
    keep_above: Option<u64>,
    elections: u64,
    seed: u64,
}

/// A request whose answer waits.
struct Waiting {
    /// Until this version is applied and acknowledged.
    version: u64,
    reply: Reply,
    answer: OneshotSender<Outcome>,
    submitted: Monotonic,
    /// Did it propose anything, and is that not committed yet?
    in_flight: bool,
}

/// What a turn asks for.
#[derive(Default)]
pub(super) struct Output {
    pub(super) messages: Vec<Message>,
    pub(super) jobs: Vec<Job>,
    pub(super) publication: Option<Publication>,
    /// Of each change that was committed: how long ago it was asked for.
    pub(super) committed: Vec<Duration>,
    /// The term, where its leader is known.
    pub(super) led_term: Option<u64>,
    /// A committed entry that cannot be applied.
    pub(super) fault: Option<String>,
}

impl Output {
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.jobs.is_empty() && self.publication.is_none() && self.fault.is_none()
    }
}

impl Machine {
    /// The node as it comes back; a lone voter campaigns at once.
    pub(super) fn new(
        voter: Voter,
        rules: Rules,
        image: Image,
        tail: Tail,
        seed: u64,
        snapshot_bytes: u64,
    ) -> raft::Result<Machine> {
        let config = Config {
            id: voter.raft_id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: image.version(),
            max_size_per_msg: MESSAGE_BYTES_MAX,
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            max_uncommitted_size: UNCOMMITTED_BYTES_MAX,
            max_committed_size_per_ready: COMMITTED_BYTES_PER_READY_MAX,
            ..Config::default()
        };
        let raw = RawNode::new(&config, tail, &logger::bridge())?;
        let mut machine = Machine {
            raw,
            voter,
            rules,
            proposed: image.clone(),
            image: Arc::new(image),
            reign: None,
            office: Office::default(),
            waiting: VecDeque::new(),
            tail_bytes_max: usize::try_from(snapshot_bytes).unwrap_or(usize::MAX).min(TAIL_BYTES_MAX),
            keep_above: None,
            elections: 0,
            seed,
        };
        if machine.is_alone() {
            machine.raw.campaign()?;
        }
        machine.set_election_timeout();
        Ok(machine)
    }

    /// Is this node the group's only voter?
    pub(super) fn is_alone(&self) -> bool {
        *self.raw.store().conf_state().voters == [self.voter.raft_id]
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.image.clone()
    }

    /// Nothing to be done, until a record is persisted or something comes from outside.
    pub(super) fn is_idle(&self) -> bool {
        !self.raw.has_ready()
    }

    pub(super) fn is_caught_up(&self) -> bool {
        let raft = &self.raw.raft;
        self.reign.is_some() || (raft.leader_id != 0 && raft.state != StateRole::Leader && self.knows_commit_of_term())
    }

    /// A follower has caught up with its leader's term once it has applied an entry of it.
    fn knows_commit_of_term(&self) -> bool {
        self.raw.raft.raft_log.term(self.image.version()).is_ok_and(|term| term == self.raw.raft.term)
    }

    pub(super) fn am_controller(&self) -> bool {
        self.reign.is_some()
    }

    pub(super) fn raft_state(&self) -> RaftState {
        let raft = &self.raw.raft;
        RaftState {
            term: raft.term,
            committed_index: raft.raft_log.committed,
            applied_index: self.image.version(),
            elections: self.elections,
            am_controller: self.reign.is_some(),
            waiting: self.waiting.len(),
        }
    }

    /// Decides over a request and proposes what follows from it.
    pub(super) fn submit(
        &mut self,
        request: &Request,
        ids: &[TopicId],
        now: Monotonic,
    ) -> Result<OneshotReceiver<Outcome>, SubmitError> {
        self.watch_leadership();
        if self.reign.is_none() {
            return Err(SubmitError::NotController { controller: self.controller_elsewhere() });
        }
        if self.waiting.len() >= WAITING_REQUESTS_MAX {
            return Err(SubmitError::Busy);
        }
        self.attend(now);
        self.office.on_request(request, &self.proposed, now);
        let grounds = Grounds {
            image: &self.proposed,
            rules: &self.rules,
            liveness: self.office.liveness(),
            ids,
            index: self.raw.raft.raft_log.last_index() + 1,
            quorum: &|| self.quorum(now),
        };
        let Decision { outcome, changes } = decide(request, &grounds);
        let in_flight = !changes.is_empty();
        self.propose_all(&changes)?;
        let (answer, ticket) = oneshot();
        let version = self.proposed.version();
        self.waiting.push_back(Waiting { version, reply: outcome, answer, submitted: now, in_flight });
        Ok(ticket)
    }

    fn propose_all(&mut self, changes: &[Change]) -> Result<(), SubmitError> {
        changes.iter().try_for_each(|change| self.propose(change))
    }

    fn propose(&mut self, change: &Change) -> Result<(), SubmitError> {
        let index = self.raw.raft.raft_log.last_index() + 1;
        let bytes = change.to_bytes().map_err(|error| SubmitError::TooLarge(error.to_string()))?;
        let (after, _) = self.proposed.apply(index, change).expect("a decision fits the image it was made over");
        // Dropped: too much is uncommitted, or leadership is being handed over.
        self.raw.propose(Vec::new(), bytes).map_err(|_| SubmitError::Busy)?;
        assert_eq!(self.raw.raft.raft_log.last_index(), index);
        self.proposed = after;
        Ok(())
    }

    pub(super) fn on_message(&mut self, message: Message, now: Monotonic) {
        // Followers do not propose: whoever is asked says who the controller is (lesson 46).
        if message.get_msg_type() != MessageType::MsgPropose {
            // An error is a message from somebody who is not of the group: there is nobody to tell.
            let from = message.from;
            let _ = self.raw.step(message);
            self.set_election_timeout();
            self.on_voter_heard(from, now);
        }
    }

    pub(super) fn on_tick(&mut self, now: Monotonic) {
        self.raw.tick();
        self.set_election_timeout();
        self.watch_leadership();
        self.govern(now);
    }

    pub(super) fn on_unreachable(&mut self, peer: u64) {
        self.raw.report_unreachable(peer);
    }

    pub(super) fn on_snapshot_sent(&mut self, peer: u64, status: SnapshotStatus) {
        self.raw.report_snapshot(peer, status);
    }

    /// Everything up to this number is durable.
    pub(super) fn on_persisted(&mut self, number: u64) {
        self.raw.on_persist_ready(number);
    }

    /// A snapshot from the leader is durable: it is the image from now on.
    pub(super) fn on_installed(&mut self, image: Image) -> Publication {
        self.raw.advance_apply_to(image.version());
        let image = image.with_controller(self.controller());
        let delta = Delta::between(&self.image, &image);
        self.image = Arc::new(image);
        Publication { image: self.image.clone(), delta: Arc::new(delta) }
    }

    /// The node stops: nobody waits any more.
    pub(super) fn refuse_all(&mut self) {
        for waiting in self.waiting.drain(..) {
            waiting.answer.send(Err(SubmitError::Stopping));
        }
        self.reign = None;
    }

    /// What a snapshot is made of, as of the last applied entry; entries above it stay until [`Machine::end_snapshot`].
    /// `None` if there is one of it already, or one under way.
    pub(super) fn begin_snapshot(&mut self) -> Option<(Arc<Image>, SnapshotImage)> {
        let index = self.image.version();
        let store = self.raw.store();
        let newer = store.snapshot_image().is_none_or(|held| held.index < index);
        let term = store.term_of(index).filter(|_| newer && self.keep_above.is_none())?;
        let conf_state = store.conf_state().clone();
        self.keep_above = Some(index);
        Some((self.image.clone(), SnapshotImage { index, term, conf_state, image: Default::default() }))
    }

    /// The snapshot is durable (or, `None`, is not to be): gives the first record of the log that begins after it, unless so much
    /// has changed since that it would be no record.
    pub(super) fn end_snapshot(&mut self, snapshot: Option<SnapshotImage>) -> Option<LogRecord> {
        self.keep_above = None;
        let store = self.raw.mut_store();
        let snapshot = snapshot.filter(|new| store.snapshot_image().is_none_or(|held| held.index < new.index))?;
        let entries = store.entries_above(snapshot.index);
        store.set_snapshot(snapshot);
        let bytes: usize = entries.iter().map(|entry| entry.data.len()).sum();
        (bytes <= RECORD_BYTES_MAX / 2).then(|| LogRecord::of(store.hard_state(), &entries))
    }

    /// Does a follower need a snapshot that there is not?
    pub(super) fn wants_snapshot(&self) -> bool {
        self.raw.store().snapshot_is_wanted()
    }

    /// As [`Machine::wants_snapshot`]; asking takes it back, and raft asks again for as long as it is so.
    pub(super) fn take_snapshot_wanted(&mut self) -> bool {
        self.raw.store().take_snapshot_wanted()
    }

    pub(super) fn voter(&self) -> Voter {
        self.voter
    }

    /// The broker that decides, as far as this node knows.
    fn controller(&self) -> Option<BrokerId> {
        match self.reign {
            Some(_) => Some(self.voter.node_id),
            None => self.controller_elsewhere(),
        }
    }

    fn controller_elsewhere(&self) -> Option<BrokerId> {
        let leader = self.raw.raft.leader_id;
        (leader != self.voter.raft_id).then(|| self.image.voters().get(&leader).map(|voter| voter.node_id))?
    }

    /// raft draws its own random timeout; ours follows from seed and term, so that a simulation repeats.
    fn set_election_timeout(&mut self) {
        let raft = &mut self.raw.raft;
        let dice = (self.seed ^ raft.term.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let extra = usize::try_from((dice >> 32) % ELECTION_TICKS as u64).unwrap_or(0);
        raft.set_randomized_election_timeout(ELECTION_TICKS + extra);
    }
}

/// Where raft stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct RaftState {
    pub(super) term: u64,
    pub(super) committed_index: u64,
    pub(super) applied_index: u64,
    pub(super) elections: u64,
    pub(super) am_controller: bool,
    pub(super) waiting: usize,
}
