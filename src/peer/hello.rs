//! The first frame of a connection between brokers, each way: who, of which cluster, and what for.
//!
//! *Which core*: any. *Invariants*: a hello has at most [`HELLO_BYTES_MAX`] bytes; what is read of one is whole, or an error.
//! *Why* prost messages of their own beside the types: later versions add fields, and a reader of this file sees the format.

use prost::Message;
use uuid::Uuid;

use crate::metadata::change::Id;
use crate::metadata::image::BrokerEpoch;
use crate::model::BrokerId;

/// The version of everything that follows a hello; a peer of another one is refused.
pub const PEER_FORMAT: u32 = 1;
/// A hello or its answer at most, in bytes.
pub const HELLO_BYTES_MAX: usize = 4 << 10;

/// What the one who connects says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// [`PEER_FORMAT`] of its build.
    pub format: u32,
    /// The cluster it belongs to, if it does already.
    pub cluster_id: Option<String>,
    /// Who it is.
    pub node: BrokerId,
    /// Its data directory.
    pub directory_id: Uuid,
    /// Its incarnation, if it is registered.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Whom it believes to have reached.
    pub to: BrokerId,
    /// What the connection is for.
    pub purpose: Purpose,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Messages of the metadata group, one way: from the one who connected.
    Raft,
    /// Metadata requests, and their answers.
    Control,
    /// Forming a cluster.
    Found,
    /// A follower's replicas, of one of its shards and one of the leader's.
    Replication {
        /// The follower's.
        from_shard: u32,
        /// The leader's.
        to_shard: u32,
    },
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Go on.
    Welcome(Welcome),
    /// The connection ends here.
    Refused {
        /// A sentence.
        reason: String,
    },
}

/// Who was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// [`PEER_FORMAT`] of its build.
    pub format: u32,
    /// The cluster it belongs to, if it does already.
    pub cluster_id: Option<String>,
    /// Who it is.
    pub node: BrokerId,
    /// Its data directory.
    pub directory_id: Uuid,
}

/// Bytes that are no hello, or no answer to one.
#[derive(Debug, thiserror::Error)]
#[error("no hello: {0}")]
pub struct NoHello(String);

#[derive(Clone, PartialEq, prost::Message)]
struct HelloRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, optional, tag = "2")]
    cluster_id: Option<String>,
    #[prost(int32, tag = "3")]
    node: i32,
    #[prost(message, required, tag = "4")]
    directory_id: Id,
    #[prost(int64, optional, tag = "5")]
    broker_epoch: Option<i64>,
    #[prost(int32, tag = "6")]
    to: i32,
    #[prost(oneof = "PurposeRecord", tags = "7, 8, 9, 10")]
    purpose: Option<PurposeRecord>,
}

#[derive(Clone, Copy, PartialEq, prost::Oneof)]
enum PurposeRecord {
    #[prost(bool, tag = "7")]
    Raft(bool),
    #[prost(bool, tag = "8")]
    Control(bool),
    #[prost(bool, tag = "9")]
    Found(bool),
    #[prost(message, tag = "10")]
    Replication(ReplicationRecord),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct ReplicationRecord {
    #[prost(uint32, tag = "1")]
    from_shard: u32,
    #[prost(uint32, tag = "2")]
    to_shard: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(string, optional, tag = "2")]
    refused: Option<String>,
    #[prost(string, optional, tag = "3")]
    cluster_id: Option<String>,
    #[prost(int32, tag = "4")]
    node: i32,
    #[prost(message, optional, tag = "5")]
    directory_id: Option<Id>,
}

impl Hello {
    /// The frame's body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let purpose = match self.purpose {
            Purpose::Raft => PurposeRecord::Raft(true),
            Purpose::Control => PurposeRecord::Control(true),
            Purpose::Found => PurposeRecord::Found(true),
            Purpose::Replication { from_shard, to_shard } => {
                PurposeRecord::Replication(ReplicationRecord { from_shard, to_shard })
            }
        };
        let record = HelloRecord {
            format: self.format,
            cluster_id: self.cluster_id.clone(),
            node: self.node.0,
            directory_id: self.directory_id.into(),
            broker_epoch: self.broker_epoch.map(|epoch| epoch.0),
            to: self.to.0,
            purpose: Some(purpose),
        };
        record.encode_to_vec()
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// It is none of ours, or of a purpose that this build does not know.
    pub fn from_bytes(bytes: &[u8]) -> Result<Hello, NoHello> {
        let record = HelloRecord::decode(bytes).map_err(|error| NoHello(error.to_string()))?;
        let purpose = match record.purpose.ok_or_else(|| NoHello("it is for nothing that this build knows".into()))? {
            PurposeRecord::Raft(_) => Purpose::Raft,
            PurposeRecord::Control(_) => Purpose::Control,
            PurposeRecord::Found(_) => Purpose::Found,
            PurposeRecord::Replication(ReplicationRecord { from_shard, to_shard }) => {
                Purpose::Replication { from_shard, to_shard }
            }
        };
        Ok(Hello {
            format: record.format,
            cluster_id: record.cluster_id,
            node: BrokerId(record.node),
            directory_id: record.directory_id.into(),
            broker_epoch: record.broker_epoch.map(BrokerEpoch),
            to: BrokerId(record.to),
            purpose,
        })
    }
}

impl Answer {
    /// The frame's body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = match self {
            Answer::Refused { reason } => {
                AnswerRecord { format: PEER_FORMAT, refused: Some(reason.clone()), ..AnswerRecord::default() }
            }
            Answer::Welcome(welcome) => AnswerRecord {
                format: welcome.format,
                refused: None,
                cluster_id: welcome.cluster_id.clone(),
                node: welcome.node.0,
                directory_id: Some(welcome.directory_id.into()),
            },
        };
        record.encode_to_vec()
    }

    /// Reads a frame's body.
    ///
    /// # Errors
    /// It is none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Result<Answer, NoHello> {
        let record = AnswerRecord::decode(bytes).map_err(|error| NoHello(error.to_string()))?;
        if let Some(reason) = record.refused {
            return Ok(Answer::Refused { reason });
        }
        let directory_id = record.directory_id.ok_or_else(|| NoHello("it names no data directory".into()))?;
        Ok(Answer::Welcome(Welcome {
            format: record.format,
            cluster_id: record.cluster_id,
            node: BrokerId(record.node),
            directory_id: directory_id.into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use proptest::prelude::*;

    use super::*;

    fn hello(purpose: Purpose) -> Hello {
        Hello {
            format: PEER_FORMAT,
            cluster_id: Some("a cluster".into()),
            node: BrokerId(0),
            directory_id: Uuid::from_u128(7),
            broker_epoch: Some(BrokerEpoch(0)),
            to: BrokerId(3),
            purpose,
        }
    }

    #[test]
    fn what_is_said_is_what_is_heard() {
        let replication = Purpose::Replication { from_shard: 0, to_shard: 3 };
        for purpose in [Purpose::Raft, Purpose::Control, Purpose::Found, replication] {
            let said = hello(purpose);
            assert_eq!(Hello::from_bytes(&said.to_bytes()).unwrap(), said);
            let said = Hello { cluster_id: None, broker_epoch: None, ..said };
            assert_eq!(Hello::from_bytes(&said.to_bytes()).unwrap(), said);
        }
        let welcome = Welcome { format: 1, cluster_id: None, node: BrokerId(0), directory_id: Uuid::nil() };
        for answer in [Answer::Welcome(welcome), Answer::Refused { reason: "no".into() }] {
            assert_eq!(Answer::from_bytes(&answer.to_bytes()).unwrap(), answer);
        }
    }

    #[test]
    fn a_purpose_of_a_later_build_is_an_error_and_no_guess() {
        let mut record = HelloRecord::decode(&hello(Purpose::Raft).to_bytes()[..]).unwrap();
        record.purpose = None;
        assert!(Hello::from_bytes(&record.encode_to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Hello::from_bytes(&bytes);
            let _ = Answer::from_bytes(&bytes);
        }
    }
}
