//! A leader against a model of it that knows no queues: random inputs, and after each of them the same offsets, the same
//! answers and the same wakes.
//!
//! *Invariants* checked: the ladder; the high watermark never falls; a ticket is answered once; nothing is acknowledged above
//! its rung; what has reached its rung does not wait, whatever waits at the other one; below the minimum nobody waits for acks=-1.
//! *Not here*: replicas that lag, join and leave on their own (`cluster`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use storage::epochs::EpochCache;
use storage::ids::TopicId;

use super::fetch_waiters::FetchTicket;
use super::isr::{AssignedReplica, Assignment};
use super::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogEndOffset, LogStartOffset};
use super::leader::Reign;
use super::produce_waiters::Waiter;
use super::replica::LagLimits;
use super::replication::{OpeningAnswer, OpeningRequest, ReplicaAck};
use super::*;
use crate::metadata::image::BrokerEpoch;
use crate::model::{BrokerId, LeaderEpoch};
use crate::rt::Monotonic;

const BROKER_EPOCH: BrokerEpoch = BrokerEpoch(7);
const REPLICAS: [BrokerId; 3] = [BrokerId(1), BrokerId(2), BrokerId(3)];

#[derive(Clone, Debug)]
enum Input {
    Produce { acks: Acks, records: i64, patience: u64 },
    Again { acks: Acks, pick: usize, patience: u64 },
    Flush { some: i64 },
    Ack { other: usize, some: i64 },
    Isr { others: [bool; 2] },
    MinInsync(usize),
    Trim { some: i64 },
    Time(u64),
    Resign,
    Park { back: i64 },
    Leave { pick: usize },
}

fn acks() -> impl Strategy<Value = Acks> {
    prop_oneof![1 => Just(Acks::None), 3 => Just(Acks::Leader), 5 => Just(Acks::All)]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        6 => (acks(), 1..4i64, 0..60u64).prop_map(|(acks, records, patience)| Input::Produce { acks, records, patience }),
        2 => (acks(), 0..99usize, 0..60u64).prop_map(|(acks, pick, patience)| Input::Again { acks, pick, patience }),
        5 => (0..9i64).prop_map(|some| Input::Flush { some }),
        8 => (0..2usize, -4..9i64).prop_map(|(other, some)| Input::Ack { other, some }),
        2 => any::<[bool; 2]>().prop_map(|others| Input::Isr { others }),
        1 => (1..5usize).prop_map(Input::MinInsync),
        1 => (0..9i64).prop_map(|some| Input::Trim { some }),
        3 => (0..30u64).prop_map(Input::Time),
        1 => Just(Input::Resign),
        2 => (-3..3i64).prop_map(|back| Input::Park { back }),
        1 => (0..99usize).prop_map(|pick| Input::Leave { pick }),
    ]
}

/// What must be true, said as plainly as can be.
struct Model {
    start: i64,
    high: i64,
    flushed: i64,
    end: i64,
    acked: [i64; 2],
    in_sync: [bool; 2],
    min: usize,
    now: u64,
    batches: Vec<(i64, i64)>,
    waiting: BTreeMap<u64, (Acks, i64, i64, u64)>,
    parked: BTreeMap<u64, i64>,
}

/// Answers by ticket, and the fetches that are woken.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    answers: BTreeMap<u64, Result<i64, AckError>>,
    wakes: BTreeSet<u64>,
}

impl Model {
    /// Replicas that are no members are fenced here, so that they never join.
    fn assignment(&self, partition_epoch: i32) -> Assignment {
        let in_sync = [true, self.in_sync[0], self.in_sync[1]];
        let replicas = REPLICAS.into_iter().zip(in_sync).map(|(broker, in_sync)| {
            let live_as = in_sync.then_some(BROKER_EPOCH);
            AssignedReplica { broker, in_sync, live_as }
        });
        Assignment { partition_epoch: PartitionEpoch(partition_epoch), replicas: replicas.collect() }
    }

    fn is_enough(&self) -> bool {
        1 + self.in_sync.iter().filter(|is| **is).count() >= self.min.min(REPLICAS.len())
    }

    /// Everything that follows from the state alone.
    fn settle(&mut self, outcome: &mut Outcome) {
        if self.is_enough() {
            let members = self.acked.iter().zip(self.in_sync).filter(|(_, is)| *is).map(|(end, _)| *end);
            let high = members.fold(self.flushed, i64::min).max(self.high);
            if high > self.high {
                outcome
                    .wakes
                    .extend(self.parked.iter().filter(|(_, offset)| **offset < high).map(|(ticket, _)| ticket));
            }
            self.high = high;
        }
        let (high, flushed, is_enough) = (self.high, self.flushed, self.is_enough());
        self.waiting.retain(|ticket, (acks, base, end, _)| {
            let (rung, is_lost) = match acks {
                Acks::None => (i64::MAX, false),
                Acks::Leader => (flushed, false),
                Acks::All => (high, !is_enough),
            };
            if *end <= rung {
                outcome.answers.insert(*ticket, Ok(*base));
            } else if is_lost {
                outcome.answers.insert(*ticket, Err(AckError::NotEnoughReplicasAfterAppend));
            }
            *end > rung && !is_lost
        });
    }
}

struct Run {
    leader: Leader,
    model: Model,
    partition_epoch: i32,
    next_ticket: u64,
    answered: BTreeSet<u64>,
}

impl Run {
    fn new() -> Run {
        let ladder = Ladder::new(LogStartOffset(0), HighWatermark(0), FlushedEndOffset(0), LogEndOffset(0));
        let model = Model {
            start: 0,
            high: 0,
            flushed: 0,
            end: 0,
            acked: [0; 2],
            in_sync: [true; 2],
            min: 2,
            now: 0,
            batches: Vec::new(),
            waiting: BTreeMap::new(),
            parked: BTreeMap::new(),
        };
        let reign = Reign {
            partition: PartitionId { topic_id: TopicId(uuid::Uuid::nil()), partition: 0 },
            broker: REPLICAS[0],
            leader_epoch: LeaderEpoch(0),
            lag_limits: LagLimits { time: Duration::MAX, records: None },
        };
        let mut leader = Leader::new(reign, ladder, &model.assignment(0), 2, Monotonic(0));
        for other in &REPLICAS[1..] {
            let leader_epoch = LeaderEpoch(0);
            let request = OpeningRequest { leader_epoch, opening: 1, end_offset: 0, last_epoch: None };
            let answer = leader.on_opening(*other, BROKER_EPOCH, &request, &EpochCache::default());
            assert_eq!(answer, OpeningAnswer::Agreed);
        }
        Run { leader, model, partition_epoch: 0, next_ticket: 0, answered: BTreeSet::new() }
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn wait(&mut self, acks: Acks, (base_offset, end_offset): (i64, i64), patience: u64, fx: &mut Effects) {
        let (ticket, deadline) = (self.ticket(), self.model.now + 1 + patience);
        let waiter = Waiter { ticket: ProduceTicket(ticket), base_offset, end_offset, deadline: Monotonic(deadline) };
        self.leader.on_waiter(acks, waiter, fx);
        self.model.waiting.insert(ticket, (acks, base_offset, end_offset, deadline));
    }

    fn perform(&mut self, input: Input) {
        let (mut fx, mut expected) = (Effects::new(), Outcome::default());
        let high_before = self.model.high;
        match input {
            Input::Produce { acks, .. } | Input::Again { acks, .. } if self.leader.admit(acks).is_err() => {
                assert!(acks == Acks::All && !self.model.is_enough());
            }
            Input::Produce { acks, records, patience } => {
                assert!(acks != Acks::All || self.model.is_enough());
                let batch = (self.model.end, self.model.end + records);
                self.model.end = batch.1;
                self.model.batches.push(batch);
                self.leader.on_appended(LogEndOffset(batch.1), Monotonic(self.model.now));
                self.wait(acks, batch, patience, &mut fx);
            }
            Input::Again { acks, pick, patience } => {
                if let Some(batch) = self.model.batches.get(pick % self.model.batches.len().max(1)).copied() {
                    self.wait(acks, batch, patience, &mut fx);
                }
            }
            Input::Flush { some } => {
                self.model.flushed = (self.model.flushed + some).min(self.model.end);
                self.leader.on_flushed(FlushedEndOffset(self.model.flushed), &mut fx);
            }
            Input::Ack { other, some } => {
                let end = (self.model.acked[other] + some).clamp(0, self.model.end);
                self.model.acked[other] = self.model.acked[other].max(end);
                let ack = ReplicaAck { leader_epoch: LeaderEpoch(0), opening: 1, flushed_end_offset: end };
                let (broker, now) = (REPLICAS[other + 1], Monotonic(self.model.now));
                self.leader.on_replica_ack(broker, BROKER_EPOCH, &ack, now, &mut fx).expect("it is within the log");
            }
            Input::Isr { others } => {
                let has_all = self.model.acked.map(|end| end >= self.model.high);
                self.model.in_sync = [others[0] && has_all[0], others[1] && has_all[1]];
                self.partition_epoch += 1;
                let assignment = self.model.assignment(self.partition_epoch);
                self.leader.on_assignment(&assignment, Monotonic(self.model.now), &mut fx);
            }
            Input::MinInsync(count) => {
                self.model.min = count;
                self.leader.on_min_insync_replicas(count, &mut fx);
            }
            Input::Trim { some } => {
                self.model.start = (self.model.start + some).min(self.model.high);
                expected.wakes.extend(self.model.parked.keys());
                self.leader.on_trimmed(LogStartOffset(self.model.start), &mut fx);
            }
            Input::Time(passed) => {
                self.model.now += passed;
                let now = self.model.now;
                self.model.waiting.retain(|ticket, (.., deadline)| {
                    if *deadline <= now {
                        expected.answers.insert(*ticket, Err(AckError::TimedOut));
                    }
                    *deadline > now
                });
                self.leader.on_tick(Monotonic(now), &mut fx);
            }
            Input::Resign => {
                let refused = std::mem::take(&mut self.model.waiting).into_keys();
                expected.answers.extend(refused.map(|ticket| (ticket, Err(AckError::NotLeader))));
                expected.wakes.extend(self.model.parked.keys());
                self.leader.on_resigned(AckError::NotLeader, &mut fx);
            }
            Input::Park { back } => {
                let (ticket, offset) = (self.ticket(), self.model.high - back);
                self.model.parked.insert(ticket, offset);
                self.leader.on_fetch_parked(FetchTicket(ticket), offset);
            }
            Input::Leave { pick } => {
                if let Some(ticket) = self.model.parked.keys().nth(pick % self.model.parked.len().max(1)).copied() {
                    self.model.parked.remove(&ticket);
                    self.leader.on_fetch_left(FetchTicket(ticket));
                }
            }
        }
        self.model.settle(&mut expected);
        assert_eq!(self.outcome(&fx), expected);
        assert!(self.model.high >= high_before);
        let ladder = self.leader.ladder();
        let is = (ladder.log_start().0, ladder.high_watermark().0, ladder.flushed_end().0, ladder.log_end().0);
        assert_eq!(is, (self.model.start, self.model.high, self.model.flushed, self.model.end));
        assert!(self.leader.needs_tick() || self.model.waiting.is_empty());
    }

    /// What was done, once each is seen to be in order.
    fn outcome(&mut self, fx: &Effects) -> Outcome {
        let mut outcome = Outcome::default();
        for effect in fx {
            match effect.clone() {
                Effect::Answer { ticket: ProduceTicket(ticket), outcome: answer } => {
                    assert!(self.answered.insert(ticket), "ticket {ticket} is answered twice");
                    outcome.answers.insert(ticket, answer.map(|acknowledged| acknowledged.base_offset));
                }
                Effect::Wake(FetchTicket(ticket)) => {
                    outcome.wakes.insert(ticket);
                }
                Effect::ProposeIsr(proposal) => panic!("nobody lags, nobody may join: {proposal:?}"),
            }
        }
        outcome
    }
}

proptest! {
    #[test]
    fn a_leader_does_as_its_model(inputs in prop::collection::vec(input(), 1..120)) {
        let mut run = Run::new();
        inputs.into_iter().for_each(|input| run.perform(input));
        run.perform(Input::Resign);
    }
}
