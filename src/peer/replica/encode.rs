//! Entries into bytes: all of a frame's in one buffer, batches among them.

use storage::ids::PartitionId;

use super::{ACK, ANSWER, CLOSED, DATA, LEAVE, OPEN};
use crate::model::LeaderEpoch;
use crate::partition::replication::{OpeningAnswer, OpeningRequest, ReplicaAck};

/// Gathers the entries of a frame. Its memory is used again for the next one.
#[derive(Debug, Default)]
pub struct EntryWriter {
    bytes: Vec<u8>,
}

/// Where a data entry's batches end up; see [`EntryWriter::data`].
#[derive(Clone, Copy, Debug)]
pub struct DataHead {
    /// The sender's reign.
    pub leader_epoch: LeaderEpoch,
    /// The opening that it belongs to.
    pub opening: u32,
    /// The leader's high watermark.
    pub high_watermark: i64,
    /// Where the leader's log begins.
    pub log_start_offset: i64,
}

impl EntryWriter {
    /// The frame's body so far.
    pub fn body(&self) -> &[u8] {
        &self.bytes
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Begins another frame; keeps memory for the next one, but at most so much.
    pub fn clear(&mut self, kept_bytes_max: usize) {
        self.bytes.clear();
        if self.bytes.capacity() > kept_bytes_max {
            self.bytes.shrink_to(kept_bytes_max);
        }
    }

    /// A follower wants to follow.
    pub fn open(&mut self, partition: PartitionId, request: &OpeningRequest) {
        let OpeningRequest { leader_epoch, opening, end_offset, last_epoch } = *request;
        self.head(OPEN, partition);
        self.i32(leader_epoch.0);
        self.u32(opening);
        self.i64(end_offset);
        self.i32(last_epoch.map_or(-1, |epoch| epoch.0));
    }

    /// A follower has flushed.
    pub fn ack(&mut self, partition: PartitionId, ack: &ReplicaAck) {
        let ReplicaAck { leader_epoch, opening, flushed_end_offset } = *ack;
        self.head(ACK, partition);
        self.i32(leader_epoch.0);
        self.u32(opening);
        self.i64(flushed_end_offset);
    }

    /// A follower wants no more.
    pub fn leave(&mut self, partition: PartitionId) {
        self.head(LEAVE, partition);
    }

    /// A leader answers an opening.
    pub fn answer(&mut self, partition: PartitionId, opening: u32, answer: OpeningAnswer) {
        let (kind, epoch, offset) = match answer {
            OpeningAnswer::Agreed => (0, -1, -1),
            OpeningAnswer::Diverging { leader_epoch, end_offset } => (1, leader_epoch.0, end_offset),
            OpeningAnswer::BeginAt(log_start) => (2, -1, log_start),
            OpeningAnswer::NotYet => (3, -1, -1),
            OpeningAnswer::Fenced => (4, -1, -1),
        };
        self.head(ANSWER, partition);
        self.u32(opening);
        self.bytes.push(kind);
        self.i32(epoch);
        self.i64(offset);
    }

    /// A leader sends batches: `fill` appends them, whole ones, and nothing else.
    pub fn data<T>(&mut self, partition: PartitionId, head: &DataHead, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.head(DATA, partition);
        self.i32(head.leader_epoch.0);
        self.u32(head.opening);
        self.i64(head.high_watermark);
        self.i64(head.log_start_offset);
        let length_at = self.bytes.len();
        self.u32(0);
        let filled = fill(&mut self.bytes);
        let length = self.bytes.len() - length_at - 4;
        let length = u32::try_from(length).expect("a frame is far below 4 GiB");
        self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
        filled
    }

    /// A leader sends no more in this opening.
    pub fn closed(&mut self, partition: PartitionId, opening: u32) {
        self.head(CLOSED, partition);
        self.u32(opening);
    }

    fn head(&mut self, kind: u8, partition: PartitionId) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(partition.topic_id.0.as_bytes());
        self.i32(partition.partition);
    }
    fn i32(&mut self, number: i32) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }
    fn u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }
    fn i64(&mut self, number: i64) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }
}
