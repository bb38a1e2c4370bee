//! Another broker's replica, as its leader sees it: how far it has flushed, since which opening, and whether it is caught up.
//!
//! *Which core*: the leader's shard.
//! *Invariants*: `flushed_end` was said in the newest opening of the stream, never in an earlier one: between two openings the
//! replica may have cut its log. What is looked at (`is_caught_up`) is as of the last look.
//! *Not here*: who is in sync (`isr`).

use std::time::Duration;

use crate::metadata::image::BrokerEpoch;
use crate::model::BrokerId;
use crate::partition::log_end_marks::LogEndMarks;
use crate::rt::Monotonic;

/// One opening of a partition on a replication stream: the incarnation of the follower's broker, and the follower's own count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// Which incarnation of the broker.
    pub broker_epoch: BrokerEpoch,
    /// Which of its openings.
    pub number: u32,
}

/// How far behind a replica may be and still be in sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LagLimits {
    /// `replica.lag.time.max.ms`: since it last had everything.
    pub time: Duration,
    /// `replica.lag.max.messages`, if it is set.
    pub records: Option<i64>,
}

/// Where the leader stands when it looks at its replicas.
pub(super) struct View<'a> {
    pub(super) now: Monotonic,
    pub(super) high_watermark: i64,
    pub(super) log_end: i64,
    pub(super) marks: &'a LogEndMarks,
    pub(super) limits: LagLimits,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Replica {
    pub(super) broker: BrokerId,
    /// The incarnation that the metadata knows and has not fenced.
    pub(super) live_as: Option<BrokerEpoch>,
    /// In the committed ISR.
    pub(super) is_member: bool,
    /// Its addition to the ISR is proposed, or was and may still happen.
    pub(super) may_be_member: bool,
    pub(super) flushed_end: Option<i64>,
    pub(super) is_caught_up: bool,
    opening: Option<Opening>,
    is_open: bool,
    caught_up_at: Option<Monotonic>,
}

impl Replica {
    /// A replica of which nothing is known.
    pub(super) fn new(broker: BrokerId) -> Replica {
        Replica {
            broker,
            live_as: None,
            is_member: false,
            may_be_member: false,
            flushed_end: None,
            is_caught_up: false,
            opening: None,
            is_open: false,
            caught_up_at: None,
        }
    }

    /// It is, or is not, a committed member. A new one is taken to be caught up until its time has passed.
    pub(super) fn set_member(&mut self, is_member: bool, now: Monotonic) {
        if is_member && !self.is_member {
            self.caught_up_at.get_or_insert(now);
            self.is_caught_up = true;
        }
        self.is_member = is_member;
    }

    /// Begins a new opening: what was said before counts no longer, and what is said in this one only if the logs agree. Says
    /// whether it *is* new, and not a late word of an older stream or an older incarnation (KIP-903).
    pub(super) fn open(&mut self, opening: Opening, logs_agree: bool) -> bool {
        let is_stale = self.opening.is_some_and(|newest| opening <= newest)
            || self.live_as.is_some_and(|live_as| opening.broker_epoch < live_as);
        if !is_stale {
            (self.opening, self.is_open, self.flushed_end) = (Some(opening), logs_agree, None);
        }
        !is_stale
    }

    /// The stream of this incarnation has broken. What is flushed stays flushed; but nothing more is known.
    pub(super) fn close(&mut self) {
        self.is_open = false;
    }

    /// Is this the opening that counts?
    pub(super) fn is_at(&self, opening: Opening) -> bool {
        self.is_open && self.opening == Some(opening)
    }

    /// Looks whether it is caught up: in time, near enough, and with all that a member must have. A replica that is no member
    /// is so only while it streams.
    pub(super) fn look(&mut self, view: &View<'_>) {
        if let Some(end) = self.flushed_end {
            let known = if end >= view.log_end { Some(view.now) } else { view.marks.caught_up_at(end) };
            self.caught_up_at = self.caught_up_at.max(known);
        }
        let is_in_time = self.caught_up_at.is_some_and(|at| view.now.since(at) <= view.limits.time);
        let behind = self.flushed_end.map(|end| view.log_end - end);
        let is_near = view.limits.records.is_none_or(|records| behind.is_none_or(|behind| behind <= records));
        let has_lost = self.is_member && self.flushed_end.is_some_and(|end| end < view.high_watermark);
        self.is_caught_up = is_in_time && is_near && !has_lost && (self.is_member || self.is_open);
    }

    /// May it join: unfenced, and of the incarnation that streams (KIP-903)?
    pub(super) fn is_eligible(&self) -> bool {
        self.is_open && self.live_as.is_some() && self.live_as == self.opening.map(|opening| opening.broker_epoch)
    }

    /// Must the high watermark wait for it? A replica that is about to join counts already, or it would follow a moving mark
    /// for ever.
    pub(super) fn counts(&self) -> bool {
        self.is_member || self.may_be_member || self.is_caught_up && self.is_eligible()
    }
}
