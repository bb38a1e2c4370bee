//! What a broker demands of a batch that a *producer* sends, beyond being a batch.

use super::{BatchError, BatchHeader, Compression, validate};
use crate::records::Records;

/// What a topic allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducedLimits {
    /// `max.message.bytes`: of the whole batch.
    pub batch_bytes_max: usize,
    /// Oldest timestamp taken, ms since the Unix epoch.
    pub timestamp_min: i64,
    /// Youngest timestamp taken, ms since the Unix epoch.
    pub timestamp_max: i64,
}

/// Why a producer's batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducedError {
    /// It is no intact batch.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Bytes after the batch: one partition of one request carries one batch (KIP-98).
    #[error("{0} bytes follow the batch; a request carries one batch for a partition")]
    Several(usize),
    /// No records, or gaps between them.
    #[error("{record_count} records do not fill offsets 0 to {last_offset_delta}")]
    Gaps {
        /// The header's record count.
        record_count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// Larger than the topic takes.
    #[error("a batch of {bytes} bytes, the topic takes {max} (max.message.bytes)")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Only coordinators write control batches.
    #[error("a control batch from a client")]
    Control,
    /// Transactional, without a transaction that we know.
    #[error("transactions are not supported")]
    Transactional,
    /// A timestamp outside `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms`.
    #[error("timestamp {timestamp} is outside {min} to {max}")]
    Timestamp {
        /// The batch's.
        timestamp: i64,
        /// The oldest taken.
        min: i64,
        /// The youngest taken.
        max: i64,
    },
    /// Marked as timed by a broker.
    #[error("a batch from a client whose timestamps claim to be a broker's")]
    LogAppendTime,
    /// The records are not what the header says. Only looked at where that is cheap: see [`validate_produced`].
    #[error("the records are malformed: {0}")]
    Records(String),
    /// A producer id without an epoch or sequence.
    #[error("producer id {0} without epoch or sequence")]
    Producer(i64),
}

/// Most records that are looked at one by one: some 100 us of work.
const RECORDS_CHECKED_MAX: i32 = 8192;

/// Checks that `bytes` are exactly one intact batch that a producer may send under `limits`. The records inside are checked if
/// they are not compressed and not very many; else they are their reader's matter, as the checksum is right.
pub fn validate_produced(bytes: &[u8], limits: &ProducedLimits) -> Result<BatchHeader, ProducedError> {
    let header = BatchHeader::parse(bytes)?;
    if bytes.len() > header.batch_bytes {
        return Err(ProducedError::Several(bytes.len() - header.batch_bytes));
    }
    // Before the checksum: what is too large is not worth reading.
    if header.batch_bytes > limits.batch_bytes_max {
        return Err(ProducedError::TooLarge { bytes: header.batch_bytes, max: limits.batch_bytes_max });
    }
    validate(bytes)?;
    let (record_count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if record_count <= 0 || last_offset_delta != record_count - 1 {
        return Err(ProducedError::Gaps { record_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(ProducedError::Control);
    }
    if header.is_transactional() {
        return Err(ProducedError::Transactional);
    }
    if header.is_log_append_time() {
        return Err(ProducedError::LogAppendTime);
    }
    let (min, max) = (limits.timestamp_min, limits.timestamp_max);
    // -1 is "no timestamp". The base is the first record's; together they bound all that matters for retention.
    for timestamp in [header.base_timestamp, header.max_timestamp] {
        if timestamp != -1 && !(min..=max).contains(&timestamp) {
            return Err(ProducedError::Timestamp { timestamp, min, max });
        }
    }
    if header.producer_id.0 >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return Err(ProducedError::Producer(header.producer_id.0));
    }
    if header.compression()? == Compression::None && record_count <= RECORDS_CHECKED_MAX {
        check_records(bytes)?;
    }
    Ok(header)
}

fn check_records(batch: &[u8]) -> Result<(), ProducedError> {
    let malformed = |error: &dyn std::fmt::Display| ProducedError::Records(error.to_string());
    let records = Records::of(batch, batch.len()).map_err(|error| malformed(&error))?;
    records.iter().try_for_each(|record| record.map(|_| ()).map_err(|error| malformed(&error)))
}
