//! A leader's transcripts. Broker 1 leads; time is in ms; every broker is registered in incarnation 1 until it is said otherwise.
//!
//! ```text
//! > lead 5 replicas=1,2,3 isr=1,2 min=2 start=0 high=3 flushed=5 end=5 epochs=0:0,3:2 lag=10000 records=100
//! > produce 7 acks=-1 records=2 deadline=100       ticket 7 stands for what is appended
//! > again 8 acks=-1 3..5                           ticket 8 waits for what was appended before (a duplicate)
//! > open 2 end=3 epoch=4 opening=1 incarnation=1 leader_epoch=5
//! > ack 2 7 opening=1 incarnation=1 leader_epoch=5   what is not named is as it should be; the first ack opens
//! > close 2
//! > isr 1,2,3                                      committed, by metadata
//! > answer Committed | Refused | Superseded | Unknown [partition_epoch=0]
//! > fence 2 | register 2 7 | min 1 | flush 7 | trim 3 | time 100 | resign NotLeader | park 1 5 | leave 1
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use storage::epochs::EpochCache;
use storage::ids::{PartitionId, TopicId};

use super::{Input, offsets};
use crate::metadata::image::{BrokerEpoch, PartitionEpoch};
use crate::model::{BrokerId, LeaderEpoch};
use crate::partition::fetch_waiters::FetchTicket;
use crate::partition::isr::{AssignedReplica, Assignment, IsrAnswer};
use crate::partition::ladder::{FlushedEndOffset, LogEndOffset, LogStartOffset};
use crate::partition::leader::Reign;
use crate::partition::produce_waiters::Waiter;
use crate::partition::replica::LagLimits;
use crate::partition::replication::{OpeningRequest, ReplicaAck};
use crate::partition::{AckError, Acknowledged, Acks, Effect, Effects, IsrProposal, Leader, ProduceTicket};
use crate::rt::Monotonic;

#[derive(Default)]
pub(super) struct Stage {
    leader: Option<Leader>,
    now: i64,
    epochs: EpochCache,
    replicas: Vec<BrokerId>,
    isr: Vec<BrokerId>,
    partition_epoch: i32,
    live: BTreeMap<BrokerId, Option<BrokerEpoch>>,
    openings: BTreeMap<BrokerId, u32>,
    proposal: Option<IsrProposal>,
}

impl super::Stage for Stage {
    fn perform(&mut self, input: &Input) -> String {
        let mut fx = Effects::new();
        let mut text = match input.verb {
            "lead" => self.lead(input),
            "produce" => self.produce(input, &mut fx),
            "again" => {
                let (base, end) = input.word(2).split_once("..").unwrap();
                self.wait(input, (base.parse().unwrap(), end.parse().unwrap()), &mut fx)
            }
            "open" => self.open(input),
            "ack" => self.ack(input, &mut fx),
            "isr" => {
                self.isr = brokers(input.word(0));
                self.partition_epoch += 1;
                self.assign(&mut fx)
            }
            "answer" => self.answer(input, &mut fx),
            "fence" => {
                self.live.insert(broker(input.word(0)), None);
                self.assign(&mut fx)
            }
            "register" => {
                self.live.insert(broker(input.word(0)), Some(BrokerEpoch(input.number(1))));
                self.assign(&mut fx)
            }
            "time" => {
                self.now = input.number(0);
                self.leader.as_mut().unwrap().on_tick(ms(self.now), &mut fx);
                String::new()
            }
            _ => self.tell(input, &mut fx),
        };
        fx.into_iter().for_each(|effect| self.describe(effect, &mut text));
        text + &self.state()
    }
}

impl Stage {
    fn lead(&mut self, input: &Input) -> String {
        let ladder = input.ladder();
        let leader_epoch = LeaderEpoch(input.number(0) as i32);
        *self = Stage { epochs: input.epochs(), ..Stage::default() };
        self.replicas = brokers(input.text("replicas").unwrap());
        self.isr = brokers(input.text("isr").unwrap());
        self.live = self.replicas.iter().map(|broker| (*broker, Some(BrokerEpoch(1)))).collect();
        self.epochs.assign(leader_epoch, ladder.log_end().0);
        let partition = PartitionId { topic_id: TopicId(uuid::Uuid::nil()), partition: 0 };
        let time = Duration::from_millis(input.value("lag").unwrap_or(10_000) as u64);
        let lag_limits = LagLimits { time, records: input.value("records") };
        let reign = Reign { partition, broker: BrokerId(1), leader_epoch, lag_limits };
        let min = input.value("min").unwrap_or(1) as usize;
        self.leader = Some(Leader::new(reign, ladder, &self.assignment(), min, ms(0)));
        String::new()
    }

    fn assignment(&self) -> Assignment {
        let assigned = |broker: &BrokerId| AssignedReplica {
            broker: *broker,
            in_sync: self.isr.contains(broker),
            live_as: self.live[broker],
        };
        let replicas = self.replicas.iter().map(assigned).collect();
        Assignment { partition_epoch: PartitionEpoch(self.partition_epoch), replicas }
    }

    fn assign(&mut self, fx: &mut Effects) -> String {
        let assignment = self.assignment();
        self.leader.as_mut().unwrap().on_assignment(&assignment, ms(self.now), fx);
        String::new()
    }

    fn produce(&mut self, input: &Input, fx: &mut Effects) -> String {
        let leader = self.leader.as_mut().unwrap();
        if let Err(error) = leader.admit(acks(input)) {
            return format!("ticket {}: {error:?}, nothing is appended\n", input.word(0));
        }
        let base = leader.ladder().log_end().0;
        let end = base + input.value("records").unwrap_or(1);
        leader.on_appended(LogEndOffset(end), ms(self.now));
        self.wait(input, (base, end), fx)
    }

    fn wait(&mut self, input: &Input, (base_offset, end_offset): (i64, i64), fx: &mut Effects) -> String {
        let leader = self.leader.as_mut().unwrap();
        if let Err(error) = leader.admit(acks(input)) {
            return format!("ticket {}: {error:?}\n", input.word(0));
        }
        let deadline = ms(input.value("deadline").unwrap_or(1_000_000_000));
        let ticket = ProduceTicket(input.number(0) as u64);
        leader.on_waiter(acks(input), Waiter { ticket, base_offset, end_offset, deadline }, fx);
        String::new()
    }

    fn open(&mut self, input: &Input) -> String {
        let broker = broker(input.word(0));
        let newest = self.openings.entry(broker).or_default();
        let opening = input.value("opening").map_or(*newest + 1, |opening| opening as u32);
        *newest = opening.max(*newest);
        let leader = self.leader.as_mut().unwrap();
        let leader_epoch = input.value("leader_epoch").map_or(leader.leader_epoch(), |epoch| LeaderEpoch(epoch as i32));
        let last_epoch = input.value("epoch").map(|epoch| LeaderEpoch(epoch as i32));
        let end_offset = input.value("end").unwrap_or(0);
        let request = OpeningRequest { leader_epoch, opening, end_offset, last_epoch };
        let incarnation = BrokerEpoch(input.value("incarnation").unwrap_or(1));
        format!("{:?}\n", leader.on_opening(broker, incarnation, &request, &self.epochs))
    }

    fn ack(&mut self, input: &Input, fx: &mut Effects) -> String {
        let broker = broker(input.word(0));
        if !self.openings.contains_key(&broker) {
            self.open(&Input { verb: "open", words: vec![input.word(0)] });
        }
        let leader = self.leader.as_mut().unwrap();
        let ack = ReplicaAck {
            leader_epoch: input.value("leader_epoch").map_or(leader.leader_epoch(), |epoch| LeaderEpoch(epoch as i32)),
            opening: input.value("opening").map_or(self.openings[&broker], |opening| opening as u32),
            flushed_end_offset: input.number(1),
        };
        let incarnation = BrokerEpoch(input.value("incarnation").unwrap_or(1));
        match leader.on_replica_ack(broker, incarnation, &ack, ms(self.now), fx) {
            Ok(()) => String::new(),
            Err(error) => format!("{error}\n"),
        }
    }

    fn answer(&mut self, input: &Input, fx: &mut Effects) -> String {
        let proposal = self.proposal.as_ref().unwrap();
        let at = input.value("partition_epoch").map_or(proposal.partition_epoch, |at| PartitionEpoch(at as i32));
        let answer = match input.word(0) {
            "Committed" => {
                self.isr = proposal.isr.iter().map(|member| member.broker).collect();
                self.partition_epoch = at.0 + 1;
                IsrAnswer::Committed(PartitionEpoch(self.partition_epoch))
            }
            "Refused" => IsrAnswer::Refused,
            "Superseded" => IsrAnswer::Superseded,
            "Unknown" => IsrAnswer::Unknown,
            other => panic!("{other}?"),
        };
        self.leader.as_mut().unwrap().on_isr_answer(at, answer, ms(self.now), fx);
        String::new()
    }

    fn tell(&mut self, input: &Input, fx: &mut Effects) -> String {
        let leader = self.leader.as_mut().unwrap();
        match input.verb {
            "close" => leader.on_disconnected(broker(input.word(0)), ms(self.now), fx),
            "min" => leader.on_min_insync_replicas(input.number(0) as usize, fx),
            "flush" => leader.on_flushed(FlushedEndOffset(input.number(0)), fx),
            "trim" => leader.on_trimmed(LogStartOffset(input.number(0)), fx),
            "resign" => leader.on_resigned(reason(input.word(0)), fx),
            "park" => leader.on_fetch_parked(FetchTicket(input.number(0) as u64), input.number(1)),
            "leave" => leader.on_fetch_left(FetchTicket(input.number(0) as u64)),
            verb => panic!("what is {verb}?"),
        }
        String::new()
    }

    fn describe(&mut self, effect: Effect, text: &mut String) {
        match effect {
            Effect::Answer { ticket, outcome: Ok(Acknowledged { base_offset, log_start_offset: start }) } => {
                writeln!(text, "ticket {}: acknowledged at {base_offset}, the log starts at {start}", ticket.0)
            }
            Effect::Answer { ticket, outcome: Err(error) } => writeln!(text, "ticket {}: {error:?}", ticket.0),
            Effect::Wake(ticket) => writeln!(text, "fetch {} wakes", ticket.0),
            Effect::ProposeIsr(proposal) => {
                let members = proposal.isr.iter().map(|member| match member.broker_epoch {
                    Some(epoch) => format!("{} (incarnation {})", member.broker.0, epoch.0),
                    None => format!("{} (fenced)", member.broker.0),
                });
                let members: Vec<String> = members.collect();
                let at = proposal.partition_epoch.0;
                self.proposal = Some(*proposal);
                writeln!(text, "propose at partition epoch {at}: {}", members.join(", "))
            }
        }
        .unwrap();
    }

    fn state(&self) -> String {
        let leader = self.leader.as_ref().unwrap();
        let refuses = if leader.admit(Acks::All).is_err() { ", acks=-1 is refused" } else { "" };
        let unknown = if leader.knows_high_watermark() { "" } else { ", latest is not known yet" };
        format!("{}{refuses}{unknown}\n", offsets(leader.ladder()))
    }
}

fn ms(ms: i64) -> Monotonic {
    Monotonic(ms as u64 * 1_000_000)
}

fn acks(input: &Input) -> Acks {
    match input.value("acks").unwrap() {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        other => panic!("acks={other}?"),
    }
}

fn reason(word: &str) -> AckError {
    match word {
        "NotLeader" => AckError::NotLeader,
        "Offline" => AckError::Offline,
        other => panic!("{other}?"),
    }
}

fn broker(word: &str) -> BrokerId {
    BrokerId(word.parse().unwrap())
}

fn brokers(list: &str) -> Vec<BrokerId> {
    list.split(',').map(broker).collect()
}
