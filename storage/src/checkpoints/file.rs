//! The bytes of a checkpoint file.
//!
//! *Which core*: any; bytes in, values out.
//! *Invariants*: a file with any bit wrong is no file.
//!
//! ```text
//! 0 "CHRCKPT1"   8 count u32   12 count entries of 44 bytes   then crc32c u32 of everything before; all big-endian
//! entry: 0 topic id, 16 bytes   16 partition i32   20 recovery point i64   28 high watermark i64   36 log start offset i64
//! ```

use super::{Checkpoint, PARTITIONS_MAX};
use crate::ids::{PartitionId, TopicId};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The name of the format, its version in the last character.
const MAGIC: &[u8; 8] = b"CHRCKPT1";
const HEAD_BYTES: usize = 12;
const ENTRY_BYTES: usize = 44;

pub(super) fn encode(checkpoints: &BTreeMap<PartitionId, Checkpoint>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + checkpoints.len() * ENTRY_BYTES + 4);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(checkpoints.len() as u32).to_be_bytes());
    for (id, checkpoint) in checkpoints {
        bytes.extend_from_slice(id.topic_id.0.as_bytes());
        bytes.extend_from_slice(&id.partition.to_be_bytes());
        for offset in [checkpoint.recovery_point, checkpoint.high_watermark, checkpoint.log_start_offset] {
            bytes.extend_from_slice(&offset.to_be_bytes());
        }
    }
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

/// The checkpoints, or what is wrong with the file.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<(PartitionId, Checkpoint)>, String> {
    let (checked, crc) = bytes.split_last_chunk::<4>().ok_or("it is too short")?;
    if crc32c::crc32c(checked).to_be_bytes() != *crc {
        return Err("it is damaged".to_owned());
    }
    let rest = checked.strip_prefix(MAGIC).ok_or("it is of a format that this release does not know")?;
    let (count, entries) = rest.split_first_chunk::<4>().ok_or("it is too short")?;
    let count = u32::from_be_bytes(*count) as usize;
    if count > PARTITIONS_MAX || entries.len() != count * ENTRY_BYTES {
        return Err(format!("it has {} bytes for {count} entries", entries.len()));
    }
    entries
        .chunks_exact(ENTRY_BYTES)
        .map(|entry| decode_entry(entry).ok_or("an entry has no valid value".into()))
        .collect()
}

fn decode_entry(entry: &[u8]) -> Option<(PartitionId, Checkpoint)> {
    let (topic_id, rest) = entry.split_first_chunk::<16>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let partition = i32::from_be_bytes(*partition);
    let mut offsets =
        rest.chunks_exact(8).map(|bytes| bytes.iter().fold(0, |offset, byte| offset << 8 | i64::from(*byte)));
    let checkpoint = Checkpoint {
        recovery_point: offsets.next()?,
        high_watermark: offsets.next()?,
        log_start_offset: offsets.next()?,
    };
    let id = PartitionId { topic_id: TopicId(Uuid::from_bytes(*topic_id)), partition };
    (partition >= 0 && checkpoint.is_valid()).then_some((id, checkpoint))
}
