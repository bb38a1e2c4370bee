//! In-sync replicas, as their leaders propose them (Kafka's AlterPartition).
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: nobody joins who is fenced, leaves, or has been started anew since the leader heard of it (KIP-903); a partition
//! epoch moves with every proposal that is accepted, even of the same members: a leader rules out by that what it proposed before.
//! *Why* the order of the checks is Kafka's: `ReplicationControlManager.validateAlterPartitionData`.

use std::collections::BTreeMap;

use super::brokers::incarnation;
use super::succession::{self, Terms};
use super::{Decision, IncarnationError, Rules};
use crate::metadata::change::Reason;
use crate::metadata::image::{BrokerEpoch, BrokerList, Image, Partition};
use crate::model::{BrokerId, PartitionId};
use crate::partition::IsrProposal;
use crate::partition::isr::IsrAnswer;

/// Decides over the proposals of one broker: however many there are, it is one change.
pub fn alter_isr(
    image: &Image,
    broker: BrokerId,
    epoch: BrokerEpoch,
    proposals: &[IsrProposal],
    rules: &Rules,
) -> Decision<Result<Vec<IsrAnswer>, IncarnationError>> {
    if let Err(error) = incarnation(image, broker, epoch) {
        return Decision::nothing(Err(error));
    }
    let mut accepted: BTreeMap<PartitionId, Partition> = BTreeMap::new();
    let answers = proposals.iter().map(|proposal| {
        let id = proposal.partition;
        let before = accepted.get(&id).or_else(|| image.partition(id));
        let (Some(topic), Some(before)) = (image.topic(id.topic_id), before) else { return IsrAnswer::Superseded };
        if let Some(refusal) = refusal(image, broker, before, proposal) {
            return refusal;
        }
        let members =
            before.replicas.iter().copied().filter(|id| proposal.isr.iter().any(|member| member.broker == *id));
        let terms = Terms::of(&topic.configs, rules);
        let after = succession::successor(before, members.collect(), before.leader, None, terms);
        let answer = IsrAnswer::Committed(after.partition_epoch);
        accepted.insert(id, after);
        answer
    });
    let answers = answers.collect();
    let changed = accepted.iter().map(|(id, after)| succession::change(id.topic_id, id.partition, after)).collect();
    Decision { outcome: Ok(answers), changes: succession::changes(changed, Reason::Proposed) }
}

/// Why a proposal is not accepted.
fn refusal(image: &Image, broker: BrokerId, before: &Partition, proposal: &IsrProposal) -> Option<IsrAnswer> {
    if proposal.leader_epoch > before.leader_epoch || proposal.partition_epoch > before.partition_epoch {
        // The leader knows more than this controller: it may be that there is a newer one.
        return Some(IsrAnswer::Unknown);
    }
    if proposal.leader_epoch < before.leader_epoch || before.leader != Some(broker) {
        return Some(IsrAnswer::Superseded);
    }
    if proposal.partition_epoch < before.partition_epoch {
        return Some(IsrAnswer::Superseded);
    }
    let members: BrokerList = proposal.isr.iter().map(|member| member.broker).collect();
    let is_one_of_each = members.iter().enumerate().all(|(slot, member)| !members[..slot].contains(member));
    if !members.contains(&broker) || !is_one_of_each || !members.iter().all(|id| before.replicas.contains(id)) {
        return Some(IsrAnswer::Refused);
    }
    let is_eligible = |member: &crate::partition::isr::IsrMember| {
        let registered = image.brokers().get(&member.broker);
        registered.is_some_and(|registered| registered.is_live() && member.broker_epoch == Some(registered.epoch))
    };
    (!proposal.isr.iter().all(is_eligible)).then_some(IsrAnswer::Refused)
}
