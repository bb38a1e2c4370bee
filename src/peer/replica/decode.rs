//! Bytes into entries, one after the other. Nothing is believed of them.

use bytes::{Buf, Bytes};
use uuid::Uuid;

use super::{ACK, ANSWER, CLOSED, DATA, DataEntry, Entry, LEAVE, OPEN, Word};
use crate::model::{LeaderEpoch, PartitionId, TopicId};
use crate::partition::replication::{OpeningAnswer, OpeningRequest, ReplicaAck};

/// A frame that is no run of entries. The stream is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEntry {
    /// It ends within an entry.
    #[error("a frame ends within an entry")]
    Short,
    /// Of no known kind.
    #[error("an entry of kind {0}")]
    Kind(u8),
    /// An answer of no known kind.
    #[error("an answer of kind {0}")]
    Answer(u8),
    /// An offset, an epoch or a partition is negative.
    #[error("a negative {0}")]
    Negative(&'static str),
}

/// The entries of a frame's body. After an error there are no more.
#[derive(Clone, Debug)]
pub struct Entries {
    body: Bytes,
}

impl Entries {
    /// Those of this body. Batches are slices of it, not copies.
    pub fn of(body: Bytes) -> Entries {
        Entries { body }
    }

    fn entry(&mut self) -> Result<Entry, BadEntry> {
        let body = &mut self.body;
        let kind = body.try_get_u8()?;
        let topic_id = TopicId(Uuid::from_u128(body.try_get_u128()?));
        let partition = PartitionId { topic_id, partition: i32_of(body, "partition")? };
        let word = match kind {
            OPEN => Word::Open(OpeningRequest {
                leader_epoch: LeaderEpoch(i32_of(body, "leader epoch")?),
                opening: body.try_get_u32()?,
                end_offset: i64_of(body, "log end offset")?,
                last_epoch: Some(body.try_get_i32()?).filter(|epoch| *epoch >= 0).map(LeaderEpoch),
            }),
            ACK => Word::Ack(ReplicaAck {
                leader_epoch: LeaderEpoch(i32_of(body, "leader epoch")?),
                opening: body.try_get_u32()?,
                flushed_end_offset: i64_of(body, "flushed end offset")?,
            }),
            LEAVE => Word::Leave,
            ANSWER => Word::Answer { opening: body.try_get_u32()?, answer: answer(body)? },
            DATA => Word::Data(DataEntry {
                leader_epoch: LeaderEpoch(i32_of(body, "leader epoch")?),
                opening: body.try_get_u32()?,
                high_watermark: i64_of(body, "high watermark")?,
                log_start_offset: i64_of(body, "log start offset")?,
                records: records(body)?,
            }),
            CLOSED => Word::Closed { opening: body.try_get_u32()? },
            other => return Err(BadEntry::Kind(other)),
        };
        Ok(Entry { partition, word })
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, BadEntry>;

    fn next(&mut self) -> Option<Result<Entry, BadEntry>> {
        if self.body.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.body.clear();
        }
        Some(entry)
    }
}

impl From<bytes::TryGetError> for BadEntry {
    fn from(_: bytes::TryGetError) -> BadEntry {
        BadEntry::Short
    }
}

fn answer(body: &mut Bytes) -> Result<OpeningAnswer, BadEntry> {
    let (kind, epoch, offset) = (body.try_get_u8()?, body.try_get_i32()?, body.try_get_i64()?);
    let offset_of = || if offset >= 0 { Ok(offset) } else { Err(BadEntry::Negative("offset")) };
    match kind {
        0 => Ok(OpeningAnswer::Agreed),
        1 if epoch < 0 => Err(BadEntry::Negative("leader epoch")),
        1 => Ok(OpeningAnswer::Diverging { leader_epoch: LeaderEpoch(epoch), end_offset: offset_of()? }),
        2 => Ok(OpeningAnswer::BeginAt(offset_of()?)),
        3 => Ok(OpeningAnswer::NotYet),
        4 => Ok(OpeningAnswer::Fenced),
        other => Err(BadEntry::Answer(other)),
    }
}

fn records(body: &mut Bytes) -> Result<Bytes, BadEntry> {
    let length = body.try_get_u32()? as usize;
    if length > body.len() {
        return Err(BadEntry::Short);
    }
    Ok(body.split_to(length))
}

fn i32_of(body: &mut Bytes, what: &'static str) -> Result<i32, BadEntry> {
    Some(body.try_get_i32()?).filter(|number| *number >= 0).ok_or(BadEntry::Negative(what))
}

fn i64_of(body: &mut Bytes, what: &'static str) -> Result<i64, BadEntry> {
    Some(body.try_get_i64()?).filter(|number| *number >= 0).ok_or(BadEntry::Negative(what))
}
