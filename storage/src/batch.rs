//! The record batch (magic 2): Kafka's unit on the wire and ours on disk, byte for byte.
//!
//! *Which core*: any.
//! *Invariants*: a batch is stored exactly as its producer sent it, but for `base_offset` and `partition_leader_epoch`,
//! which lie before byte 21, where the CRC's range begins; so nothing is ever re-encoded or re-checksummed.
//! *Not here*: what is inside a batch (`records`, `compression`).
//!
//! ```text
//!  0 base_offset i64          16 magic i8                27 base_timestamp i64    51 producer_epoch i16
//!  8 batch_length i32         17 crc u32 (of 21..)       35 max_timestamp i64     53 base_sequence i32
//! 12 leader_epoch i32         21 attributes i16          43 producer_id i64       57 record_count i32
//!                             23 last_offset_delta i32                            61 records...
//! ```
//! Source: <https://kafka.apache.org/documentation/#recordbatch>

mod build;
mod iterate;
pub mod produced;

pub use build::{BatchBuilder, NewRecord};
pub use iterate::{BadBatch, Batches, batches};
pub use produced::{ProducedError, ProducedLimits, validate_produced};

use crate::ids::{LeaderEpoch, ProducerId};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;
/// Bytes that `batch_length` does not count: the base offset and the length itself.
pub const LENGTH_PREFIX_BYTES: usize = 12;
/// The CRC covers everything from here.
pub const CRC_START: usize = 21;

/// A batch's header, read out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: i64,
    /// Size of the whole batch, header included.
    pub batch_bytes: usize,
    /// Epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C of everything from byte 21.
    pub crc: u32,
    /// Compression (bits 0-2), timestamp type (3), transactional (4), control (5), delete horizon (6).
    pub attributes: i16,
    /// Offset of the last record, less `base_offset`.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, ms since the Unix epoch.
    pub base_timestamp: i64,
    /// Largest timestamp of any record, ms since the Unix epoch.
    pub max_timestamp: i64,
    /// The idempotent producer, or -1.
    pub producer_id: ProducerId,
    /// The producer's epoch, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// How many records.
    pub record_count: i32,
}

/// Why bytes are no batch that we store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the batch needs.
    #[error("{have} bytes, {need} needed")]
    Truncated {
        /// Bytes given.
        have: usize,
        /// Bytes the batch claims or a header takes.
        need: usize,
    },
    /// The length field is below a header's size or negative.
    #[error("batch length {0} is impossible")]
    Length(i32),
    /// Magic 0 or 1 (before Kafka 0.11), or unknown.
    #[error("magic {0} is not supported, only 2")]
    Magic(i8),
    /// The checksum does not match.
    #[error("CRC-32C is {found:#010x}, the header says {expected:#010x}")]
    Crc {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// The number of records and the offset delta do not agree, or are negative.
    #[error("{record_count} records with a last offset delta of {last_offset_delta}")]
    Count {
        /// The header's record count.
        record_count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// An unknown compression codec.
    #[error("compression codec {0} is unknown")]
    Codec(u8),
}

/// How a batch's records are compressed; the numbers are those of the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None = 0,
    /// gzip.
    Gzip = 1,
    /// snappy, raw or in xerial framing.
    Snappy = 2,
    /// LZ4 frames.
    Lz4 = 3,
    /// zstd.
    Zstd = 4,
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; the body need not be there. Checks magic and length only.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if bytes.len() < HEADER_BYTES {
            return Err(BatchError::Truncated { have: bytes.len(), need: HEADER_BYTES });
        }
        let magic = bytes[16] as i8;
        if magic != 2 {
            return Err(BatchError::Magic(magic));
        }
        let length = i32::from_be_bytes(array(bytes, 8));
        if length < (HEADER_BYTES - LENGTH_PREFIX_BYTES) as i32 {
            return Err(BatchError::Length(length));
        }
        Ok(BatchHeader {
            base_offset: i64::from_be_bytes(array(bytes, 0)),
            batch_bytes: length as usize + LENGTH_PREFIX_BYTES,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(array(bytes, 12))),
            crc: u32::from_be_bytes(array(bytes, 17)),
            attributes: i16::from_be_bytes(array(bytes, 21)),
            last_offset_delta: i32::from_be_bytes(array(bytes, 23)),
            base_timestamp: i64::from_be_bytes(array(bytes, 27)),
            max_timestamp: i64::from_be_bytes(array(bytes, 35)),
            producer_id: ProducerId(i64::from_be_bytes(array(bytes, 43))),
            producer_epoch: i16::from_be_bytes(array(bytes, 51)),
            base_sequence: i32::from_be_bytes(array(bytes, 53)),
            record_count: i32::from_be_bytes(array(bytes, 57)),
        })
    }

    /// Offset of the last record. Saturates: a producer may claim any base offset, which nobody believes.
    pub fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(i64::from(self.last_offset_delta))
    }

    /// Offset after the last record: where the next batch must begin.
    pub fn end_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The codec, from the attributes.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        match self.attributes & 7 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            codec => Err(BatchError::Codec(codec as u8)),
        }
    }

    /// Did a broker set all its timestamps to `max_timestamp`, the time of the append?
    pub fn is_log_append_time(&self) -> bool {
        self.attributes & 0x08 != 0
    }

    /// Is it part of a transaction?
    pub fn is_transactional(&self) -> bool {
        self.attributes & 0x10 != 0
    }

    /// Is it a control batch (a transaction marker)?
    pub fn is_control(&self) -> bool {
        self.attributes & 0x20 != 0
    }
}

/// Checks the batch at the start of `bytes` whole: size, counts, codec, CRC-32C. What follows it is not looked at.
pub fn validate(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    if bytes.len() < header.batch_bytes {
        return Err(BatchError::Truncated { have: bytes.len(), need: header.batch_bytes });
    }
    // First of all: a field that disagrees because its bits have changed is corruption, not a producer's mistake.
    let found = crc32c::crc32c(&bytes[CRC_START..header.batch_bytes]);
    if found != header.crc {
        return Err(BatchError::Crc { expected: header.crc, found });
    }
    header.compression()?;
    let (record_count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    // Compaction may leave fewer records than offsets, never more; a producer's batch has exactly as many.
    if record_count < 0 || last_offset_delta < 0 || record_count > last_offset_delta.saturating_add(1) {
        return Err(BatchError::Count { record_count, last_offset_delta });
    }
    Ok(header)
}

/// Gives the batch at the start of `bytes` its place: the two fields that the CRC does not cover.
pub fn assign(bytes: &mut [u8], base_offset: i64, leader_epoch: LeaderEpoch) {
    bytes[0..8].copy_from_slice(&base_offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
}

#[cfg(test)]
mod tests;
