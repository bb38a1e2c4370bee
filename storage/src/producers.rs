//! Idempotent producers: the last batches of each, so that a retry is recognised and a gap refused (KIP-98, KIP-360).
//!
//! *Which core*: the log's.
//! *Invariants*: advanced together with the append and never apart from it (lessons 66 to 68); a pure function of the log's
//! batches and the clock, so every replica comes to the same table. Every producer has at least one batch.
//! *Not here*: who may write, transactions.
//! *Why* an unknown producer may begin anywhere: its records may have been deleted, or it was idle for so long that it was
//! forgotten; Kafka takes it since 2.5 (KIP-360), and no longer says `UNKNOWN_PRODUCER_ID`.

mod snapshot;
#[cfg(test)]
mod tests;

use hashbrown::HashMap;

pub use snapshot::SnapshotError;

use crate::batch::BatchHeader;
use crate::ids::ProducerId;

/// Batches remembered of each producer: as many as a client may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;
/// Producers remembered of each log, unless told otherwise: some 2 MiB.
pub const PRODUCERS_MAX: usize = 8192;
/// Of so many producers one is forgotten when there is no room.
const FORGOTTEN_SHARE: usize = 8;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Batch {
    base_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
    /// Its largest, ms since the Unix epoch.
    timestamp: i64,
}

impl Batch {
    fn last_sequence(&self) -> i32 {
        sequence_after(self.base_sequence, self.offset_delta)
    }
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// How many of `slots` are in use.
    count: u8,
    /// Oldest first.
    slots: [Batch; BATCHES_REMEMBERED],
    /// When it last wrote, ms since the Unix epoch.
    last_written_ms: i64,
}

impl Producer {
    fn new(epoch: i16) -> Producer {
        Producer { epoch, count: 0, slots: Default::default(), last_written_ms: 0 }
    }

    fn batches(&self) -> &[Batch] {
        &self.slots[..usize::from(self.count)]
    }

    fn push(&mut self, batch: Batch) {
        if usize::from(self.count) == BATCHES_REMEMBERED {
            self.slots.rotate_left(1);
        } else {
            self.count += 1;
        }
        self.slots[usize::from(self.count) - 1] = batch;
    }

    /// Forgets batches that end at or beyond `end_offset`.
    fn truncate_to(&mut self, end_offset: i64) {
        let kept = self.batches().partition_point(|batch| batch.last_offset < end_offset);
        self.slots[kept..].fill(Batch::default());
        self.count = kept as u8;
    }
}

/// The producers of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerTable {
    producers: HashMap<i64, Producer, foldhash::fast::FixedState>,
    producers_max: usize,
}

impl Default for ProducerTable {
    fn default() -> ProducerTable {
        ProducerTable::new(PRODUCERS_MAX)
    }
}

/// What to do with a producer's batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerVerdict {
    /// It has no producer id: append it.
    NotIdempotent,
    /// It is the next one: append it.
    Append,
    /// It is in the log already.
    Duplicate {
        /// Offset of its first record there.
        base_offset: i64,
        /// Offset of its last record there.
        last_offset: i64,
        /// Largest timestamp of its records, ms since the Unix epoch.
        timestamp: i64,
    },
}

/// Why a producer's batch must not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Not the sequence number that comes next.
    #[error("producer {producer_id:?} sent sequence {found}, {expected} comes next")]
    OutOfOrderSequence {
        /// Whose.
        producer_id: ProducerId,
        /// What came.
        found: i32,
        /// What should have come.
        expected: i32,
    },
    /// A newer incarnation of this producer has written already.
    #[error("producer {producer_id:?} has epoch {found}, epoch {current} has written already")]
    InvalidProducerEpoch {
        /// Whose.
        producer_id: ProducerId,
        /// What came.
        found: i16,
        /// The newest seen.
        current: i16,
    },
}

/// The sequence number `count` after `sequence`: they wrap from 2^31 - 1 to 0.
fn sequence_after(sequence: i32, count: i32) -> i32 {
    ((i64::from(sequence) + i64::from(count)) & i64::from(i32::MAX)) as i32
}

impl ProducerTable {
    /// An empty table that remembers at most `producers_max`.
    pub fn new(producers_max: usize) -> ProducerTable {
        assert!(producers_max > 0, "a table for no producer");
        ProducerTable { producers: HashMap::default(), producers_max }
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Is none known?
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// May this batch be appended? Changes nothing.
    pub fn check(&self, batch: &BatchHeader) -> Result<ProducerVerdict, SequenceError> {
        let producer_id = batch.producer_id;
        if producer_id.0 < 0 {
            return Ok(ProducerVerdict::NotIdempotent);
        }
        let Some(known) = self.producers.get(&producer_id.0) else { return Ok(ProducerVerdict::Append) };
        if batch.producer_epoch < known.epoch {
            let (found, current) = (batch.producer_epoch, known.epoch);
            return Err(SequenceError::InvalidProducerEpoch { producer_id, found, current });
        }
        let (found, mut expected) = (batch.base_sequence, 0);
        if batch.producer_epoch == known.epoch {
            let same = |b: &&Batch| b.base_sequence == found && b.offset_delta == batch.last_offset_delta;
            if let Some(&Batch { last_offset, offset_delta, timestamp, .. }) = known.batches().iter().find(same) {
                let base_offset = last_offset - i64::from(offset_delta);
                return Ok(ProducerVerdict::Duplicate { base_offset, last_offset, timestamp });
            }
            expected = known.batches().last().map_or(found, |last| sequence_after(last.last_sequence(), 1));
        }
        if found != expected {
            return Err(SequenceError::OutOfOrderSequence { producer_id, found, expected });
        }
        Ok(ProducerVerdict::Append)
    }

    /// This batch is appended, with its final offsets in the header.
    pub fn advance(&mut self, batch: &BatchHeader, now_ms: i64) {
        let id = batch.producer_id.0;
        if id < 0 || batch.is_control() {
            return;
        }
        if self.producers.len() >= self.producers_max && !self.producers.contains_key(&id) {
            self.forget_oldest();
        }
        let producer = self.producers.entry(id).or_insert_with(|| Producer::new(batch.producer_epoch));
        if producer.epoch != batch.producer_epoch {
            *producer = Producer::new(batch.producer_epoch);
        }
        producer.push(Batch {
            base_sequence: batch.base_sequence,
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
            timestamp: batch.max_timestamp,
        });
        producer.last_written_ms = now_ms;
    }

    /// Makes room, for several at once so that the search for the oldest is paid for rarely.
    fn forget_oldest(&mut self) {
        let mut ages: Vec<(i64, i64)> = self.producers.iter().map(|(id, known)| (known.last_written_ms, *id)).collect();
        let count = (self.producers_max / FORGOTTEN_SHARE).max(1).min(ages.len());
        ages.select_nth_unstable(count - 1);
        for (_, id) in &ages[..count] {
            self.producers.remove(id);
        }
    }

    /// Forgets producers that have not written for `expiration_ms` (`producer.id.expiration.ms`).
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, producer| now_ms.saturating_sub(producer.last_written_ms) < expiration_ms);
    }

    /// The log was cut to `end_offset`: what lay beyond is forgotten. False: of some producer nothing is left here, but the log
    /// may still hold older batches of it; then the table must be made anew from a snapshot and the log, or a retry of one of
    /// those would be taken for a new batch.
    #[must_use = "false means that the table must be rebuilt"]
    pub fn truncate_to(&mut self, end_offset: i64) -> bool {
        let before = self.producers.len();
        self.producers.retain(|_, producer| {
            producer.truncate_to(end_offset);
            producer.count > 0
        });
        self.producers.len() == before
    }
}
