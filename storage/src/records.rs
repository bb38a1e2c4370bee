//! The records within a batch (magic 2).
//!
//! *Which core*: any, but not where others wait while a batch is decompressed.
//! *Invariants*: every length is checked against the bytes that are there before anything is taken; no input panics. Offsets
//! rise strictly within a batch and stay within its header's range.
//! *Not here*: the batch's own header and checksum (`batch`), the codecs (`compression`).
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint | key | value | header count varint | headers
//! key, value: length varint (-1: null), bytes      header: name length varint, name, value length varint (-1: null), value
//! ```
//! All varints are zig-zag. Source: <https://kafka.apache.org/documentation/#record>

mod varint;

use std::borrow::Cow;

use crate::batch::{BatchError, BatchHeader, HEADER_BYTES, NewRecord};
use crate::compression::{DecompressError, decompress};
use varint::{put_bytes, put_varint, take_bytes, take_varint, take_varlong};

/// The smallest record: its length, attributes, two deltas, null key, null value, no headers.
const RECORD_BYTES_MIN: usize = 7;

/// Why a batch's records cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The codec is unknown, or the batch is shorter than its header says.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// They do not decompress.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record's bytes make no sense.
    #[error("record {index} of the batch, byte {position} of its decompressed records: {reason}")]
    Malformed {
        /// Which record of the batch, from 0.
        index: i32,
        /// Where the record begins, in the decompressed records.
        position: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in the log.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, or -1.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
    header_count: usize,
}

impl<'a> Record<'a> {
    /// Its headers: name and value, in order. Names should be UTF-8, but nobody checks.
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.headers;
        (0..self.header_count).map_while(move |_| take_header(&mut rest).ok())
    }
}

/// The records of one batch, decompressed.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// The records of the batch that `batch` is, from its first byte to its last; decompressed they may take
    /// `decompressed_bytes_max`. The checksum is not looked at.
    pub fn of(batch: &'a [u8], decompressed_bytes_max: usize) -> Result<Records<'a>, RecordsError> {
        let header = BatchHeader::parse(batch)?;
        let whole = batch.get(HEADER_BYTES..header.batch_bytes);
        let records = whole.ok_or(BatchError::Truncated { have: batch.len(), need: header.batch_bytes })?;
        let bytes = decompress(header.compression()?, records, decompressed_bytes_max)?;
        Ok(Records { header, bytes })
    }

    /// The records, oldest first. Ends with the last, or with the first that cannot be read.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: &self.header, bytes: &self.bytes, position: 0, index: 0, least_delta: 0, is_over: false }
    }

    /// Bytes of the records, decompressed.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// (offset, timestamp) of the first record at or after `timestamp`, ms since the Unix epoch.
    pub fn first_since(&self, timestamp: i64) -> Result<Option<(i64, i64)>, RecordsError> {
        for record in self.iter() {
            let record = record?;
            if record.timestamp >= timestamp {
                return Ok(Some((record.offset, record.timestamp)));
            }
        }
        Ok(None)
    }

    /// (offset, timestamp) of the first record with the largest timestamp.
    pub fn newest(&self) -> Result<Option<(i64, i64)>, RecordsError> {
        let mut newest: Option<(i64, i64)> = None;
        for record in self.iter() {
            let record = record?;
            if newest.is_none_or(|(_, timestamp)| record.timestamp > timestamp) {
                newest = Some((record.offset, record.timestamp));
            }
        }
        Ok(newest)
    }
}

/// Iterates over the records of a batch; see [`Records::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: &'a BatchHeader,
    bytes: &'a [u8],
    position: usize,
    index: i32,
    /// Smallest offset delta that the next record may have.
    least_delta: i64,
    is_over: bool,
}

impl<'a> RecordIter<'a> {
    fn read(&mut self) -> Result<Record<'a>, &'static str> {
        let mut rest = &self.bytes[self.position..];
        let length = take_varint(&mut rest)?;
        let length = usize::try_from(length).map_err(|_| "a negative length")?;
        let (mut body, after) = rest.split_at_checked(length).ok_or("longer than the bytes that are left")?;
        let (_attributes, fields) = body.split_first().ok_or("no attributes")?;
        body = fields;
        let timestamp_delta = take_varlong(&mut body)?;
        let offset_delta = i64::from(take_varint(&mut body)?);
        if offset_delta < self.least_delta || offset_delta > i64::from(self.header.last_offset_delta) {
            return Err("its offset is out of order or outside the batch's range");
        }
        let key = take_bytes(&mut body)?;
        let value = take_bytes(&mut body)?;
        let header_count = usize::try_from(take_varint(&mut body)?).map_err(|_| "a negative number of headers")?;
        let headers = body;
        for _ in 0..header_count {
            take_header(&mut body)?;
        }
        if !body.is_empty() {
            return Err("longer than its fields");
        }
        self.position = self.bytes.len() - after.len();
        self.least_delta = offset_delta + 1;
        let timestamp = if self.header.is_log_append_time() {
            self.header.max_timestamp
        } else {
            self.header.base_timestamp.wrapping_add(timestamp_delta)
        };
        let offset = self.header.base_offset.saturating_add(offset_delta);
        Ok(Record { offset, timestamp, key, value, headers, header_count })
    }

    fn next_or_reason(&mut self) -> Option<Result<Record<'a>, &'static str>> {
        let left = self.bytes.len() - self.position;
        let missing = i64::from(self.header.record_count) - i64::from(self.index);
        if missing <= 0 {
            return (left > 0).then_some(Err("bytes follow the last record"));
        }
        // So that a large count is not believed one record at a time.
        if missing.saturating_mul(RECORD_BYTES_MIN as i64) > left as i64 {
            return Some(Err("fewer bytes than the records that are still to come"));
        }
        Some(self.read())
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let (index, position) = (self.index, self.position);
        match self.next_or_reason() {
            Some(Ok(record)) => {
                self.index += 1;
                Some(Ok(record))
            }
            Some(Err(reason)) => {
                self.is_over = true;
                Some(Err(RecordsError::Malformed { index, position, reason }))
            }
            None => None,
        }
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), &'static str> {
    let name = take_bytes(bytes)?.ok_or("a header without a name")?;
    Ok((name, take_bytes(bytes)?))
}

/// Appends one record to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, offset_delta: i32, record: &NewRecord<'_>) {
    let mut body = vec![0];
    put_varint(&mut body, record.timestamp_delta);
    put_varint(&mut body, i64::from(offset_delta));
    put_bytes(&mut body, record.key);
    put_bytes(&mut body, record.value);
    put_varint(&mut body, record.headers.len() as i64);
    for (name, value) in record.headers {
        put_bytes(&mut body, Some(name.as_bytes()));
        put_bytes(&mut body, *value);
    }
    put_varint(out, body.len() as i64);
    out.extend(body);
}

#[cfg(test)]
mod tests;
