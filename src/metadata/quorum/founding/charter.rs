//! The charter: what a cluster is founded with, and the messages in which the named voters agree on it, as bytes.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: a charter names every voter once; a voter whose directory was not heard of is named without one.

use prost::Message;
use uuid::Uuid;

use crate::metadata::change::Id;
use crate::model::BrokerId;

/// What a cluster is founded with: there is one for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charter {
    /// The cluster's id.
    pub cluster_id: String,
    /// Its voters, by id, with the data directories that are known.
    pub voters: Vec<(BrokerId, Option<Uuid>)>,
}

/// The number of an attempt to found; larger ones go before smaller ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ballot {
    /// How many attempts were seen before.
    pub round: u64,
    /// Who attempts it: two brokers never attempt the same.
    pub node: BrokerId,
}

/// What a broker that wants to be in a cluster asks of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Who are you? The asker's named voters.
    WhoAreYou(Vec<BrokerId>),
    /// Take part in no attempt before this one, and say what you accepted.
    Prepare(Ballot, Vec<BrokerId>),
    /// Accept this charter.
    Accept(Ballot, Charter),
}

/// What the other one says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// I am in a cluster: its charter, and its voters as they are known now.
    Founded(Charter, Vec<(BrokerId, Option<Uuid>)>),
    /// I am empty, and name the same voters.
    Empty,
    /// I take part in no earlier attempt, and last accepted this.
    Promised(Option<(Ballot, Charter)>),
    /// Accepted, for ever unless a later attempt goes another way.
    Accepted,
    /// There was a later attempt.
    Behind(Ballot),
    /// I take no part: a sentence.
    Apart(String),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CharterRecord {
    #[prost(string, tag = "1")]
    cluster_id: String,
    #[prost(message, repeated, tag = "2")]
    voters: Vec<VoterRecord>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct VoterRecord {
    #[prost(int32, tag = "1")]
    node: i32,
    #[prost(message, optional, tag = "2")]
    directory_id: Option<Id>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct BallotRecord {
    #[prost(uint64, tag = "1")]
    round: u64,
    #[prost(int32, tag = "2")]
    node: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AcceptedRecord {
    #[prost(message, required, tag = "1")]
    ballot: BallotRecord,
    #[prost(message, required, tag = "2")]
    charter: CharterRecord,
}

#[derive(Clone, PartialEq, prost::Message)]
struct QuestionRecord {
    #[prost(message, optional, tag = "1")]
    ballot: Option<BallotRecord>,
    #[prost(message, optional, tag = "2")]
    charter: Option<CharterRecord>,
    #[prost(int32, repeated, tag = "3")]
    voters: Vec<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerRecord {
    #[prost(oneof = "AnswerKind", tags = "1, 2, 3, 4, 5, 6")]
    kind: Option<AnswerKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum AnswerKind {
    #[prost(message, tag = "1")]
    Founded(FoundedRecord),
    #[prost(bool, tag = "2")]
    Empty(bool),
    #[prost(message, tag = "3")]
    Promised(PromisedRecord),
    #[prost(bool, tag = "4")]
    Accepted(bool),
    #[prost(message, tag = "5")]
    Behind(BallotRecord),
    #[prost(string, tag = "6")]
    Apart(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct FoundedRecord {
    #[prost(message, required, tag = "1")]
    charter: CharterRecord,
    #[prost(message, repeated, tag = "2")]
    voters: Vec<VoterRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PromisedRecord {
    #[prost(message, optional, tag = "1")]
    accepted: Option<AcceptedRecord>,
}

impl Charter {
    /// Who is named.
    pub fn nodes(&self) -> Vec<BrokerId> {
        self.voters.iter().map(|(node, _)| *node).collect()
    }
}

impl Question {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let numbers = |nodes: &[BrokerId]| nodes.iter().map(|node| node.0).collect();
        let (ballot, charter, voters) = match self {
            Question::WhoAreYou(voters) => (None, None, numbers(voters)),
            Question::Prepare(ballot, voters) => (Some((*ballot).into()), None, numbers(voters)),
            Question::Accept(ballot, charter) => (Some((*ballot).into()), Some(charter.into()), Vec::new()),
        };
        QuestionRecord { ballot, charter, voters }.encode_to_vec()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Question, String> {
        let QuestionRecord { ballot, charter, voters } =
            QuestionRecord::decode(bytes).map_err(|error| error.to_string())?;
        let voters = voters.into_iter().map(BrokerId).collect();
        match (ballot, charter) {
            (None, None) => Ok(Question::WhoAreYou(voters)),
            (Some(ballot), None) => Ok(Question::Prepare(ballot.into(), voters)),
            (Some(ballot), Some(charter)) => Ok(Question::Accept(ballot.into(), charter.charter()?)),
            (None, Some(_)) => Err("a charter without a ballot".into()),
        }
    }
}

impl Answer {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let kind = match self {
            Answer::Founded(charter, voters) => {
                AnswerKind::Founded(FoundedRecord { charter: charter.into(), voters: records(voters) })
            }
            Answer::Empty => AnswerKind::Empty(true),
            Answer::Promised(accepted) => {
                AnswerKind::Promised(PromisedRecord { accepted: accepted.as_ref().map(AcceptedRecord::of) })
            }
            Answer::Accepted => AnswerKind::Accepted(true),
            Answer::Behind(ballot) => AnswerKind::Behind((*ballot).into()),
            Answer::Apart(reason) => AnswerKind::Apart(reason.clone()),
        };
        AnswerRecord { kind: Some(kind) }.encode_to_vec()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Answer, String> {
        let record = AnswerRecord::decode(bytes).map_err(|error| error.to_string())?;
        Ok(match record.kind.ok_or("an answer that this build does not know")? {
            AnswerKind::Founded(FoundedRecord { charter, voters }) => {
                Answer::Founded(charter.charter()?, read_voters(&voters)?)
            }
            AnswerKind::Empty(_) => Answer::Empty,
            AnswerKind::Promised(promised) => {
                Answer::Promised(promised.accepted.map(AcceptedRecord::read).transpose()?)
            }
            AnswerKind::Accepted(_) => Answer::Accepted,
            AnswerKind::Behind(ballot) => Answer::Behind(ballot.into()),
            AnswerKind::Apart(reason) => Answer::Apart(reason),
        })
    }
}

impl AcceptedRecord {
    pub(super) fn of((ballot, charter): &(Ballot, Charter)) -> AcceptedRecord {
        AcceptedRecord { ballot: (*ballot).into(), charter: charter.into() }
    }

    pub(super) fn read(self) -> Result<(Ballot, Charter), String> {
        Ok((self.ballot.into(), self.charter.charter()?))
    }
}

impl CharterRecord {
    pub(super) fn charter(self) -> Result<Charter, String> {
        let voters = read_voters(&self.voters)?;
        if self.cluster_id.is_empty() || voters.is_empty() {
            return Err("a charter of nothing".into());
        }
        Ok(Charter { cluster_id: self.cluster_id, voters })
    }
}

impl From<&Charter> for CharterRecord {
    fn from(charter: &Charter) -> CharterRecord {
        CharterRecord { cluster_id: charter.cluster_id.clone(), voters: records(&charter.voters) }
    }
}

impl From<Ballot> for BallotRecord {
    fn from(ballot: Ballot) -> BallotRecord {
        BallotRecord { round: ballot.round, node: ballot.node.0 }
    }
}

impl From<BallotRecord> for Ballot {
    fn from(record: BallotRecord) -> Ballot {
        Ballot { round: record.round, node: BrokerId(record.node) }
    }
}

fn records(voters: &[(BrokerId, Option<Uuid>)]) -> Vec<VoterRecord> {
    let record = |(node, directory): &(BrokerId, Option<Uuid>)| VoterRecord {
        node: node.0,
        directory_id: directory.map(Id::from),
    };
    voters.iter().map(record).collect()
}

fn read_voters(records: &[VoterRecord]) -> Result<Vec<(BrokerId, Option<Uuid>)>, String> {
    if !records.is_sorted_by(|one, next| one.node < next.node) || records.iter().any(|voter| voter.node < 0) {
        return Err("voters out of order".into());
    }
    Ok(records.iter().map(|voter| (BrokerId(voter.node), voter.directory_id.map(Uuid::from))).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_said_is_what_is_heard() {
        let voters = vec![(BrokerId(0), Some(Uuid::from_u128(5))), (BrokerId(2), None)];
        let charter = Charter { cluster_id: "c".into(), voters: voters.clone() };
        let ballot = Ballot { round: 0, node: BrokerId(2) };
        for question in [
            Question::WhoAreYou(charter.nodes()),
            Question::Prepare(ballot, charter.nodes()),
            Question::Accept(ballot, charter.clone()),
        ] {
            assert_eq!(Question::from_bytes(&question.to_bytes()), Ok(question));
        }
        for answer in [
            Answer::Founded(charter.clone(), voters),
            Answer::Empty,
            Answer::Promised(None),
            Answer::Promised(Some((ballot, charter))),
            Answer::Accepted,
            Answer::Behind(ballot),
            Answer::Apart("no".into()),
        ] {
            assert_eq!(Answer::from_bytes(&answer.to_bytes()), Ok(answer));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Question::from_bytes(&bytes);
            let _ = Answer::from_bytes(&bytes);
        }
    }
}
