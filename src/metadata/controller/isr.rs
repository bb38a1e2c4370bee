//! In-sync replicas, as their leaders propose them.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a partition epoch moves with every proposal that is accepted, even of the same members.

use super::brokers::incarnation;
use super::{Decision, IncarnationError};
use crate::metadata::image::{BrokerEpoch, Image};
use crate::model::BrokerId;
use crate::partition::IsrProposal;
use crate::partition::isr::IsrAnswer;

/// Decides over proposals of one leader.
pub fn alter_isr(
    image: &Image,
    broker: BrokerId,
    epoch: BrokerEpoch,
    proposals: &[IsrProposal],
) -> Decision<Result<Vec<IsrAnswer>, IncarnationError>> {
    Decision::nothing(incarnation(image, broker, epoch).map(|_| vec![IsrAnswer::Refused; proposals.len()]))
}
