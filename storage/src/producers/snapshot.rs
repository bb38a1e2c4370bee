//! The table on disk, so that recovery need not read the whole log.
//!
//! ```text
//! version u8 = 1 | count u32 | per producer: id i64, epoch i16, last_written_ms i64, batches u8,
//!                              per batch: base_sequence i32, last_sequence i32, last_offset i64, offset_delta i32 | crc32c u32
//! ```
//! All little-endian. *Why* not Kafka's format: Kafka's keeps one batch a producer, and we promise five after a restart, too.

use std::collections::VecDeque;

use super::{BATCHES_REMEMBERED, Batch, Producer, ProducerTable};

const VERSION: u8 = 1;

/// The bytes are no snapshot of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an intact producer snapshot")]
pub struct SnapshotError;

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotError)?;
        self.0 = rest;
        Ok(*head)
    }
}

impl ProducerTable {
    /// The table as bytes; equal tables give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend((self.producers.len() as u32).to_le_bytes());
        let mut ids: Vec<i64> = self.producers.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let producer = &self.producers[&id];
            out.extend(id.to_le_bytes());
            out.extend(producer.epoch.to_le_bytes());
            out.extend(producer.last_written_ms.to_le_bytes());
            out.push(producer.batches.len() as u8);
            for batch in &producer.batches {
                out.extend(batch.base_sequence.to_le_bytes());
                out.extend(batch.last_sequence.to_le_bytes());
                out.extend(batch.last_offset.to_le_bytes());
                out.extend(batch.offset_delta.to_le_bytes());
            }
        }
        let crc = crc32c::crc32c(&out);
        out.extend(crc.to_le_bytes());
        out
    }

    /// Reads what [`ProducerTable::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<ProducerTable, SnapshotError> {
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or(SnapshotError)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*crc) {
            return Err(SnapshotError);
        }
        let mut reader = Reader(body);
        if reader.take::<1>()? != [VERSION] {
            return Err(SnapshotError);
        }
        let mut table = ProducerTable::default();
        for _ in 0..u32::from_le_bytes(reader.take()?) {
            let id = i64::from_le_bytes(reader.take()?);
            let epoch = i16::from_le_bytes(reader.take()?);
            let last_written_ms = i64::from_le_bytes(reader.take()?);
            let [count] = reader.take::<1>()?;
            if usize::from(count) > BATCHES_REMEMBERED {
                return Err(SnapshotError);
            }
            let mut batches = VecDeque::with_capacity(BATCHES_REMEMBERED);
            for _ in 0..count {
                batches.push_back(Batch {
                    base_sequence: i32::from_le_bytes(reader.take()?),
                    last_sequence: i32::from_le_bytes(reader.take()?),
                    last_offset: i64::from_le_bytes(reader.take()?),
                    offset_delta: i32::from_le_bytes(reader.take()?),
                });
            }
            table.producers.insert(id, Producer { epoch, batches, last_written_ms });
        }
        if reader.0.is_empty() { Ok(table) } else { Err(SnapshotError) }
    }
}
