//! A replica on this shard: its log, and the part that it plays.
//!
//! *Invariants*: it leads or follows, in one leader epoch; a role ends before the next one begins, and whoever waits for it is told.
//! *Not here*: when roles change (`assign`), what they decide (`partition`).

use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;
use storage::log::Log;

use crate::local::Gate;
use crate::metrics::PartitionMetrics;
use crate::model::{LeaderEpoch, PartitionId};
use crate::partition::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogStartOffset};
use crate::partition::{AckError, Effects, Follower, Leader};
use crate::shard::follow::Link;
use crate::shard::lead::Feed;

/// A partition's replica: its logic and its log.
pub(crate) struct Hosted {
    pub(crate) role: Role,
    pub(crate) log: Log,
    pub(crate) metrics: Arc<PartitionMetrics>,
    /// Is it in [`crate::shard::State::dirty`]?
    pub(crate) is_dirty: bool,
    /// What its tail took when it was last counted.
    pub(crate) tail_bytes: usize,
    /// Who works on its files: it is not gone before they are done, or they would meet another topic's in its place.
    pub(crate) at_work: Gate,
    /// Does a maintenance task have it in hand?
    pub(crate) in_maintenance: bool,
}

/// The part that a replica plays.
#[expect(clippy::large_enum_variant, reason = "most replicas of a busy shard lead, and a box would cost them a detour")]
pub(crate) enum Role {
    /// Answers producers and consumers, feeds followers.
    Leader(Leading),
    /// Becomes what its leader is.
    Follower(Following),
}

/// A leader, and whom it feeds.
pub(crate) struct Leading {
    pub(crate) leader: Leader,
    /// Streams on which a follower has opened it. Empty where the only replica is here, and then nothing more is done.
    pub(crate) feeds: SmallVec<[Rc<Feed>; 2]>,
    /// The high watermark and log start that its feeds know of.
    told: (HighWatermark, LogStartOffset),
}

/// A follower, and where its leader's stream is.
pub(crate) struct Following {
    pub(crate) follower: Follower,
    /// `None`: nobody leads, or nobody knows where.
    pub(crate) link: Option<Rc<Link>>,
    /// Is its leader to hear how far it has flushed?
    pub(crate) ack_is_due: bool,
}

impl Hosted {
    pub(crate) fn new(role: Role, log: Log, metrics: Arc<PartitionMetrics>) -> Hosted {
        let at_work = Gate::default();
        Hosted { role, log, metrics, is_dirty: false, tail_bytes: 0, at_work, in_maintenance: false }
    }
}

impl Leading {
    pub(crate) fn new(leader: Leader) -> Leading {
        let told = (leader.ladder().high_watermark(), leader.ladder().log_start());
        Leading { leader, feeds: SmallVec::new(), told }
    }

    /// Its log has grown: followers get that at once, while it is flushed here.
    pub(crate) fn on_grown(&self, id: PartitionId) {
        self.feeds.iter().for_each(|feed| feed.on_grown(id));
    }

    /// Its offsets may have moved: followers hear of it soon.
    pub(crate) fn on_moved(&mut self, id: PartitionId) {
        if self.feeds.is_empty() {
            return;
        }
        let is = (self.leader.ladder().high_watermark(), self.leader.ladder().log_start());
        if self.told != is {
            self.told = is;
            self.feeds.iter().for_each(|feed| feed.on_moved(id));
        }
    }

    /// Nobody is fed any more.
    pub(crate) fn close_feeds(&mut self, id: PartitionId) {
        self.feeds.drain(..).for_each(|feed| feed.close(id));
    }
}

impl Role {
    pub(crate) fn ladder(&self) -> &Ladder {
        match self {
            Role::Leader(leading) => leading.leader.ladder(),
            Role::Follower(following) => following.follower.ladder(),
        }
    }
    pub(crate) fn leader_epoch(&self) -> LeaderEpoch {
        match self {
            Role::Leader(leading) => leading.leader.leader_epoch(),
            Role::Follower(following) => following.follower.leader_epoch(),
        }
    }
    pub(crate) fn leader(&self) -> Option<&Leader> {
        match self {
            Role::Leader(leading) => Some(&leading.leader),
            Role::Follower(_) => None,
        }
    }
    pub(crate) fn leader_mut(&mut self) -> Option<&mut Leader> {
        match self {
            Role::Leader(leading) => Some(&mut leading.leader),
            Role::Follower(_) => None,
        }
    }

    /// The log gave up records below `to`.
    pub(crate) fn on_trimmed(&mut self, id: PartitionId, to: LogStartOffset, effects: &mut Effects) {
        match self {
            Role::Leader(leading) => {
                leading.leader.on_trimmed(to, effects);
                leading.on_moved(id);
            }
            Role::Follower(following) => following.follower.on_trimmed(to),
        }
    }

    /// The log takes nothing any more: whoever waits is told, and nobody is fed or heard.
    pub(crate) fn on_offline(&mut self, id: PartitionId, effects: &mut Effects) {
        match self {
            Role::Leader(leading) => {
                leading.leader.on_resigned(AckError::Offline, effects);
                leading.close_feeds(id);
            }
            Role::Follower(following) => following.leave(id),
        }
    }

    /// The role ends.
    pub(crate) fn resign(&mut self, id: PartitionId, effects: &mut Effects) {
        match self {
            Role::Leader(leading) => {
                leading.leader.on_resigned(AckError::NotLeader, effects);
                leading.close_feeds(id);
            }
            Role::Follower(following) => following.leave(id),
        }
    }
}

impl Following {
    /// Follows, from now on in this epoch, whom `link` will lead to.
    pub(crate) fn new(follower: Follower) -> Following {
        Following { follower, link: None, ack_is_due: false }
    }

    /// Its log is durable up to `end`.
    pub(crate) fn on_flushed(&mut self, id: PartitionId, end: FlushedEndOffset) {
        self.follower.on_flushed(end);
        self.tell_flushed(id);
    }

    /// Its leader is to hear how far it has flushed, with the next frame.
    pub(crate) fn tell_flushed(&mut self, id: PartitionId) {
        if let Some(link) = &self.link
            && !std::mem::replace(&mut self.ack_is_due, true)
        {
            link.tell_flushed(id);
        }
    }

    /// Follows nobody for now.
    pub(crate) fn leave(&mut self, id: PartitionId) {
        self.follower.on_disconnected();
        self.ack_is_due = false;
        if let Some(link) = self.link.take() {
            link.remove(id);
        }
    }
}
