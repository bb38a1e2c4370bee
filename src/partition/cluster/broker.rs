//! A broker of the model: a log in memory, of which a part is flushed, and the leader or the follower over it.

use std::collections::BTreeMap;
use std::time::Duration;

use storage::epochs::EpochCache;
use storage::ids::{PartitionId, TopicId};

use super::controller::Controller;
use super::{BROKERS, LAG_MS};
use crate::metadata::image::BrokerEpoch;
use crate::model::{BrokerId, LeaderEpoch};
use crate::partition::follower::{self, Follower};
use crate::partition::isr::IsrAnswer;
use crate::partition::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogEndOffset, LogStartOffset};
use crate::partition::leader::Reign;
use crate::partition::produce_waiters::Waiter;
use crate::partition::replica::LagLimits;
use crate::partition::replication::{BatchSpan, Data, OpeningAnswer, OpeningRequest, ReplicaAck};
use crate::partition::{AckError, Acks, Effects, IsrProposal, Leader, ProduceTicket};
use crate::rt::Monotonic;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) value: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Frame {
    Ask(BrokerEpoch, OpeningRequest),
    Answer(u32, OpeningAnswer),
    Data { leader_epoch: LeaderEpoch, opening: u32, high_watermark: i64, base_offset: i64, records: Vec<Record> },
    Ack(BrokerEpoch, ReplicaAck),
}

enum Role {
    None,
    Leader(Box<Leader>),
    Follower(Follower),
}

pub(super) struct Waiting {
    pub(super) all: bool,
    pub(super) offset: i64,
}

/// Where the sender stands with a follower.
#[derive(Clone, Copy)]
struct Sender {
    opening: u32,
    position: usize,
}

pub(super) struct Broker {
    pub(super) index: usize,
    pub(super) is_up: bool,
    pub(super) incarnation: BrokerEpoch,
    pub(super) log: Vec<Record>,
    pub(super) flushed: usize,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    epochs: EpochCache,
    checkpointed: i64,
    known: Controller,
    role: Role,
    cut: Option<usize>,
    senders: [Option<Sender>; BROKERS],
    highest: i64,
}

impl Broker {
    pub(super) fn new(index: usize, controller: &Controller) -> Broker {
        Broker {
            index,
            is_up: true,
            incarnation: controller.incarnations[index],
            log: Vec::new(),
            flushed: 0,
            waiting: BTreeMap::new(),
            epochs: EpochCache::default(),
            checkpointed: 0,
            known: controller.clone(),
            role: Role::None,
            cut: None,
            senders: [None; BROKERS],
            highest: 0,
        }
    }

    fn ladder(&self) -> Ladder {
        match &self.role {
            Role::Leader(leader) => *leader.ladder(),
            Role::Follower(follower) => *follower.ladder(),
            Role::None => {
                let (flushed, end) = (FlushedEndOffset(self.flushed as i64), LogEndOffset(self.log.len() as i64));
                Ladder::new(LogStartOffset(0), HighWatermark(self.checkpointed), flushed, end)
            }
        }
    }

    pub(super) fn high_watermark(&self) -> i64 {
        if self.is_up { self.ladder().high_watermark().0 } else { 0 }
    }

    pub(super) fn needs_tick(&self) -> bool {
        matches!(&self.role, Role::Leader(leader) if leader.needs_tick())
    }

    pub(super) fn is_following(&self) -> bool {
        matches!(&self.role, Role::Follower(follower) if follower.ack().is_some())
    }

    pub(super) fn leader_known(&self) -> Option<usize> {
        self.known.leader
    }

    /// It never falls while the broker lives, whatever its role: elections are clean.
    pub(super) fn check_high_watermark(&mut self) {
        let high = self.high_watermark();
        assert!(!self.is_up || high >= self.highest, "broker {}: from {} to {high}", self.index, self.highest);
        self.highest = high;
        assert_eq!(self.ladder().log_end().0, self.log.len() as i64);
        assert_eq!(self.ladder().flushed_end().0, self.flushed as i64);
    }

    pub(super) fn learn(&mut self, controller: &Controller, now: Monotonic) -> Effects {
        let mut fx = Effects::new();
        if !self.is_up {
            return fx;
        }
        self.known = controller.clone();
        let (leader_epoch, leads) = (LeaderEpoch(controller.leader_epoch), controller.leader == Some(self.index));
        match &mut self.role {
            Role::Leader(leader) if leader.leader_epoch() == leader_epoch => {
                leader.on_assignment(&controller.assignment(), now, &mut fx);
                return fx;
            }
            Role::Follower(follower) if follower.leader_epoch() == leader_epoch => return fx,
            Role::Leader(leader) => leader.on_resigned(AckError::NotLeader, &mut fx),
            Role::Follower(_) | Role::None => {}
        }
        self.finish_cut();
        let ladder = self.ladder();
        self.senders = [None; BROKERS];
        self.role = if leads {
            self.epochs.assign(leader_epoch, ladder.log_end().0);
            let partition = PartitionId { topic_id: TopicId(uuid::Uuid::nil()), partition: 0 };
            let lag_limits = LagLimits { time: Duration::from_millis(LAG_MS), records: None };
            let reign = Reign { partition, broker: BrokerId(self.index as i32), leader_epoch, lag_limits };
            let leader = Leader::new(reign, ladder, &controller.assignment(), controller.min_insync, now);
            Role::Leader(Box::new(leader))
        } else {
            Role::Follower(Follower::new(leader_epoch, ladder))
        };
        fx
    }

    pub(super) fn produce(&mut self, number: u64, all: bool, now: Monotonic) -> Effects {
        let (mut fx, acks) = (Effects::new(), if all { Acks::All } else { Acks::Leader });
        if let Role::Leader(leader) = &mut self.role
            && leader.admit(acks).is_ok()
        {
            let offset = self.log.len() as i64;
            self.log.push(Record { leader_epoch: leader.leader_epoch(), value: number });
            leader.on_appended(LogEndOffset(offset + 1), now);
            self.waiting.insert(number, Waiting { all, offset });
            let (ticket, deadline) = (ProduceTicket(number), now.after(Duration::from_millis(3 * LAG_MS)));
            leader.on_waiter(acks, Waiter { ticket, base_offset: offset, end_offset: offset + 1, deadline }, &mut fx);
        }
        fx
    }

    pub(super) fn flush(&mut self, some: usize) -> Effects {
        let mut fx = Effects::new();
        if self.is_up {
            self.flushed = self.flushed.saturating_add(some).min(self.log.len());
            let end = FlushedEndOffset(self.flushed as i64);
            match &mut self.role {
                Role::Leader(leader) => leader.on_flushed(end, &mut fx),
                Role::Follower(follower) => follower.on_flushed(end),
                Role::None => {}
            }
        }
        fx
    }

    /// A log is cut only when all of it is flushed.
    pub(super) fn finish_cut(&mut self) {
        if self.cut.is_some() {
            self.flush(usize::MAX);
        }
        if let (Role::Follower(follower), Some(to)) = (&mut self.role, self.cut.take()) {
            self.log.truncate(to);
            self.flushed = to;
            self.epochs.truncate_from_end(to as i64);
            follower.on_cut(LogEndOffset(to as i64));
        }
    }

    pub(super) fn open(&mut self) -> Option<Frame> {
        match &mut self.role {
            Role::Follower(follower) if self.cut.is_none() => match follower.open(&self.epochs) {
                follower::Effect::Ask(request) => Some(Frame::Ask(self.incarnation, request)),
                follower::Effect::Cut(to) => {
                    self.cut = Some(to.0 as usize);
                    None
                }
                effect => panic!("to open is to ask or to cut, not {effect:?}"),
            },
            _ => None,
        }
    }

    pub(super) fn data_for(&mut self, to: usize, some: usize) -> Option<Frame> {
        let (Role::Leader(leader), Some(sender)) = (&self.role, &mut self.senders[to]) else { return None };
        let base = sender.position;
        sender.position = base.saturating_add(some).min(self.log.len());
        Some(Frame::Data {
            leader_epoch: leader.leader_epoch(),
            opening: sender.opening,
            high_watermark: leader.ladder().high_watermark().0,
            base_offset: base as i64,
            records: self.log[base..sender.position].to_vec(),
        })
    }

    /// What it says to that; an error is a reason to break the link.
    pub(super) fn receive(
        &mut self,
        from: usize,
        frame: Frame,
        now: Monotonic,
    ) -> Result<(Option<Frame>, Effects), ()> {
        let mut fx = Effects::new();
        let reply = match (frame, &mut self.role) {
            (Frame::Ask(incarnation, request), Role::Leader(leader)) => {
                let answer = leader.on_opening(BrokerId(from as i32), incarnation, &request, &self.epochs);
                let (opening, position) = (request.opening, request.end_offset as usize);
                if answer == OpeningAnswer::Agreed {
                    self.senders[from] = Some(Sender { opening, position });
                }
                Some(Frame::Answer(opening, answer))
            }
            (Frame::Ask(_, request), Role::Follower(_)) => Some(Frame::Answer(request.opening, OpeningAnswer::NotYet)),
            (Frame::Answer(opening, answer), Role::Follower(follower)) => {
                match follower.on_answer(opening, answer, &self.epochs).map_err(drop)? {
                    Some(follower::Effect::Cut(to)) => self.cut = Some(to.0 as usize),
                    Some(follower::Effect::BeginAt(at)) => panic!("a log of records is dropped, for {at:?}"),
                    _ => {}
                }
                self.ack()
            }
            (Frame::Data { leader_epoch, opening, high_watermark, base_offset, records }, Role::Follower(follower)) => {
                let spans: Vec<BatchSpan> = (base_offset..)
                    .zip(&records)
                    .map(|(base, record)| BatchSpan {
                        base_offset: base,
                        end_offset: base + 1,
                        leader_epoch: record.leader_epoch,
                    })
                    .collect();
                let data = Data { leader_epoch, opening, high_watermark, log_start_offset: 0, batches: &spans };
                if follower.on_data(&data).map_err(drop)? {
                    for span in &spans {
                        assert!(self.epochs.latest() <= Some(span.leader_epoch), "a log takes no older epoch");
                        self.epochs.assign(span.leader_epoch, span.base_offset);
                    }
                    self.log.extend(records);
                    follower.on_appended(LogEndOffset(self.log.len() as i64));
                }
                self.ack()
            }
            (Frame::Ack(incarnation, ack), Role::Leader(leader)) => {
                let from = BrokerId(from as i32);
                leader.on_replica_ack(from, incarnation, &ack, now, &mut fx).map_err(drop)?;
                None
            }
            _ => None,
        };
        Ok((reply, fx))
    }

    pub(super) fn ack(&self) -> Option<Frame> {
        let Role::Follower(follower) = &self.role else { return None };
        follower.ack().map(|ack| Frame::Ack(self.incarnation, ack))
    }

    pub(super) fn on_broken(&mut self, from: usize, now: Monotonic) -> Effects {
        let mut fx = Effects::new();
        self.senders[from] = None;
        match &mut self.role {
            Role::Leader(leader) => leader.on_disconnected(BrokerId(from as i32), now, &mut fx),
            Role::Follower(follower) if self.known.leader == Some(from) => follower.on_disconnected(),
            Role::Follower(_) | Role::None => {}
        }
        fx
    }

    pub(super) fn tick(&mut self, now: Monotonic) -> Effects {
        let mut fx = Effects::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.on_tick(now, &mut fx);
        }
        fx
    }

    pub(super) fn set_min_insync(&mut self, count: usize) -> Effects {
        let mut fx = Effects::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.on_min_insync_replicas(count, &mut fx);
        }
        fx
    }

    pub(super) fn on_isr_answer(&mut self, proposal: &IsrProposal, answer: IsrAnswer, now: Monotonic) -> Effects {
        let mut fx = Effects::new();
        if let Role::Leader(leader) = &mut self.role {
            leader.on_isr_answer(proposal.partition_epoch, answer, now, &mut fx);
        }
        fx
    }

    pub(super) fn checkpoint(&mut self) {
        if self.is_up {
            self.checkpointed = self.ladder().high_watermark().0;
        }
    }

    /// Some of what was not flushed may be there all the same.
    pub(super) fn crash(&mut self, kept: usize) {
        self.finish_cut();
        self.log.truncate(self.flushed + kept);
        self.epochs.truncate_from_end(self.log.len() as i64 + 1);
        self.flushed = self.flushed.min(self.log.len());
        self.role = Role::None;
        self.is_up = false;
        self.waiting.clear();
        self.senders = [None; BROKERS];
        self.highest = 0;
    }

    /// Recovery ends with a flush of all that is there.
    pub(super) fn restart(&mut self, incarnation: BrokerEpoch) {
        self.is_up = true;
        self.incarnation = incarnation;
        self.flushed = self.log.len();
    }
}
