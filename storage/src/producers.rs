//! Idempotent producers: the last batches of each, so that a retry is recognised and a gap refused (KIP-98, KIP-360).
//!
//! *Which core*: the log's.
//! *Invariants*: advanced together with the append and never apart from it (lessons 66 to 68); a pure function of the log's
//! batches and the clock, so every replica comes to the same table.
//! *Not here*: who may write, transactions.

mod snapshot;

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::batch::BatchHeader;
use crate::ids::ProducerId;

/// Batches remembered of each producer: as many as a client may have in flight.
pub const BATCHES_REMEMBERED: usize = 5;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Batch {
    base_sequence: i32,
    last_sequence: i32,
    last_offset: i64,
    offset_delta: i32,
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: i16,
    /// Oldest first; empty only where the log was cut below all of them.
    batches: VecDeque<Batch>,
    /// When it last wrote, ms since the Unix epoch.
    last_written_ms: i64,
}

/// The producers of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProducerTable {
    producers: HashMap<i64, Producer, foldhash::fast::FixedState>,
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
        // An unknown producer may begin anywhere: its state may have expired while it was idle.
        let Some(known) = self.producers.get(&producer_id.0) else { return Ok(ProducerVerdict::Append) };
        if batch.producer_epoch < known.epoch {
            let (found, current) = (batch.producer_epoch, known.epoch);
            return Err(SequenceError::InvalidProducerEpoch { producer_id, found, current });
        }
        let found = batch.base_sequence;
        let expected = if batch.producer_epoch > known.epoch {
            0
        } else {
            let last_sequence = sequence_after(found, batch.last_offset_delta);
            let same = |b: &&Batch| b.base_sequence == found && b.last_sequence == last_sequence;
            if let Some(b) = known.batches.iter().find(same) {
                let base_offset = b.last_offset - i64::from(b.offset_delta);
                return Ok(ProducerVerdict::Duplicate { base_offset, last_offset: b.last_offset });
            }
            match known.batches.back() {
                Some(last) => sequence_after(last.last_sequence, 1),
                None => found,
            }
        };
        if found != expected {
            return Err(SequenceError::OutOfOrderSequence { producer_id, found, expected });
        }
        Ok(ProducerVerdict::Append)
    }

    /// This batch is appended, with its final offsets in the header.
    pub fn advance(&mut self, batch: &BatchHeader, now_ms: i64) {
        if batch.producer_id.0 < 0 || batch.is_control() {
            return;
        }
        let fresh = || Producer { epoch: batch.producer_epoch, batches: VecDeque::new(), last_written_ms: now_ms };
        let producer = self.producers.entry(batch.producer_id.0).or_insert_with(fresh);
        if producer.epoch != batch.producer_epoch {
            *producer = fresh();
        }
        if producer.batches.len() == BATCHES_REMEMBERED {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Batch {
            base_sequence: batch.base_sequence,
            last_sequence: sequence_after(batch.base_sequence, batch.last_offset_delta),
            last_offset: batch.last_offset(),
            offset_delta: batch.last_offset_delta,
        });
        producer.last_written_ms = now_ms;
    }

    /// Forgets producers that have not written for `expiration_ms`.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) {
        self.producers.retain(|_, producer| now_ms.saturating_sub(producer.last_written_ms) < expiration_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LeaderEpoch;

    fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_bytes: 61,
            leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: ProducerId(7),
            producer_epoch: epoch,
            base_sequence,
            record_count: count,
        }
    }

    fn table(batches: &[BatchHeader]) -> ProducerTable {
        let mut table = ProducerTable::default();
        batches.iter().for_each(|batch| table.advance(batch, 0));
        table
    }

    #[test]
    fn a_retry_of_any_of_the_last_five_batches_is_a_duplicate_at_its_first_offsets() {
        let batches: Vec<_> = (0..6).map(|n| batch(0, n * 10, 10, i64::from(n) * 10 + 100)).collect();
        let table = table(&batches);
        for n in 1..6 {
            let verdict = table.check(&batch(0, n * 10, 10, 0));
            let base_offset = i64::from(n) * 10 + 100;
            assert_eq!(verdict, Ok(ProducerVerdict::Duplicate { base_offset, last_offset: base_offset + 9 }));
        }
        assert!(matches!(
            table.check(&batch(0, 0, 10, 0)),
            Err(SequenceError::OutOfOrderSequence { expected: 60, .. })
        ));
    }

    #[test]
    fn a_gap_is_refused_and_the_next_sequence_is_taken() {
        let table = table(&[batch(0, 0, 10, 0)]);
        assert_eq!(table.check(&batch(0, 10, 1, 0)), Ok(ProducerVerdict::Append));
        assert!(matches!(
            table.check(&batch(0, 11, 1, 0)),
            Err(SequenceError::OutOfOrderSequence { expected: 10, .. })
        ));
    }

    #[test]
    fn a_newer_epoch_begins_at_zero_and_fences_the_older() {
        let mut table = table(&[batch(3, 0, 10, 0)]);
        assert!(matches!(table.check(&batch(4, 10, 1, 0)), Err(SequenceError::OutOfOrderSequence { expected: 0, .. })));
        assert_eq!(table.check(&batch(4, 0, 1, 0)), Ok(ProducerVerdict::Append));
        table.advance(&batch(4, 0, 1, 10), 0);
        assert!(matches!(table.check(&batch(3, 10, 1, 0)), Err(SequenceError::InvalidProducerEpoch { .. })));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let table = table(&[batch(0, i32::MAX - 1, 2, 0)]);
        assert_eq!(table.check(&batch(0, 0, 1, 0)), Ok(ProducerVerdict::Append));
    }

    #[test]
    fn an_idle_producer_is_forgotten() {
        let mut table = table(&[batch(0, 0, 1, 0)]);
        table.expire(99, 100);
        assert_eq!(table.len(), 1);
        table.expire(100, 100);
        assert!(table.is_empty());
    }
}
