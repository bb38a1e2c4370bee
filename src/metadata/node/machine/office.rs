//! What a controller does without being asked, for as long as it is in office: it fences who is silent, and brings leaders back.
//!
//! *Which core*: metadata.
//! *Invariants*: what it knows of brokers and voters begins with its term: another controller's ears are not its own.
//! *Not here*: what follows (controller).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Machine;
use crate::metadata::controller::{Liveness, balance, fence_brokers, settle};
use crate::metadata::image::Image;
use crate::metadata::request::{Quorum, QuorumVoter, Request};
use crate::rt::Monotonic;

/// Entries are kept for a voter that is behind for as long as it is not silent for so long: then it is gone, and gets a snapshot
/// when it returns.
const VOTER_SILENCE_MAX: Duration = Duration::from_secs(5);

/// See the module. Before the first term nobody is listened to.
pub(super) struct Office {
    term: u64,
    liveness: Liveness,
    balanced: Monotonic,
    voters: BTreeMap<u64, VoterHeard>,
}

#[derive(Clone, Copy)]
struct VoterHeard {
    at: Monotonic,
    caught_up: Option<Monotonic>,
}

impl Default for Office {
    fn default() -> Office {
        Office::new(0, Duration::MAX, Monotonic(0))
    }
}

impl Office {
    fn new(term: u64, session: Duration, now: Monotonic) -> Office {
        Office { term, liveness: Liveness::new(session, now), balanced: now, voters: BTreeMap::new() }
    }

    pub(super) fn liveness(&self) -> &Liveness {
        &self.liveness
    }

    /// A broker that asks for its own sake lives.
    pub(super) fn on_request(&mut self, request: &Request, image: &Image, now: Monotonic) {
        match request {
            Request::RegisterBroker(registration) => self.liveness.on_heard(registration.broker, 0, now),
            Request::Heartbeat { broker, epoch, applied, .. }
                if image.brokers().get(broker).is_some_and(|registered| registered.epoch == *epoch) =>
            {
                self.liveness.on_heard(*broker, *applied, now);
            }
            _ => {}
        }
    }
}

impl Machine {
    /// Begins its term, if it has not yet.
    pub(super) fn attend(&mut self, now: Monotonic) {
        if self.proposed.version() < self.image.version() {
            self.proposed = Image::clone(&self.image);
        }
        if let Some(term) = self.reign.filter(|term| *term != self.office.term) {
            self.office = Office::new(term, self.rules.session, now);
            let unsettled = settle(&self.proposed, &self.rules);
            // What is not taken now follows with the next coming or going.
            let _ = self.propose_all(&unsettled);
        }
    }

    /// Does what is due; what is not taken now is due again at the next tick.
    pub(super) fn govern(&mut self, now: Monotonic) {
        if self.reign.is_none() {
            return;
        }
        self.attend(now);
        let silent = self.office.liveness.expired(&self.proposed, now);
        if !silent.is_empty() {
            let fences = fence_brokers(&self.proposed, &silent, &self.rules);
            let _ = self.propose_all(&fences);
        }
        let is_due = |interval: &Duration| now.since(self.office.balanced) >= *interval;
        if self.rules.balance_interval.as_ref().is_some_and(is_due) {
            self.office.balanced = now;
            let moves = balance(&self.proposed, &self.rules);
            let _ = self.propose_all(&moves);
        }
    }

    pub(super) fn on_voter_heard(&mut self, raft_id: u64, now: Monotonic) {
        let raft = &self.raw.raft;
        if self.reign != Some(self.office.term) {
            return;
        }
        let has_all = raft.prs().get(raft_id).is_some_and(|progress| progress.matched == raft.raft_log.last_index());
        let before = self.office.voters.get(&raft_id).and_then(|heard| heard.caught_up);
        let caught_up = if has_all { Some(now) } else { before };
        self.office.voters.insert(raft_id, VoterHeard { at: now, caught_up });
    }

    /// Up to which entry every voter that was heard lately has all, or gets it by the snapshot on its way. Who is silent for
    /// longer than [`VOTER_SILENCE_MAX`] is not waited for.
    pub(super) fn held_by_all_heard(&self, now: Monotonic) -> u64 {
        if self.reign != Some(self.office.term) {
            return u64::MAX;
        }
        let heard = self.office.voters.iter().filter(|(_, heard)| now.since(heard.at) <= VOTER_SILENCE_MAX);
        let progress = heard.filter_map(|(raft_id, _)| self.raw.raft.prs().get(*raft_id));
        progress.map(|progress| progress.matched.max(progress.pending_snapshot)).min().unwrap_or(u64::MAX)
    }

    /// The group, as its leader sees it.
    pub(super) fn quorum(&self, now: Monotonic) -> Quorum {
        let raft = &self.raw.raft;
        let ms_ago = |at: Monotonic| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
        let voters = self.image.voters().values().map(|voter| {
            let heard = self.office.voters.get(&voter.raft_id);
            let is_me = voter.raft_id == self.voter.raft_id;
            QuorumVoter {
                node: voter.node_id,
                directory_id: voter.directory_id,
                durable_index: raft.prs().get(voter.raft_id).map_or(0, |progress| progress.matched),
                heard_ms_ago: if is_me { Some(0) } else { heard.map(|heard| ms_ago(heard.at)) },
                caught_up_ms_ago: if is_me { Some(0) } else { heard.and_then(|heard| heard.caught_up).map(ms_ago) },
            }
        });
        Quorum {
            leader: self.voter.node_id,
            term: raft.term,
            committed_index: raft.raft_log.committed,
            voters: voters.collect(),
        }
    }
}
