//! One partition on three brokers, over links that delay, lose and break, with a controller that elects from the committed ISR,
//! brokers that learn of it late, and crashes that take what was not flushed.
//!
//! *Invariants* checked after every step: an offset has one value for ever once a high watermark anywhere has passed it; every
//! member of the committed ISR has all of that, flushed; what acks=-1 acknowledged is part of it; no high watermark falls while a
//! broker keeps its role. And once everything is well again, the logs are the same, all are in sync, and nobody waits.

mod broker;
mod controller;
mod traps;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use self::broker::{Broker, Frame, Record};
use self::controller::Controller;
use super::isr::IsrAnswer;
use super::{Effect, IsrProposal};
use crate::metadata::image::BrokerEpoch;
use crate::rt::Monotonic;

/// Brokers, by number from 0.
const BROKERS: usize = 3;
/// `replica.lag.time.max.ms`.
const LAG_MS: u64 = 1000;

#[derive(Clone, Copy, Debug)]
enum Step {
    Produce(usize, bool),
    Flush(usize, usize),
    Cut(usize),
    Open(usize),
    Send(usize, usize, usize),
    Deliver(usize, usize),
    /// The follower's link works for a while; it may hear from the controller first, and flush after.
    Exchange(usize, bool),
    Lose(usize, usize),
    Break(usize, usize),
    Time(u64),
    Learn(usize),
    Decide {
        pick: usize,
        answer_is_lost: bool,
    },
    GiveUp(usize),
    Hear(usize),
    MinInsync(usize),
    Elect(usize),
    Fence(usize),
    Unfence(usize),
    Checkpoint(usize),
    Crash(usize, usize),
    Restart {
        broker: usize,
        stays_in_sync: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let b = || 0..BROKERS;
    prop_oneof![
        20 => (b(), any::<bool>()).prop_map(|(b, all)| Step::Produce(b, all)),
        30 => (b(), 1..9usize).prop_map(|(b, some)| Step::Flush(b, some)),
        8 => b().prop_map(Step::Cut),
        6 => b().prop_map(Step::Open),
        12 => (b(), b(), 1..4usize).prop_map(|(from, to, some)| Step::Send(from, to, some)),
        20 => (b(), b()).prop_map(|(from, to)| Step::Deliver(from, to)),
        40 => (b(), any::<bool>()).prop_map(|(b, in_full)| Step::Exchange(b, in_full)),
        1 => (b(), b()).prop_map(|(from, to)| Step::Lose(from, to)),
        1 => (b(), b()).prop_map(|(from, to)| Step::Break(from, to)),
        4 => (1..600u64).prop_map(Step::Time),
        8 => b().prop_map(Step::Learn),
        8 => (0..9usize, any::<bool>()).prop_map(|(pick, answer_is_lost)| Step::Decide { pick, answer_is_lost }),
        2 => (0..9usize).prop_map(Step::GiveUp),
        8 => (0..9usize).prop_map(Step::Hear),
        1 => (1..4usize).prop_map(Step::MinInsync),
        2 => b().prop_map(Step::Elect),
        1 => b().prop_map(Step::Fence),
        2 => b().prop_map(Step::Unfence),
        2 => b().prop_map(Step::Checkpoint),
        1 => (b(), 0..4usize).prop_map(|(b, kept)| Step::Crash(b, kept)),
        3 => (b(), any::<bool>()).prop_map(|(broker, stays_in_sync)| Step::Restart { broker, stays_in_sync }),
    ]
}

#[derive(Clone)]
struct Pending {
    from: usize,
    incarnation: BrokerEpoch,
    proposal: IsrProposal,
    is_given_up: bool,
}

struct World {
    now_ms: u64,
    controller: Controller,
    brokers: [Broker; BROKERS],
    links: BTreeMap<(usize, usize), VecDeque<Frame>>,
    proposals: Vec<Pending>,
    answers: Vec<(Pending, IsrAnswer)>,
    /// What some high watermark has passed: it is so for ever.
    committed: Vec<Record>,
    answered: BTreeSet<u64>,
    next_number: u64,
}

impl World {
    fn new() -> World {
        let controller = Controller::new();
        let brokers = std::array::from_fn(|index| Broker::new(index, &controller));
        let mut world = World {
            now_ms: 0,
            controller,
            brokers,
            links: BTreeMap::new(),
            proposals: Vec::new(),
            answers: Vec::new(),
            committed: Vec::new(),
            answered: BTreeSet::new(),
            next_number: 0,
        };
        (0..BROKERS).for_each(|b| world.learn(b));
        world
    }

    fn now(&self) -> Monotonic {
        Monotonic(self.now_ms * 1_000_000)
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Produce(b, all) => {
                self.next_number += 1;
                let fx = self.brokers[b].produce(self.next_number, all, self.now());
                self.run(b, fx);
            }
            Step::Flush(b, some) => {
                let fx = self.brokers[b].flush(some);
                self.run(b, fx);
                if let (Some(leader), Some(ack)) = (self.brokers[b].leader_known(), self.brokers[b].ack()) {
                    self.links.entry((b, leader)).or_default().push_back(ack);
                }
            }
            Step::Cut(b) => self.brokers[b].finish_cut(),
            Step::Open(b) => self.open(b),
            Step::Send(from, to, some) => {
                if let Some(frame) = self.brokers[from].data_for(to, some) {
                    self.links.entry((from, to)).or_default().push_back(frame);
                }
            }
            Step::Deliver(from, to) => self.deliver(from, to),
            Step::Exchange(follower, in_full) => self.exchange(follower, in_full),
            Step::Lose(from, to) => drop(self.links.entry((from, to)).or_default().pop_front()),
            Step::Break(a, b) => self.break_link(a, b),
            Step::Time(ms) => {
                self.now_ms += ms;
                for b in 0..BROKERS {
                    let fx = self.brokers[b].tick(self.now());
                    self.run(b, fx);
                }
            }
            Step::Learn(b) => self.learn(b),
            Step::Decide { pick, answer_is_lost } => self.decide(pick, answer_is_lost),
            Step::GiveUp(pick) => self.give_up(pick),
            Step::Hear(pick) => self.hear(pick),
            Step::MinInsync(count) => {
                self.controller.min_insync = count;
                for b in 0..BROKERS {
                    let fx = self.brokers[b].set_min_insync(count);
                    self.run(b, fx);
                }
            }
            Step::Elect(b) => self.controller.elect(b),
            Step::Fence(b) => self.controller.fence(b),
            Step::Unfence(b) if self.brokers[b].is_up => self.controller.unfence(b),
            Step::Unfence(_) => {}
            Step::Checkpoint(b) => self.brokers[b].checkpoint(),
            Step::Crash(b, kept) => {
                // What it has sent still arrives, and nobody is told.
                if self.brokers[b].is_up {
                    self.brokers[b].crash(kept);
                }
            }
            Step::Restart { broker, stays_in_sync } => {
                if !self.brokers[broker].is_up {
                    self.links.retain(|(_, to), _| *to != broker);
                    self.controller.register(broker, stays_in_sync);
                    self.brokers[broker].restart(self.controller.incarnations[broker]);
                }
            }
        }
        self.check();
    }

    fn open(&mut self, b: usize) {
        if let (Some(leader), Some(frame)) = (self.brokers[b].leader_known(), self.brokers[b].open()) {
            self.links.entry((b, leader)).or_default().push_back(frame);
        }
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let Some(frame) = self.links.entry((from, to)).or_default().pop_front() else { return };
        let delivered = self.brokers[to].receive(from, frame, self.now());
        match delivered {
            Ok((reply, fx)) => {
                self.links.entry((to, from)).or_default().extend(reply);
                self.run(to, fx);
            }
            Err(()) => self.break_link(from, to),
        }
    }

    fn exchange(&mut self, follower: usize, in_full: bool) {
        if in_full {
            self.learn(follower);
        }
        let Some(leader) = self.brokers[follower].leader_known() else { return };
        for _ in 0..2 {
            if !self.brokers[follower].is_following() {
                self.open(follower);
            }
            self.perform(Step::Send(leader, follower, usize::MAX));
            for (from, to) in [(follower, leader), (leader, follower)] {
                while self.links.get(&(from, to)).is_some_and(|link| !link.is_empty()) {
                    self.perform(Step::Deliver(from, to));
                }
            }
            if in_full {
                self.perform(Step::Cut(follower));
                self.perform(Step::Flush(follower, usize::MAX));
            }
        }
    }

    fn break_link(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            self.links.remove(&(from, to));
            let fx = self.brokers[to].on_broken(from, self.now());
            self.run(to, fx);
        }
    }

    fn learn(&mut self, b: usize) {
        let fx = self.brokers[b].learn(&self.controller, self.now());
        self.run(b, fx);
    }

    /// The controller decides on any proposal that is on its way, in any order; the answer may be lost.
    fn decide(&mut self, pick: usize, answer_is_lost: bool) {
        if self.proposals.is_empty() {
            return;
        }
        let pending = self.proposals.remove(pick % self.proposals.len());
        let answer = self.controller.decide(pending.from, &pending.proposal);
        if !pending.is_given_up {
            self.answers.push((pending, if answer_is_lost { IsrAnswer::Unknown } else { answer }));
        }
    }

    /// The leader is told that no answer came; the proposal may arrive all the same.
    fn give_up(&mut self, pick: usize) {
        let count = self.proposals.iter().filter(|pending| !pending.is_given_up).count();
        if count > 0 {
            let mut waiting = self.proposals.iter_mut().filter(|pending| !pending.is_given_up);
            let pending = waiting.nth(pick % count).expect("there are so many");
            pending.is_given_up = true;
            let pending = pending.clone();
            self.answers.push((pending, IsrAnswer::Unknown));
        }
    }

    /// Any answer that is on its way arrives.
    fn hear(&mut self, pick: usize) {
        if self.answers.is_empty() {
            return;
        }
        let (Pending { from, incarnation, proposal, .. }, answer) = self.answers.remove(pick % self.answers.len());
        if self.brokers[from].incarnation == incarnation {
            let fx = self.brokers[from].on_isr_answer(&proposal, answer, self.now());
            self.run(from, fx);
        }
    }

    fn run(&mut self, b: usize, fx: Vec<Effect>) {
        self.note_committed();
        for effect in fx {
            match effect {
                Effect::Answer { ticket, outcome } => {
                    assert!(self.answered.insert(ticket.0), "{ticket:?} is answered twice");
                    let waiting = self.brokers[b].waiting.remove(&ticket.0).expect("who waited is answered");
                    if outcome.is_ok() && waiting.all {
                        let is = self.committed.get(waiting.offset as usize);
                        assert_eq!(
                            is.map(|record| record.value),
                            Some(ticket.0),
                            "acknowledged by {b} at {}",
                            waiting.offset
                        );
                    }
                }
                Effect::Wake(_) => {}
                Effect::ProposeIsr(proposal) => {
                    let incarnation = self.brokers[b].incarnation;
                    self.proposals.push(Pending { from: b, incarnation, proposal: *proposal, is_given_up: false });
                }
            }
        }
    }

    fn note_committed(&mut self) {
        for broker in &self.brokers {
            let visible = &broker.log[..broker.high_watermark() as usize];
            let common = visible.len().min(self.committed.len());
            assert_eq!(visible[..common], self.committed[..common], "broker {} shows other records", broker.index);
            self.committed.extend_from_slice(&visible[common..]);
        }
    }

    fn check(&mut self) {
        self.note_committed();
        for member in &self.controller.isr {
            let broker = &self.brokers[*member];
            let durable = &broker.log[..broker.flushed];
            let count = self.committed.len();
            assert!(durable.len() >= count, "{member} in sync has flushed {} of {count}", durable.len());
            assert_eq!(durable[..count], self.committed, "{member} in sync has other records");
        }
        self.brokers.iter_mut().for_each(Broker::check_high_watermark);
    }

    /// Everything works from now on: until all agree.
    fn heal(&mut self) {
        for b in 0..BROKERS {
            self.perform(Step::Restart { broker: b, stays_in_sync: true });
            self.perform(Step::Unfence(b));
        }
        for a in 0..BROKERS {
            (0..BROKERS).for_each(|b| self.perform(Step::Break(a, b)));
        }
        for _ in 0..40 {
            for b in 0..BROKERS {
                self.perform(Step::Decide { pick: 0, answer_is_lost: false });
                self.perform(Step::Hear(0));
                self.perform(Step::Learn(b));
                self.perform(Step::Exchange(b, true));
                self.perform(Step::Flush(b, usize::MAX));
            }
            self.perform(Step::Time(100));
        }
        let [first, others @ ..] = &self.brokers;
        assert_eq!(self.controller.isr.len(), BROKERS, "all are in sync");
        for broker in others {
            assert_eq!(broker.log, first.log);
        }
        for broker in &self.brokers {
            assert_eq!(broker.high_watermark(), first.log.len() as i64, "broker {} knows how far", broker.index);
            assert!(broker.waiting.is_empty(), "who waits at broker {} is answered", broker.index);
            assert!(!broker.needs_tick(), "broker {} is at rest", broker.index);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// KIP-101, 279, 497, 903, 966: see the module.
    #[test]
    fn nothing_acknowledged_is_lost_and_logs_never_differ(steps in prop::collection::vec(step(), 1..600)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.perform(step));
        world.heal();
    }
}
