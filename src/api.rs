//! Kafka's requests, one file each: decode, ask the shards or the metadata core, encode.
//!
//! *Which core*: the shard that owns the connection.
//! *Invariants*: only what is implemented is advertised, and all that is advertised is implemented: both come from [`TABLE`].
//! Kafka's wire structs stop here. A request's shape is checked against its own length before it is decoded.
//! *Not here*: sockets, order of responses (`connection`), partitions (`shard`).

pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_quorum;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod error;
pub mod fetch;
pub mod incremental_alter_configs;
pub mod init_producer_id;
mod leader_hint;
pub mod list_offsets;
pub mod metadata;
pub mod offset_for_leader_epoch;
pub mod produce;
pub mod shape;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request as KafkaRequest};

use crate::api::error::Codes;
use crate::broker::Broker;
use crate::local::Permit;

/// An API that this broker serves, and the versions of it.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// Which.
    pub key: ApiKey,
    /// Oldest version served.
    pub min: i16,
    /// Newest version served.
    pub max: i16,
}

/// All that is served and advertised.
pub const TABLE: &[Api] = &[
    Api { key: ApiKey::Produce, min: 3, max: 13 },
    Api { key: ApiKey::Fetch, min: 4, max: 18 },
    Api { key: ApiKey::ListOffsets, min: 1, max: 11 },
    Api { key: ApiKey::Metadata, min: 0, max: 13 },
    Api { key: ApiKey::ApiVersions, min: 0, max: 4 },
    Api { key: ApiKey::CreateTopics, min: 2, max: 7 },
    Api { key: ApiKey::DeleteTopics, min: 1, max: 6 },
    Api { key: ApiKey::DeleteRecords, min: 0, max: 2 },
    Api { key: ApiKey::InitProducerId, min: 0, max: 5 },
    Api { key: ApiKey::OffsetForLeaderEpoch, min: 2, max: 4 },
    Api { key: ApiKey::DescribeConfigs, min: 1, max: 4 },
    Api { key: ApiKey::CreatePartitions, min: 0, max: 3 },
    Api { key: ApiKey::ElectLeaders, min: 0, max: 2 },
    Api { key: ApiKey::IncrementalAlterConfigs, min: 0, max: 1 },
    Api { key: ApiKey::DescribeQuorum, min: 0, max: 2 },
    Api { key: ApiKey::DescribeCluster, min: 0, max: 2 },
    Api { key: ApiKey::DescribeTopicPartitions, min: 0, max: 0 },
];

/// The table's row for a key, if it is served.
pub fn served(key: i16) -> Option<&'static Api> {
    TABLE.iter().find(|api| api.key as i16 == key)
}

/// A response on its way.
#[derive(Default)]
pub struct Answer {
    /// The frame, length included; none where the client wants none (acks=0).
    pub frame: Option<Bytes>,
    /// What its bytes take of the shard's budget, until they are written.
    pub held: Option<Permit>,
}

/// What became of a request when it was dispatched.
pub enum Pending {
    /// Answered already.
    Ready(Answer),
    /// A produce: appended, its offsets fixed; the acks are awaited.
    Produce(produce::Pending),
    /// Anything else that must wait. Runs when its turn to answer comes: one after the other, as in Kafka.
    Later(Pin<Box<dyn Future<Output = Result<Answer, Close>>>>),
}

impl Future for Pending {
    type Output = Result<Answer, Close>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Pending::Ready(answer) => Poll::Ready(Ok(std::mem::take(answer))),
            Pending::Produce(produce) => produce.poll_answer(context),
            Pending::Later(answer) => answer.as_mut().poll(context),
        }
    }
}

/// The connection must be closed: what came is no request that can be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Close {
    /// The bytes are not a request of the API and version that they claim.
    #[error("malformed {api:?} v{version} request: {reason}")]
    Malformed {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What is wrong.
        reason: String,
    },
    /// Too short for a header.
    #[error("a request of {0} bytes has no header")]
    NoHeader(usize),
    /// Not served: Kafka closes the connection, too.
    #[error("API key {key} version {version} is not served")]
    NotServed {
        /// The key.
        key: i16,
        /// The version.
        version: i16,
    },
    /// acks=0 and the batch was refused: closing is the only way to say so.
    #[error("an acks=0 batch was refused")]
    RefusedWithoutAcks,
    /// A response that our own codec cannot write: a bug.
    #[error("the response could not be encoded: {0}")]
    Encode(String),
    /// The broker stops.
    #[error("the broker is stopping")]
    Stopping,
}

/// A request's header, read out, with what its answer needs.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Which API.
    pub key: ApiKey,
    /// Its version.
    pub version: i16,
    /// To be echoed.
    pub correlation_id: i32,
}

/// Takes a request's frame (without its length) in hand. What touches partitions in order (produce) has done so on return.
pub fn dispatch(broker: &Rc<Broker>, frame: Bytes) -> Result<Pending, Close> {
    let (head, body) = match read_head(broker, frame)? {
        Ok(head_and_body) => head_and_body,
        Err(unknown_version) => return Ok(Pending::Ready(unknown_version)),
    };
    broker.metrics.requests(head.key as i16);
    shape::check(head.key, head.version, &body).map_err(|reason| malformed(head, reason.to_string()))?;
    let later = |future: Pin<Box<dyn Future<Output = Result<Answer, Close>>>>| Ok(Pending::Later(future));
    let broker = broker.clone();
    match head.key {
        ApiKey::Produce => produce::start(&broker, head, decode(head, body)?),
        ApiKey::Fetch => later(Box::pin(async move { fetch::run(&broker, head, decode(head, body)?).await })),
        ApiKey::ListOffsets => later(list_offsets::handle(broker, head, body)),
        ApiKey::Metadata => {
            later(Box::pin(
                async move { head.answer(&broker, &metadata::run(&broker, head, decode(head, body)?).await) },
            ))
        }
        ApiKey::ApiVersions => head.answer(&broker, &api_versions::run(&decode(head, body)?)).map(Pending::Ready),
        ApiKey::CreateTopics => later(Box::pin(async move {
            head.answer(&broker, &create_topics::run(&broker, head, decode(head, body)?).await)
        })),
        ApiKey::DeleteTopics => later(Box::pin(async move {
            head.answer(&broker, &delete_topics::run(&broker, head, decode(head, body)?).await)
        })),
        ApiKey::DeleteRecords => {
            later(Box::pin(
                async move { head.answer(&broker, &delete_records::run(&broker, decode(head, body)?).await) },
            ))
        }
        ApiKey::InitProducerId => {
            later(Box::pin(
                async move { head.answer(&broker, &init_producer_id::run(&broker, decode(head, body)?).await) },
            ))
        }
        ApiKey::OffsetForLeaderEpoch => later(Box::pin(async move {
            head.answer(&broker, &offset_for_leader_epoch::run(&broker, decode(head, body)?).await)
        })),
        ApiKey::DescribeConfigs => {
            head.answer(&broker, &describe_configs::run(&broker, decode(head, body)?)).map(Pending::Ready)
        }
        ApiKey::CreatePartitions => {
            later(Box::pin(
                async move { head.answer(&broker, &create_partitions::run(&broker, decode(head, body)?).await) },
            ))
        }
        ApiKey::ElectLeaders => later(Box::pin(async move {
            head.answer(&broker, &elect_leaders::run(&broker, head, decode(head, body)?).await)
        })),
        ApiKey::IncrementalAlterConfigs => later(Box::pin(async move {
            head.answer(&broker, &incremental_alter_configs::run(&broker, decode(head, body)?).await)
        })),
        ApiKey::DescribeQuorum => later(Box::pin(async move {
            head.answer(&broker, &describe_quorum::run(&broker, head, decode(head, body)?).await)
        })),
        ApiKey::DescribeCluster => {
            head.answer(&broker, &describe_cluster::run(&broker, head, &decode(head, body)?)).map(Pending::Ready)
        }
        ApiKey::DescribeTopicPartitions => {
            head.answer(&broker, &describe_topic_partitions::run(&broker, &decode(head, body)?)).map(Pending::Ready)
        }
        key => Err(Close::NotServed { key: key as i16, version: head.version }),
    }
}

/// Reads the header; the inner error is the ready answer to an ApiVersions request of an unknown version (lesson 79).
fn read_head(broker: &Broker, frame: Bytes) -> Result<Result<(Head, Bytes), Answer>, Close> {
    let fixed: [u8; 8] = frame.get(..8).and_then(|b| b.try_into().ok()).ok_or(Close::NoHeader(frame.len()))?;
    let number = i16::from_be_bytes([fixed[0], fixed[1]]);
    let version = i16::from_be_bytes([fixed[2], fixed[3]]);
    let correlation_id = i32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    let api = served(number).ok_or(Close::NotServed { key: number, version })?;
    let head = Head { key: api.key, version, correlation_id };
    if version < api.min || version > api.max {
        return match api.key {
            ApiKey::ApiVersions => {
                let head = Head { version: 0, ..head };
                Ok(Err(head.answer(broker, &api_versions::unsupported_version())?))
            }
            // Kafka lists Produce 0-2 for librdkafka's sake and refuses them; so do we, see api_versions.
            _ => Err(Close::NotServed { key: number, version }),
        };
    }
    let mut body = frame;
    let header_version = api.key.request_header_version(version);
    shape::check_header(header_version, &body).map_err(|reason| malformed(head, reason.to_string()))?;
    RequestHeader::decode(&mut body, header_version).map_err(|error| malformed(head, error.to_string()))?;
    Ok(Ok((head, body)))
}

fn malformed(head: Head, reason: String) -> Close {
    Close::Malformed { api: head.key, version: head.version, reason }
}

/// Decodes a request whose shape has been checked.
fn decode<R: KafkaRequest>(head: Head, mut body: Bytes) -> Result<R, Close> {
    R::decode(&mut body, codec_version(head)).map_err(|error| malformed(head, error.to_string()))
}

/// ListOffsets 11 (KIP-1023) only allows one more value of a field; on the wire it is version 10.
fn codec_version(head: Head) -> i16 {
    if head.key == ApiKey::ListOffsets { head.version.min(10) } else { head.version }
}

impl Head {
    /// Encodes a response with its header and length, and counts the errors that it tells.
    pub fn answer<R: Encodable + HeaderVersion + Codes>(&self, broker: &Broker, response: &R) -> Result<Answer, Close> {
        response.codes().for_each(|code| broker.metrics.error(code));
        let version = codec_version(*self);
        let size = response.compute_size(version).map_err(|error| Close::Encode(error.to_string()))?;
        let mut out = BytesMut::with_capacity(size + 16);
        out.put_i32(0);
        let header = ResponseHeader::default().with_correlation_id(self.correlation_id);
        // KIP-511: an ApiVersions response has header version 0 in every version, so that any client can read it.
        header.encode(&mut out, R::header_version(version)).map_err(|error| Close::Encode(error.to_string()))?;
        response.encode(&mut out, version).map_err(|error| Close::Encode(error.to_string()))?;
        let length = i32::try_from(out.len() - 4).map_err(|_| Close::Encode(format!("{} bytes", out.len())))?;
        out[..4].copy_from_slice(&length.to_be_bytes());
        Ok(Answer { frame: Some(out.freeze()), held: None })
    }
}
