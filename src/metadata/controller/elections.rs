//! Elections that nobody's death calls for: an operator's (KIP-460), and those that bring leaders back to where they are preferred.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a preferred leader is elected only if it is in sync; an unclean election is held only where there is no leader.

use serde::{Deserialize, Serialize};

use super::succession::{self, Terms};
use super::{Decision, Rules};
use crate::metadata::change::{Change, PartitionChange, Reason};
use crate::metadata::image::{Image, Partition, Topic};
use crate::model::BrokerId;

/// Of the partitions that prefer a broker, how many in a hundred may be led by others before they are brought back.
const IMBALANCE_PERCENT_MAX: usize = 10;
/// Elections in one round of balancing.
const BALANCED_AT_ONCE_MAX: usize = 1000;

/// Which leader is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Election {
    /// The first of the replicas.
    Preferred,
    /// Any that lives, where there is none: what only others had is lost.
    Unclean,
}

/// Why nobody was elected. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ElectLeaderError {
    /// No such topic or partition.
    #[error("{0}")]
    UnknownPartition(String),
    /// The preferred leader leads, or, in an unclean election, somebody does.
    #[error("Leader election not needed for topic partition.")]
    NotNeeded,
    /// The preferred leader is not in sync, or does not live.
    #[error("The preferred leader was not available.")]
    PreferredLeaderNotAvailable,
    /// No replica lives.
    #[error("Eligible topic partition leaders are not available.")]
    EligibleLeadersNotAvailable,
}

/// A partition, as a client names it.
pub type PartitionName = (String, i32);

/// What becomes of each partition; of all, those that need no election are left out.
pub type ElectLeadersOutcome = Vec<(PartitionName, Result<(), ElectLeaderError>)>;

/// Decides over elections; `None` is all partitions.
pub fn elect_leaders(
    image: &Image,
    partitions: Option<&[PartitionName]>,
    election: Election,
    rules: &Rules,
) -> Decision<ElectLeadersOutcome> {
    let mut elected = std::collections::BTreeMap::new();
    let mut elect_one = |topic: &Topic, partition: i32, before: &Partition| {
        let after = elect(image, topic, before, election, rules)?;
        elected.insert((topic.id, partition), succession::change(topic.id, partition, &after));
        Ok(())
    };
    let mut outcome = Vec::new();
    if let Some(partitions) = partitions {
        for (name, partition) in partitions {
            let result = find(image, name, *partition).and_then(|(topic, before)| elect_one(topic, *partition, before));
            outcome.push(((name.clone(), *partition), result));
        }
    } else {
        for topic in image.topics() {
            for (partition, before) in topic.partitions.iter() {
                let result = elect_one(topic, *partition, before);
                if result != Err(ElectLeaderError::NotNeeded) {
                    outcome.push(((topic.name.to_string(), *partition), result));
                }
            }
        }
    }
    Decision { outcome, changes: succession::changes(elected.into_values().collect(), Reason::Asked) }
}

fn find<'a>(image: &'a Image, name: &str, partition: i32) -> Result<(&'a Topic, &'a Partition), ElectLeaderError> {
    let unknown = |what: String| ElectLeaderError::UnknownPartition(format!("No such {what}"));
    let topic = image.topic_by_name(name).ok_or_else(|| unknown(format!("topic as {name}")))?;
    let found = topic.partition(partition).ok_or_else(|| unknown(format!("partition as {name}-{partition}")))?;
    Ok((topic, found))
}

fn elect(
    image: &Image,
    topic: &Topic,
    before: &Partition,
    election: Election,
    rules: &Rules,
) -> Result<Partition, ElectLeaderError> {
    let terms = Terms::of(&topic.configs, rules);
    match election {
        Election::Preferred if before.leader == Some(before.replicas[0]) => Err(ElectLeaderError::NotNeeded),
        Election::Preferred => prefer(image, before, terms).ok_or(ElectLeaderError::PreferredLeaderNotAvailable),
        Election::Unclean if before.leader.is_some() => Err(ElectLeaderError::NotNeeded),
        Election::Unclean => succession::settle(before, |id| image.lives(id), None, terms.unclean())
            .ok_or(ElectLeaderError::EligibleLeadersNotAvailable),
    }
}

/// The record under the preferred leader, if it may lead and does not.
fn prefer(image: &Image, before: &Partition, terms: Terms) -> Option<Partition> {
    let preferred = before.replicas[0];
    let may_lead = before.leader != Some(preferred) && before.isr.contains(&preferred) && image.lives(preferred);
    may_lead.then(|| succession::successor(before, before.isr.clone(), Some(preferred), None, terms))
}

/// Brings leaders back to where they are preferred, once too many are elsewhere. A round moves a bounded number of them: call it
/// again, later.
pub fn balance(image: &Image, rules: &Rules) -> Vec<Change> {
    let mut by_preferred: std::collections::BTreeMap<BrokerId, (usize, Vec<PartitionChange>)> = Default::default();
    for topic in image.topics() {
        let terms = Terms::of(&topic.configs, rules);
        for (partition, before) in topic.partitions.iter() {
            let (count, movable) = by_preferred.entry(before.replicas[0]).or_default();
            *count += 1;
            movable.extend(prefer(image, before, terms).map(|after| succession::change(topic.id, *partition, &after)));
        }
    }
    let imbalanced =
        by_preferred.into_values().filter(|(count, movable)| movable.len() * 100 > count * IMBALANCE_PERCENT_MAX);
    let moved = imbalanced.flat_map(|(_, movable)| movable).take(BALANCED_AT_ONCE_MAX).collect();
    succession::changes(moved, Reason::Balanced)
}
