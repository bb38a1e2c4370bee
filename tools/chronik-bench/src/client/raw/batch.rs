//! Record batches (magic 2), encoded once and sent as they are.
//!
//! Invariants: a batch is valid as it stands: lengths, counts, CRC-32C over everything from byte 21. Marking a batch changes bytes
//!   of values and the CRC, nothing else.
//! Why: our own encoder, because marking needs to know where each value lies; a test has kafka-protocol decode what it builds.

use bytes::{BufMut, Bytes, BytesMut};

use crate::payload::Identity;

/// Where the CRC lies, and where what it covers begins.
const CRC: usize = 17;
const CRC_FROM: usize = 21;
const HEADER_BYTES: usize = 61;
const MAGIC: i8 = 2;
const NONE: i8 = -1;

/// An encoded batch.
#[derive(Clone, Debug)]
pub struct Batch {
    bytes: Bytes,
    values: Vec<(u32, u32)>,
    value_bytes: u64,
}

impl Batch {
    /// Encodes records with these values and no keys, uncompressed, of no idempotent producer.
    pub fn encode<'a>(values: impl ExactSizeIterator<Item = &'a [u8]>, timestamp_ms: i64) -> Self {
        let count = values.len();
        let mut bytes = BytesMut::new();
        put_header(&mut bytes, count as i32, timestamp_ms);
        let mut places = Vec::with_capacity(count);
        let mut value_bytes = 0;
        for (index, value) in values.enumerate() {
            let start = put_record(&mut bytes, index as i64, value);
            places.push((start as u32, value.len() as u32));
            value_bytes += value.len() as u64;
        }
        // The batch length counts what follows it.
        let length = bytes.len() as i32 - 12;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        seal(&mut bytes);
        Self { bytes: bytes.freeze(), values: places, value_bytes }
    }

    /// The batch as encoded; costs nothing.
    pub fn plain(&self) -> Bytes {
        self.bytes.clone()
    }

    /// A copy in which each value says who it is: the first is `first`, each next one has the next sequence.
    pub fn marked(&self, first: &Identity) -> Bytes {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        for (index, (start, length)) in self.values.iter().enumerate() {
            let identity = Identity { sequence: first.sequence + index as u64, ..*first };
            identity.write(&mut bytes[*start as usize..(*start + *length) as usize]);
        }
        seal(&mut bytes);
        bytes.freeze()
    }

    /// Records in it.
    pub fn records(&self) -> u64 {
        self.values.len() as u64
    }

    /// Bytes of all values.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }
}

fn put_header(bytes: &mut BytesMut, count: i32, timestamp_ms: i64) {
    bytes.put_i64(0); // base offset: the broker's to set
    bytes.put_i32(0); // length: set when known
    bytes.put_i32(-1); // partition leader epoch: the broker's to set
    bytes.put_i8(MAGIC);
    bytes.put_u32(0); // CRC: set when sealed
    bytes.put_i16(0); // attributes: not compressed, CreateTime
    bytes.put_i32(count - 1); // last offset delta
    bytes.put_i64(timestamp_ms);
    bytes.put_i64(timestamp_ms);
    bytes.put_i64(-1); // producer id
    bytes.put_i16(-1); // producer epoch
    bytes.put_i32(-1); // base sequence
    bytes.put_i32(count);
    debug_assert_eq!(bytes.len(), HEADER_BYTES);
}

/// Appends a record; where its value starts.
fn put_record(bytes: &mut BytesMut, offset_delta: i64, value: &[u8]) -> usize {
    let mut inner = BytesMut::with_capacity(24);
    inner.put_i8(0); // attributes
    put_varint(&mut inner, 0); // timestamp delta
    put_varint(&mut inner, offset_delta);
    put_varint(&mut inner, i64::from(NONE)); // no key
    put_varint(&mut inner, value.len() as i64);
    // One byte follows the value: the number of headers.
    put_varint(bytes, (inner.len() + value.len() + 1) as i64);
    bytes.put_slice(&inner);
    let start = bytes.len();
    bytes.put_slice(value);
    put_varint(bytes, 0);
    start
}

/// A zigzag varint.
fn put_varint(bytes: &mut BytesMut, value: i64) {
    put_unsigned_varint(bytes, ((value << 1) ^ (value >> 63)) as u64);
}

/// An unsigned varint.
pub fn put_unsigned_varint(bytes: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        bytes.put_u8((value as u8) | 0x80);
        value >>= 7;
    }
    bytes.put_u8(value as u8);
}

fn seal(bytes: &mut [u8]) {
    let crc = crc32c::crc32c(&bytes[CRC_FROM..]);
    bytes[CRC..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use kafka_protocol::records::{Compression, RecordBatchDecoder, TimestampType};

    use super::*;

    fn decoded(bytes: &Bytes) -> Vec<kafka_protocol::records::Record> {
        let mut info = bytes.clone();
        let info = RecordBatchDecoder::decode_batch_info(&mut info).unwrap();
        assert_eq!((info.len(), info[0].version, info[0].compression), (1, 2, Compression::None));
        let mut bytes = bytes.clone();
        let set = RecordBatchDecoder::decode(&mut bytes).unwrap();
        assert!(bytes.is_empty(), "the batch ends where it says");
        set.records
    }

    #[test]
    fn another_codec_decodes_what_was_encoded() {
        for sizes in [vec![0], vec![1, 62, 63, 64, 65], vec![8_200; 3], vec![100; 2_000], vec![3_000_000]] {
            let values: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, size)| vec![n as u8; *size]).collect();
            let batch = Batch::encode(values.iter().map(Vec::as_slice), 1_700_000_000_123);
            let records = decoded(&batch.plain());
            assert_eq!(records.len(), values.len());
            for (n, (record, value)) in records.iter().zip(&values).enumerate() {
                assert_eq!(record.value.as_deref(), Some(value.as_slice()));
                assert_eq!((record.offset, record.key.clone(), record.headers.len()), (n as i64, None, 0));
                assert_eq!((record.timestamp, record.timestamp_type), (1_700_000_000_123, TimestampType::Creation));
                assert_eq!((record.producer_id, record.producer_epoch), (-1, -1));
            }
            assert_eq!(batch.records(), values.len() as u64);
            assert_eq!(batch.value_bytes(), sizes.iter().sum::<usize>() as u64);
        }
    }

    #[test]
    fn a_marked_batch_is_valid_and_each_value_says_who_it_is() {
        let values = [vec![7_u8; 40], vec![8; 50], vec![9; 60]];
        let batch = Batch::encode(values.iter().map(Vec::as_slice), 0);
        let first = Identity { run: 1, partition: 2, lane: 3, sequence: 1000, due_ns: 5 };
        for (n, record) in decoded(&batch.marked(&first)).iter().enumerate() {
            let value = record.value.as_ref().unwrap();
            assert_eq!(Identity::read(value), Some(Identity { sequence: 1000 + n as u64, ..first }));
            assert_eq!(value[crate::payload::IDENTITY_BYTES..], values[n][crate::payload::IDENTITY_BYTES..]);
        }
        assert_eq!(
            decoded(&batch.plain())[0].value.as_deref(),
            Some(values[0].as_slice()),
            "the original is untouched"
        );
    }
}
