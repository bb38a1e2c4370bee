//! Calls and answers as bytes.
//!
//! *Which core*: metadata. *Why* postcard within prost: requests and replies are the types that cross cores anyway; variants are
//! only ever added at the end, and the hello's format tells builds apart that differ in more.

use bytes::Bytes;
use prost::Message;

use crate::limits;
use crate::metadata::request::{Reply, Request, SubmitError};

/// A numbered request.
pub(super) struct CallFrame {
    pub(super) number: u64,
    pub(super) request: Request,
}

/// The answer to the call of that number.
pub(super) struct AnswerFrame {
    pub(super) number: u64,
    /// The version of an image that holds what was decided.
    pub(super) version: u64,
    pub(super) outcome: Result<Reply, SubmitError>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CallRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    request: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnswerRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(bytes = "bytes", tag = "3")]
    outcome: Bytes,
}

/// A request's bytes.
///
/// # Errors
/// More than a frame may hold.
pub(super) fn request_to_bytes(request: &Request) -> Result<Bytes, SubmitError> {
    let bytes = postcard::to_stdvec(request).map_err(|error| SubmitError::TooLarge(error.to_string()))?;
    match bytes.len() {
        // What is around it is small.
        length if length + 64 > limits::CONTROL_FRAME_BYTES_MAX => {
            Err(SubmitError::TooLarge(format!("{length} bytes do not fit into a frame between brokers")))
        }
        _ => Ok(bytes.into()),
    }
}

/// A call's frame, of a request's bytes.
pub(super) fn call_to_bytes(number: u64, request: Bytes) -> Vec<u8> {
    CallRecord { number, request }.encode_to_vec()
}

impl CallFrame {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<CallFrame, String> {
        let CallRecord { number, request } = CallRecord::decode(bytes).map_err(|error| error.to_string())?;
        let request = postcard::from_bytes(&request).map_err(|error| error.to_string())?;
        Ok(CallFrame { number, request })
    }
}

impl AnswerFrame {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let outcome = postcard::to_stdvec(&self.outcome).expect("writing plain data to memory does not fail");
        let record = AnswerRecord { number: self.number, version: self.version, outcome: outcome.into() };
        match record.encoded_len() {
            length if length > limits::CONTROL_FRAME_BYTES_MAX => {
                // The change counts; only its description cannot be told.
                AnswerFrame { outcome: Err(SubmitError::Unknown), ..*self }.to_bytes()
            }
            _ => record.encode_to_vec(),
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<AnswerFrame, String> {
        let AnswerRecord { number, version, outcome } =
            AnswerRecord::decode(bytes).map_err(|error| error.to_string())?;
        let outcome = postcard::from_bytes(&outcome).map_err(|error| error.to_string())?;
        Ok(AnswerFrame { number, version, outcome })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use proptest::prelude::*;

    use super::*;
    use crate::metadata::controller::{CreatedTopic, NewTopic, TopicRef};
    use crate::model::{BrokerId, TopicId};

    #[test]
    fn what_is_said_is_what_is_heard() {
        let topic =
            NewTopic { name: "t".into(), partitions: -1, configs: vec![("a".into(), None)], ..Default::default() };
        let id = TopicId(uuid::Uuid::from_u128(7));
        for request in [
            Request::CreateTopics { topics: vec![topic], validate_only: true },
            Request::DeleteTopics { topics: vec![TopicRef::Name("t".into()), TopicRef::Id(id)] },
        ] {
            let bytes = call_to_bytes(9, request_to_bytes(&request).unwrap());
            let heard = CallFrame::from_bytes(&bytes).unwrap();
            assert_eq!((heard.number, heard.request), (9, request));
        }
        let created = CreatedTopic { id, partitions: 3, replication_factor: 1, configs: Default::default() };
        for outcome in [
            Ok(Reply::CreateTopics(vec![("t".into(), Ok(created))])),
            Err(SubmitError::NotController { controller: Some(BrokerId(2)) }),
        ] {
            let heard = AnswerFrame { number: 9, version: 4, outcome: outcome.clone() }.to_bytes();
            let heard = AnswerFrame::from_bytes(&heard).unwrap();
            assert_eq!((heard.number, heard.version, heard.outcome), (9, 4, outcome));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CallFrame::from_bytes(&bytes);
            let _ = AnswerFrame::from_bytes(&bytes);
            let inner = AnswerRecord { number: 1, version: 1, outcome: bytes.clone().into() }.encode_to_vec();
            let _ = AnswerFrame::from_bytes(&inner);
            let _ = CallFrame::from_bytes(&call_to_bytes(1, bytes.into()));
        }
    }
}
