//! Produce requests around batches that are encoded already, without copying large ones.
//!
//! Invariants: versions 3 to 11, those that name the topic by its name; what is built decodes with kafka-protocol (a test).

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use super::batch::put_unsigned_varint;
use crate::wire::CLIENT_ID;

/// Lowest version with magic 2.
pub const VERSION_MIN: i16 = 3;
/// Highest version that names topics by name and needs no more than these fields.
pub const VERSION_MAX: i16 = 11;
/// From here on lengths are varints and structures end in tagged fields.
const FLEXIBLE: i16 = 9;
/// Batches up to this size are copied: a copy is cheaper than one more piece to write.
const COPIED_BYTES_MAX: usize = 4096;

/// What all requests of a run have in common.
#[derive(Clone, Debug)]
pub struct Produce {
    /// Version of the API.
    pub version: i16,
    /// Whose acknowledgement is awaited.
    pub acks: i16,
    /// How long the broker may wait for it.
    pub timeout_ms: i32,
    /// Where the records go.
    pub topic: String,
}

impl Produce {
    /// A request's frame in pieces, in order: one batch for each partition.
    pub fn encode(&self, correlation_id: i32, batches: &[(u32, Bytes)]) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(2);
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_i32(0);
        self.put_head(&mut bytes, correlation_id, batches.len());
        for (partition, batch) in batches {
            bytes.put_i32(*partition as i32);
            self.put_length(&mut bytes, batch.len());
            if batch.len() <= COPIED_BYTES_MAX {
                bytes.put_slice(batch);
            } else {
                pieces.push(bytes.split().freeze());
                pieces.push(batch.clone());
            }
            self.end_structure(&mut bytes);
        }
        self.end_structure(&mut bytes);
        self.end_structure(&mut bytes);
        pieces.push(bytes.freeze());
        pieces.retain(|piece| !piece.is_empty());
        set_length(&mut pieces);
        pieces
    }

    fn put_head(&self, bytes: &mut BytesMut, correlation_id: i32, partitions: usize) {
        bytes.put_i16(ApiKey::Produce as i16);
        bytes.put_i16(self.version);
        bytes.put_i32(correlation_id);
        bytes.put_i16(CLIENT_ID.len() as i16);
        bytes.put_slice(CLIENT_ID.as_bytes());
        self.end_structure(bytes);
        match self.is_flexible() {
            true => bytes.put_u8(0),
            false => bytes.put_i16(-1),
        } // no transactional id
        bytes.put_i16(self.acks);
        bytes.put_i32(self.timeout_ms);
        self.put_length(bytes, 1);
        match self.is_flexible() {
            true => put_unsigned_varint(bytes, self.topic.len() as u64 + 1),
            false => bytes.put_i16(self.topic.len() as i16),
        }
        bytes.put_slice(self.topic.as_bytes());
        self.put_length(bytes, partitions);
    }

    /// The length of an array or of bytes.
    fn put_length(&self, bytes: &mut BytesMut, length: usize) {
        match self.is_flexible() {
            true => put_unsigned_varint(bytes, length as u64 + 1),
            false => bytes.put_i32(length as i32),
        }
    }

    /// No tagged fields.
    fn end_structure(&self, bytes: &mut BytesMut) {
        if self.is_flexible() {
            bytes.put_u8(0);
        }
    }

    fn is_flexible(&self) -> bool {
        self.version >= FLEXIBLE
    }
}

/// Writes the frame's length over its first four bytes.
fn set_length(pieces: &mut [Bytes]) {
    let length = pieces.iter().map(Bytes::len).sum::<usize>() as i32 - 4;
    if let Some(first) = pieces.first_mut() {
        let mut head = BytesMut::from(&first[..]);
        head[0..4].copy_from_slice(&length.to_be_bytes());
        *first = head.freeze();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use kafka_protocol::messages::{ProduceRequest, RequestHeader};
    use kafka_protocol::protocol::{Decodable, HeaderVersion};

    use super::*;

    #[test]
    fn another_codec_decodes_every_version() {
        let batches =
            [(7, Bytes::from(vec![1; 300])), (9, Bytes::from(vec![2; COPIED_BYTES_MAX + 1])), (11, Bytes::new())];
        for version in VERSION_MIN..=VERSION_MAX {
            let produce = Produce { version, acks: -1, timeout_ms: 30_000, topic: "some-topic".to_owned() };
            let frame = produce.encode(42, &batches).concat();
            assert_eq!(i32::from_be_bytes(frame[0..4].try_into().unwrap()) as usize, frame.len() - 4);
            let mut frame = Bytes::from(frame).slice(4..);
            let header = RequestHeader::decode(&mut frame, ProduceRequest::header_version(version)).unwrap();
            assert_eq!((header.request_api_key, header.request_api_version, header.correlation_id), (0, version, 42));
            let request = ProduceRequest::decode(&mut frame, version).unwrap();
            assert!(frame.is_empty());
            assert_eq!((request.acks, request.timeout_ms, request.transactional_id), (-1, 30_000, None));
            assert_eq!(request.topic_data.len(), 1);
            assert_eq!(request.topic_data[0].name.as_str(), "some-topic");
            for (data, (partition, batch)) in request.topic_data[0].partition_data.iter().zip(&batches) {
                assert_eq!((data.index, data.records.as_ref()), (*partition as i32, Some(batch)));
            }
        }
    }
}
