//! Voters: which data directory each of them is.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a voter is bound once, to the directory it first shows up with: a wiped disk never votes again (KIP-853).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Decision;
use crate::metadata::change::{Action, BindVoter};
use crate::metadata::image::Image;
use crate::model::BrokerId;

/// Why a broker's directory is no voter's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum BindVoterError {
    /// The broker was never named as one.
    #[error("broker {} is no voter of this cluster", .0.0)]
    NoVoter(BrokerId),
    /// It came with another directory before.
    #[error("voter {} has another data directory, {known}: this one has lost what the voter knew", node.0)]
    OtherDirectory {
        /// The broker.
        node: BrokerId,
        /// The directory it is bound to.
        known: Uuid,
    },
}

/// Decides over a voter that shows up with a directory.
pub fn bind_voter(image: &Image, node: BrokerId, directory_id: Uuid) -> Decision<Result<(), BindVoterError>> {
    match image.voter(node) {
        None => Decision::nothing(Err(BindVoterError::NoVoter(node))),
        Some(voter) => match voter.directory_id {
            Some(known) if known == directory_id => Decision::nothing(Ok(())),
            Some(known) => Decision::nothing(Err(BindVoterError::OtherDirectory { node, known })),
            None => {
                let bind = BindVoter { raft_id: voter.raft_id, directory_id: directory_id.into() };
                Decision::propose(Ok(()), Action::BindVoter(bind))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;
    use crate::metadata::image::Voter;

    #[test]
    fn a_voter_is_bound_once_and_no_other_directory_is_it() {
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let image = Image::empty("c", [Voter { raft_id: 4, node_id: BrokerId(3), directory_id: None }]);
        assert_eq!(bind_voter(&image, BrokerId(9), first).outcome, Err(BindVoterError::NoVoter(BrokerId(9))));
        let decision = bind_voter(&image, BrokerId(3), first);
        assert_eq!(decision.outcome, Ok(()));
        let (image, _) = image.apply(2, &decision.changes[0]).unwrap();
        assert_eq!(image.voter(BrokerId(3)).unwrap().directory_id, Some(first));
        assert_eq!(bind_voter(&image, BrokerId(3), first), Decision::nothing(Ok(())));
        let refused = bind_voter(&image, BrokerId(3), second);
        assert_eq!(refused, Decision::nothing(Err(BindVoterError::OtherDirectory { node: BrokerId(3), known: first })));
        let by_force = crate::metadata::change::Change::new(Action::BindVoter(BindVoter {
            raft_id: 4,
            directory_id: second.into(),
        }));
        assert!(image.apply(3, &by_force).is_err());
    }
}
