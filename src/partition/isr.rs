//! Who is in sync, who is to be, and how far all of them have flushed.
//!
//! *Which core*: the leader's shard.
//! *Invariants*: the leader is a member; until the controller has confirmed a change, the larger set counts: members that are to
//! leave still do, and replicas that are to join do already; one proposal in flight.
//! *Not here*: whether a change is legal (the controller checks it again), what waits for it (`leader`).
//! *Why* flushed offsets: an acknowledged record is on the disk of every in-sync replica, so a power cut of all brokers at
//! once loses nothing; Kafka counts what lies in the page cache.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::limits;
use crate::metadata::image::{BrokerEpoch, PartitionEpoch};
use crate::model::BrokerId;
use crate::partition::ladder::{FlushedEndOffset, HighWatermark, Ladder};
use crate::partition::log_end_marks::LogEndMarks;
use crate::partition::replica::{LagLimits, Opening, Replica, View};
use crate::rt::Monotonic;

/// What the metadata says of a partition to its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The version of the partition's record.
    pub partition_epoch: PartitionEpoch,
    /// Its replicas, the leader's among them.
    pub replicas: SmallVec<[AssignedReplica; 3]>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssignedReplica {
    /// Whose.
    pub broker: BrokerId,
    /// Is it in the committed ISR?
    pub in_sync: bool,
    /// The broker's incarnation; `None` if it is fenced or not registered.
    pub live_as: Option<BrokerEpoch>,
}

/// A member of a proposed ISR. The controller checks the incarnation, so that a replica that has crashed since cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsrMember {
    /// Who.
    pub broker: BrokerId,
    /// Which incarnation of it, as far as the leader knows.
    pub broker_epoch: Option<BrokerEpoch>,
}

/// The members of a proposed ISR, the leader among them.
pub type ProposedIsr = SmallVec<[IsrMember; 3]>;

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum IsrAnswer {
    /// It is committed, and this is the record's new version.
    Committed(PartitionEpoch),
    /// Nothing was changed: a member is fenced, shutting down or of another incarnation, or it was not attempted.
    Refused,
    /// Nothing was changed, for the metadata has moved on (an epoch is old, the topic is gone): it is on its way here.
    Superseded,
    /// It may be committed, or may be yet: no answer came, or none that says.
    Unknown,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Isr {
    me: IsrMember,
    others: SmallVec<[Replica; 2]>,
    partition_epoch: PartitionEpoch,
    min_insync_replicas: usize,
    lag_limits: LagLimits,
    marks: LogEndMarks,
    /// Who would be a member if what was proposed is committed.
    in_flight: Option<ProposedIsr>,
    /// An earlier proposal may still be committed, as long as the partition epoch has not moved.
    is_in_doubt: bool,
    /// No proposal before.
    not_before: Monotonic,
}

impl Isr {
    /// The committed state, as the leader `me` finds it.
    pub fn new(me: BrokerId, assignment: &Assignment, min: usize, lag_limits: LagLimits, now: Monotonic) -> Isr {
        let mut isr = Isr {
            me: IsrMember { broker: me, broker_epoch: None },
            others: SmallVec::new(),
            partition_epoch: assignment.partition_epoch,
            min_insync_replicas: min,
            lag_limits,
            marks: LogEndMarks::covering(lag_limits.time),
            in_flight: None,
            is_in_doubt: false,
            not_before: now,
        };
        isr.adopt(assignment, now);
        isr
    }

    /// The version of the partition's record that is known to be committed.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Metadata has come. Older metadata than an answer has brought still tells who is alive.
    pub fn on_assignment(&mut self, assignment: &Assignment, now: Monotonic) {
        if assignment.partition_epoch > self.partition_epoch {
            self.partition_epoch = assignment.partition_epoch;
            self.settle_proposal();
            self.adopt(assignment, now);
        }
        for assigned in &assignment.replicas {
            if let Some(replica) = self.others.iter_mut().find(|replica| replica.broker == assigned.broker) {
                replica.live_as = assigned.live_as;
            } else if assigned.broker == self.me.broker {
                self.me.broker_epoch = assigned.live_as;
            }
        }
    }

    fn adopt(&mut self, assignment: &Assignment, now: Monotonic) {
        let AssignedReplica { in_sync, live_as, .. } = *assignment
            .replicas
            .iter()
            .find(|assigned| assigned.broker == self.me.broker)
            .expect("a leader is a replica");
        assert!(in_sync, "leader {:?} is not in the ISR", self.me.broker);
        self.me.broker_epoch = live_as;
        let before = std::mem::take(&mut self.others);
        for AssignedReplica { broker, in_sync, live_as } in assignment.replicas.iter().copied() {
            if broker != self.me.broker {
                let known = before.iter().find(|replica| replica.broker == broker).copied();
                let mut replica = known.unwrap_or_else(|| Replica::new(broker));
                replica.set_member(in_sync, now);
                replica.live_as = live_as;
                self.others.push(replica);
            }
        }
    }

    /// What was proposed at an older partition epoch can't be committed any more.
    fn settle_proposal(&mut self) {
        (self.in_flight, self.is_in_doubt) = (None, false);
        self.others.iter_mut().for_each(|replica| replica.may_be_member = false);
    }

    /// `min.insync.replicas` has changed.
    pub fn set_min_insync_replicas(&mut self, count: usize) {
        self.min_insync_replicas = count;
    }

    /// The log, which ended at `end_offset` until now, is about to grow.
    pub fn on_append(&mut self, end_offset: i64, now: Monotonic) {
        if !self.others.is_empty() {
            self.marks.note(now, end_offset);
        }
    }

    /// A follower opens the partition. Says whether this is a new opening; `None`: it is no replica.
    pub fn on_opening(&mut self, broker: BrokerId, opening: Opening, logs_agree: bool) -> Option<bool> {
        let replica = self.others.iter_mut().find(|replica| replica.broker == broker);
        replica.map(|replica| replica.open(opening, logs_agree))
    }

    /// A follower's stream has broken.
    pub fn on_closed(&mut self, broker: BrokerId) {
        self.others.iter_mut().filter(|replica| replica.broker == broker).for_each(Replica::close);
    }

    /// A replica says what it has flushed. Cumulative: an older, lower word changes nothing (lesson 7), nor does one from
    /// before the newest opening. Says whether it was of this one.
    pub fn on_flushed(&mut self, broker: BrokerId, opening: Opening, end: FlushedEndOffset) -> bool {
        let replica = self.others.iter_mut().find(|replica| replica.broker == broker && replica.is_at(opening));
        replica.map(|replica| replica.flushed_end = replica.flushed_end.max(Some(end.0))).is_some()
    }

    /// Looks how far behind each replica is.
    pub fn look(&mut self, ladder: &Ladder, now: Monotonic) {
        let view = View {
            now,
            high_watermark: ladder.high_watermark().0,
            log_end: ladder.log_end().0,
            marks: &self.marks,
            limits: self.lag_limits,
        };
        self.others.iter_mut().for_each(|replica| replica.look(&view));
    }

    /// Are enough replicas in sync for acks=-1, as far as is known here? The minimum is never more than there are replicas.
    pub fn is_enough(&self) -> bool {
        self.count(|replica| replica.is_member && replica.is_caught_up) >= self.effective_min()
    }

    /// What the high watermark may be: the smallest flushed end of all that count. `None` while too few are in the committed
    /// ISR, so that it is frozen, or while one of them has not said yet.
    pub fn high_watermark(&self, mine: FlushedEndOffset) -> Option<HighWatermark> {
        if self.count(|replica| replica.is_member) < self.effective_min() {
            return None;
        }
        let mut counting = self.others.iter().filter(|replica| replica.counts()).map(|replica| replica.flushed_end);
        counting.try_fold(mine.0, |least, end| Some(least.min(end?))).map(HighWatermark)
    }

    fn count(&self, is: impl Fn(&Replica) -> bool) -> usize {
        1 + self.others.iter().filter(|replica| is(replica)).count()
    }

    fn effective_min(&self) -> usize {
        self.min_insync_replicas.min(1 + self.others.len())
    }

    /// The ISR that the leader wants, if it is another one and may be proposed now: without members that lag, with replicas that
    /// have flushed up to the high watermark and to the start of this reign. From now on it is in flight.
    pub fn propose(&mut self, ladder: &Ladder, epoch_start_offset: i64, now: Monotonic) -> Option<&ProposedIsr> {
        if self.in_flight.is_some() || now < self.not_before {
            return None;
        }
        let must_have = ladder.high_watermark().0.max(epoch_start_offset);
        let joins = |replica: &Replica| {
            replica.is_eligible() && replica.is_caught_up && replica.flushed_end.is_some_and(|end| end >= must_have)
        };
        let is_wanted = |replica: &Replica| if replica.is_member { replica.is_caught_up } else { joins(replica) };
        // An addition that may still happen, though it is wanted no more, is ruled out by whatever is committed next.
        if self.others.iter().all(|replica| is_wanted(replica) == replica.is_member && !replica.may_be_member) {
            return None;
        }
        let mut isr = ProposedIsr::from_slice(&[self.me]);
        for replica in &mut self.others {
            if is_wanted(replica) {
                replica.may_be_member |= !replica.is_member;
                isr.push(IsrMember { broker: replica.broker, broker_epoch: replica.live_as });
            }
        }
        Some(self.in_flight.insert(isr))
    }

    /// The controller has answered what was proposed at `proposed_at`. It is ignored if metadata was faster.
    pub fn on_answer(&mut self, proposed_at: PartitionEpoch, answer: IsrAnswer, now: Monotonic) {
        if proposed_at != self.partition_epoch || self.in_flight.is_none() {
            return;
        }
        let pause = Duration::from_millis(limits::ISR_PROPOSAL_RETRY_MS);
        match answer {
            IsrAnswer::Committed(partition_epoch) if partition_epoch > self.partition_epoch => {
                let members = self.in_flight.take().into_iter().flatten();
                let members: SmallVec<[BrokerId; 3]> = members.map(|member| member.broker).collect();
                self.partition_epoch = partition_epoch;
                self.settle_proposal();
                for replica in &mut self.others {
                    replica.set_member(members.contains(&replica.broker), now);
                }
            }
            IsrAnswer::Refused if self.is_in_doubt => (self.in_flight, self.not_before) = (None, now.after(pause)),
            IsrAnswer::Refused => {
                self.settle_proposal();
                self.not_before = now.after(pause);
            }
            // Nothing more is proposed until metadata has come.
            IsrAnswer::Superseded | IsrAnswer::Committed(_) => {}
            IsrAnswer::Unknown => {
                (self.in_flight, self.is_in_doubt) = (None, true);
                self.not_before = now.after(pause);
            }
        }
    }

    /// Can time alone change something: a member fall behind, a replica join?
    pub fn needs_tick(&self, log_end: i64) -> bool {
        self.others.iter().any(|replica| match replica.is_member {
            true => replica.flushed_end != Some(log_end),
            false => replica.may_be_member || replica.is_caught_up,
        })
    }
}
