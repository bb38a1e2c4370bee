//! What the log says of leaders and in-sync replicas that change, and of brokers that come and go: each once, where it is decided.
//!
//! *Which core*: metadata. *Invariants*: a command writes a bounded number of lines.

use crate::metadata::change::{Action, Change, PartitionChange, Reason};
use crate::metadata::image::{BrokerList, Image, Partition};
use crate::model::{BrokerId, PartitionId};

/// Partitions of one command that have a line each.
const LINES_MAX: usize = 200;

/// Reports what a committed command has changed.
pub(super) fn report(before: &Image, after: &Image, change: &Change) {
    let Some(action) = &change.action else { return };
    let (partitions, why) = match action {
        Action::ChangePartitions(changes) => (&changes.partitions, because(changes.reason())),
        Action::RegisterBroker(register) => {
            let state = if register.fenced { ", fenced until it has caught up" } else { "" };
            tracing::info!(epoch = after.version(), "broker {} registers{state}", register.broker);
            (&register.partitions, "a broker was started anew")
        }
        Action::FenceBrokers(fence) => {
            let (what, why) = match fence.fenced {
                true => ("fenced", "a broker is fenced"),
                false => ("unfenced", "a broker is unfenced"),
            };
            fence.brokers.iter().for_each(|broker| tracing::info!("broker {broker} is {what}"));
            (&fence.partitions, why)
        }
        Action::BeginLeaving(leave) => {
            tracing::info!("broker {} prepares to stop", leave.broker);
            (&leave.partitions, "a broker prepares to stop")
        }
        Action::CreateTopics(_)
        | Action::DeleteTopics(_)
        | Action::CreatePartitions(_)
        | Action::SetConfigs(_)
        | Action::AllocateProducerIds(_)
        | Action::SetFeature(_)
        | Action::BindVoter(_) => return,
    };
    partitions.iter().take(LINES_MAX).for_each(|change| report_partition(before, after, change, why));
    if partitions.len() > LINES_MAX {
        tracing::info!("and {} partitions more: {why}", partitions.len() - LINES_MAX);
    }
}

fn report_partition(before: &Image, after: &Image, change: &PartitionChange, why: &str) {
    let id = PartitionId { topic_id: change.topic_id.into(), partition: change.partition.partition };
    let (Some(topic), Some(old), Some(new)) = (after.topic(id.topic_id), before.partition(id), after.partition(id))
    else {
        return;
    };
    if old.leader != new.leader || old.leader_epoch != new.leader_epoch || old.isr != new.isr || old.elr != new.elr {
        tracing::info!("{}-{}: {}: {why}", topic.name, id.partition, describe(old, new));
    }
}

fn describe(old: &Partition, new: &Partition) -> String {
    let leader = |leader: Option<BrokerId>| leader.map_or("none".to_owned(), |leader| leader.0.to_string());
    let mut text = format!("leader {}", leader(old.leader));
    if old.leader_epoch != new.leader_epoch {
        text += &format!(" -> {} (epoch {} -> {})", leader(new.leader), old.leader_epoch.0, new.leader_epoch.0);
    }
    text += &format!(", isr {}", list(&old.isr));
    if old.isr != new.isr {
        text += &format!(" -> {}", list(&new.isr));
    }
    if !new.elr.is_empty() {
        text += &format!(", eligible {}", list(&new.elr));
    }
    text + &format!(" (partition epoch {})", new.partition_epoch.0)
}

fn list(brokers: &BrokerList) -> String {
    let ids: Vec<String> = brokers.iter().map(|broker| broker.0.to_string()).collect();
    format!("[{}]", ids.join(","))
}

fn because(reason: Reason) -> &'static str {
    match reason {
        Reason::Unknown => "for a reason that an older build did not say",
        Reason::Proposed => "its leader proposed it",
        Reason::Asked => "an operator asked for it",
        Reason::Balanced => "leaders go back to where they are preferred",
        Reason::Reconfigured => "configs have changed",
        Reason::Part => "see what follows",
    }
}
