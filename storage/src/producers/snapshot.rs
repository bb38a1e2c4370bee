//! The table on disk, so that recovery need not read the whole log.
//!
//! ```text
//! version i16 = 1 | crc32c u32 of what follows | count i32 | per producer, by rising id:
//!     id i64 | epoch i16 | last_sequence i32 | last_offset i64 | offset_delta i32 | timestamp i64 |   its newest batch
//!     coordinator_epoch i32 = -1 | open_transaction_offset i64 = -1
//! ours_version u8 = 1 | per producer, in the same order:
//!     last_written_ms i64 | count u8 | per older batch, oldest first:
//!         last_sequence i32 | last_offset i64 | offset_delta i32 | timestamp i64
//! ```
//! All big-endian. The first part is Kafka's own format, whose tools read it and skip the rest. *Why* a second part: Kafka's
//! keeps one batch a producer, and we promise five after a restart, too.

use super::{BATCHES_REMEMBERED, Batch, Producer, ProducerTable, sequence_after};

/// Kafka's version of the format.
const VERSION: i16 = 1;
/// Our version of what we add.
const OURS_VERSION: u8 = 1;
/// The version and the checksum.
const PREFIX_BYTES: usize = 6;
/// Bytes of a producer in both parts, at least.
const PRODUCER_BYTES_MIN: usize = 55;
/// No coordinator has written for the producer.
const NO_COORDINATOR_EPOCH: i32 = -1;
/// It has no transaction open.
const NO_TRANSACTION: i64 = -1;

/// Why bytes are no snapshot of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// They end too early, or too late.
    #[error("its length is wrong")]
    Length,
    /// The checksum does not match.
    #[error("CRC-32C is {found:#010x}, it says {expected:#010x}")]
    Crc {
        /// What it says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// Written by another version, or by Kafka itself.
    #[error("its version is unknown")]
    Version,
    /// Numbers that no table of ours has.
    #[error("it makes no sense")]
    Content,
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(SnapshotError::Length)?;
        self.0 = rest;
        Ok(*head)
    }

    fn batch(&mut self) -> Result<Batch, SnapshotError> {
        let last_sequence = i32::from_be_bytes(self.take()?);
        let last_offset = i64::from_be_bytes(self.take()?);
        let offset_delta = i32::from_be_bytes(self.take()?);
        let timestamp = i64::from_be_bytes(self.take()?);
        if last_sequence < 0 || offset_delta < 0 || last_offset < i64::from(offset_delta) {
            return Err(SnapshotError::Content);
        }
        Ok(Batch { base_sequence: sequence_after(last_sequence, -offset_delta), last_offset, offset_delta, timestamp })
    }
}

fn put_batch(out: &mut Vec<u8>, batch: &Batch) {
    out.extend(batch.last_sequence().to_be_bytes());
    out.extend(batch.last_offset.to_be_bytes());
    out.extend(batch.offset_delta.to_be_bytes());
    out.extend(batch.timestamp.to_be_bytes());
}

impl ProducerTable {
    /// The table as bytes; equal tables give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut producers: Vec<(i64, &Producer)> =
            self.producers.iter().map(|(id, producer)| (*id, producer)).collect();
        producers.sort_unstable_by_key(|(id, _)| *id);
        let mut out = Vec::with_capacity(PREFIX_BYTES + 5 + producers.len() * (PRODUCER_BYTES_MIN + 24));
        out.extend(VERSION.to_be_bytes());
        out.extend([0; 4]);
        out.extend((producers.len() as i32).to_be_bytes());
        for (id, producer) in &producers {
            out.extend(id.to_be_bytes());
            out.extend(producer.epoch.to_be_bytes());
            put_batch(&mut out, producer.batches().last().expect("every producer has a batch"));
            out.extend(NO_COORDINATOR_EPOCH.to_be_bytes());
            out.extend(NO_TRANSACTION.to_be_bytes());
        }
        out.push(OURS_VERSION);
        for (_, producer) in &producers {
            let older = producer.batches().split_last().map_or(&[][..], |(_, older)| older);
            out.extend(producer.last_written_ms.to_be_bytes());
            out.push(older.len() as u8);
            older.iter().for_each(|batch| put_batch(&mut out, batch));
        }
        let crc = crc32c::crc32c(&out[PREFIX_BYTES..]);
        out[2..PREFIX_BYTES].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads what [`ProducerTable::to_bytes`] wrote; the limit on producers is the usual one.
    pub fn from_bytes(bytes: &[u8]) -> Result<ProducerTable, SnapshotError> {
        let mut reader = Reader(bytes);
        if i16::from_be_bytes(reader.take()?) != VERSION {
            return Err(SnapshotError::Version);
        }
        let expected = u32::from_be_bytes(reader.take()?);
        let found = crc32c::crc32c(reader.0);
        if found != expected {
            return Err(SnapshotError::Crc { expected, found });
        }
        let count = usize::try_from(i32::from_be_bytes(reader.take()?)).map_err(|_| SnapshotError::Content)?;
        if count.saturating_mul(PRODUCER_BYTES_MIN) > reader.0.len() {
            return Err(SnapshotError::Length);
        }
        let mut newest = Vec::with_capacity(count);
        for _ in 0..count {
            let (id, epoch) = (i64::from_be_bytes(reader.take()?), i16::from_be_bytes(reader.take()?));
            newest.push((id, epoch, reader.batch()?));
            reader.take::<12>()?;
        }
        if !newest.is_sorted_by(|a, b| a.0 < b.0) || newest.first().is_some_and(|(id, ..)| *id < 0) {
            return Err(SnapshotError::Content);
        }
        if reader.take().map_err(|_| SnapshotError::Version)? != [OURS_VERSION] {
            return Err(SnapshotError::Version);
        }
        let mut table = ProducerTable::default();
        for (id, epoch, newest) in newest {
            table.producers.insert(id, producer(&mut reader, epoch, newest)?);
        }
        if !reader.0.is_empty() {
            return Err(SnapshotError::Length);
        }
        while table.producers.len() > table.producers_max {
            table.forget_oldest();
        }
        Ok(table)
    }
}

fn producer(reader: &mut Reader<'_>, epoch: i16, newest: Batch) -> Result<Producer, SnapshotError> {
    let mut producer = Producer::new(epoch);
    producer.last_written_ms = i64::from_be_bytes(reader.take()?);
    let [older] = reader.take::<1>()?;
    if usize::from(older) >= BATCHES_REMEMBERED {
        return Err(SnapshotError::Content);
    }
    for _ in 0..older {
        producer.push(reader.batch()?);
    }
    producer.push(newest);
    let rises = producer.batches().is_sorted_by(|a, b| a.last_offset < b.last_offset);
    if rises { Ok(producer) } else { Err(SnapshotError::Content) }
}
