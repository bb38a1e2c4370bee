//! Making batches: for tools and tests, where no producer is at hand.

use super::{CRC_START, Compression, HEADER_BYTES, LENGTH_PREFIX_BYTES};
use crate::compression;
use crate::ids::{LeaderEpoch, ProducerId};
use crate::records;

/// A record to be put into a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers: name and value.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl<'a> NewRecord<'a> {
    /// A record that has a value and nothing else.
    pub fn value(value: &'a [u8]) -> NewRecord<'a> {
        NewRecord { value: Some(value), ..NewRecord::default() }
    }
}

/// Puts records together to a valid batch.
///
/// ```
/// use storage::batch::{BatchBuilder, Compression, NewRecord, validate};
/// let batch = BatchBuilder::new(1_700_000_000_000).compression(Compression::Zstd).with(NewRecord::value(b"hello")).build();
/// assert_eq!(validate(&batch).unwrap().record_count, 1);
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: i64,
    leader_epoch: LeaderEpoch,
    attributes: i16,
    compression: Compression,
    base_timestamp: i64,
    timestamp_delta_max: i64,
    producer_id: ProducerId,
    producer_epoch: i16,
    base_sequence: i32,
    record_count: i32,
    records: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch whose timestamps count from `base_timestamp`, ms since the Unix epoch.
    pub fn new(base_timestamp: i64) -> BatchBuilder {
        BatchBuilder {
            base_offset: 0,
            leader_epoch: LeaderEpoch(-1),
            attributes: 0,
            compression: Compression::None,
            base_timestamp,
            timestamp_delta_max: 0,
            producer_id: ProducerId(-1),
            producer_epoch: -1,
            base_sequence: -1,
            record_count: 0,
            records: Vec::new(),
        }
    }

    /// Its place in a log.
    pub fn at(mut self, base_offset: i64, leader_epoch: LeaderEpoch) -> BatchBuilder {
        (self.base_offset, self.leader_epoch) = (base_offset, leader_epoch);
        self
    }

    /// From an idempotent producer.
    pub fn producer(mut self, producer_id: ProducerId, producer_epoch: i16, base_sequence: i32) -> BatchBuilder {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (producer_id, producer_epoch, base_sequence);
        self
    }

    /// Compressed thus.
    pub fn compression(mut self, compression: Compression) -> BatchBuilder {
        self.compression = compression;
        self
    }

    /// More attributes: any but the codec's, as [`BatchHeader::attributes`](super::BatchHeader::attributes) has them.
    pub fn attributes(mut self, attributes: i16) -> BatchBuilder {
        self.attributes = attributes & !7;
        self
    }

    /// One record more.
    pub fn with(mut self, record: NewRecord<'_>) -> BatchBuilder {
        self.push(record);
        self
    }

    /// One record more.
    pub fn push(&mut self, record: NewRecord<'_>) {
        records::encode(&mut self.records, self.record_count, &record);
        let earlier = if self.record_count == 0 { i64::MIN } else { self.timestamp_delta_max };
        self.timestamp_delta_max = earlier.max(record.timestamp_delta);
        self.record_count = self.record_count.checked_add(1).expect("so many records do not fit in memory");
    }

    /// Bytes of the records so far, uncompressed.
    pub fn records_bytes(&self) -> usize {
        self.records.len()
    }

    /// The batch. Without a record it is none that [`validate`](super::validate) takes.
    pub fn build(&self) -> Vec<u8> {
        let records = compression::compress(self.compression, &self.records);
        let length = HEADER_BYTES - LENGTH_PREFIX_BYTES + records.len();
        let max_timestamp = self.base_timestamp.saturating_add(self.timestamp_delta_max);
        let mut out = Vec::with_capacity(HEADER_BYTES + records.len());
        out.extend(self.base_offset.to_be_bytes());
        out.extend(i32::try_from(length).expect("a batch is smaller than 2 GiB").to_be_bytes());
        out.extend(self.leader_epoch.0.to_be_bytes());
        out.extend([2, 0, 0, 0, 0]);
        out.extend((self.attributes | self.compression as i16).to_be_bytes());
        out.extend((self.record_count - 1).to_be_bytes());
        out.extend(self.base_timestamp.to_be_bytes());
        out.extend(max_timestamp.to_be_bytes());
        out.extend(self.producer_id.0.to_be_bytes());
        out.extend(self.producer_epoch.to_be_bytes());
        out.extend(self.base_sequence.to_be_bytes());
        out.extend(self.record_count.to_be_bytes());
        out.extend(records);
        let crc = crc32c::crc32c(&out[CRC_START..]);
        out[17..21].copy_from_slice(&crc.to_be_bytes());
        out
    }
}
