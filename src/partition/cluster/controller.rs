//! The controller of the model: it elects from the committed ISR, and checks proposals as Kafka's does.

use super::BROKERS;
use crate::metadata::image::{BrokerEpoch, PartitionEpoch};
use crate::model::BrokerId;
use crate::partition::IsrProposal;
use crate::partition::isr::{AssignedReplica, Assignment, IsrAnswer};

#[derive(Clone)]
pub(super) struct Controller {
    pub(super) leader: Option<usize>,
    pub(super) leader_epoch: i32,
    pub(super) partition_epoch: i32,
    pub(super) isr: Vec<usize>,
    pub(super) incarnations: [BrokerEpoch; BROKERS],
    pub(super) fenced: [bool; BROKERS],
    pub(super) min_insync: usize,
}

impl Controller {
    pub(super) fn new() -> Controller {
        Controller {
            leader: Some(0),
            leader_epoch: 0,
            partition_epoch: 0,
            isr: (0..BROKERS).collect(),
            incarnations: [BrokerEpoch(1); BROKERS],
            fenced: [false; BROKERS],
            min_insync: 2,
        }
    }

    pub(super) fn assignment(&self) -> Assignment {
        let replicas = (0..BROKERS).map(|b| AssignedReplica {
            broker: BrokerId(b as i32),
            in_sync: self.isr.contains(&b),
            live_as: (!self.fenced[b]).then_some(self.incarnations[b]),
        });
        Assignment { partition_epoch: PartitionEpoch(self.partition_epoch), replicas: replicas.collect() }
    }

    /// Moves the leadership, if `b` may have it.
    pub(super) fn elect(&mut self, b: usize) {
        if self.isr.contains(&b) && !self.fenced[b] && self.leader != Some(b) {
            self.lead(Some(b));
        }
    }

    fn lead(&mut self, leader: Option<usize>) {
        self.leader = leader;
        self.leader_epoch += 1;
        self.partition_epoch += 1;
    }

    /// Its leadership ends, and it leaves the ISR unless it is the last.
    pub(super) fn fence(&mut self, b: usize) {
        self.fenced[b] = true;
        self.leave(b);
    }

    fn leave(&mut self, b: usize) {
        if self.isr.contains(&b) && self.isr.len() > 1 {
            self.isr.retain(|member| *member != b);
            self.partition_epoch += 1;
        }
        if self.leader == Some(b) {
            let successor = self.isr.iter().copied().find(|member| !self.fenced[*member]);
            self.lead(successor);
        }
    }

    pub(super) fn unfence(&mut self, b: usize) {
        self.fenced[b] = false;
        if self.leader.is_none() {
            self.elect(b);
        }
    }

    /// A new incarnation. Its disk has all that it claimed, so it may stay in sync; but it never goes on with a reign of the one
    /// before: followers may have records of that reign that it has lost.
    pub(super) fn register(&mut self, b: usize, stays_in_sync: bool) {
        self.incarnations[b].0 += 1;
        if stays_in_sync && self.leader == Some(b) {
            self.lead(Some(b));
        } else if !stays_in_sync {
            self.leave(b);
        }
        self.unfence(b);
    }

    /// The order of the checks is Kafka's.
    pub(super) fn decide(&mut self, from: usize, proposal: &IsrProposal) -> IsrAnswer {
        if proposal.leader_epoch.0 != self.leader_epoch || self.leader != Some(from) {
            return IsrAnswer::Superseded;
        }
        if proposal.partition_epoch.0 != self.partition_epoch {
            return IsrAnswer::Superseded;
        }
        let members = || proposal.isr.iter().map(|member| member.broker.0 as usize);
        assert!(members().any(|member| member == from), "a leader proposes itself");
        let is_eligible = proposal.isr.iter().all(|member| {
            let b = member.broker.0 as usize;
            !self.fenced[b] && member.broker_epoch == Some(self.incarnations[b])
        });
        if !is_eligible {
            return IsrAnswer::Refused;
        }
        self.isr = members().collect();
        self.partition_epoch += 1;
        IsrAnswer::Committed(PartitionEpoch(self.partition_epoch))
    }
}
