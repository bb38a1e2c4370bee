//! What lies after a log's end: looked through for batches that should not be lost, and zeroed.
//!
//! *Which core*: the log's.
//! *Invariants*: what is zeroed lies at or after the end; the bytes before it in its block are written again as they were.
//! *Not here*: where the end is (recover, truncate).

use std::rc::Rc;

use super::scan::Scanner;
use crate::batch::{BatchHeader, CRC_START, HEADER_BYTES};
use crate::disk::{BLOCK_BYTES, DiskError, File, IoBuffer};

/// Zeros written at a time.
const ZEROS_BYTES: usize = 256 << 10;
/// Index of the magic byte in a batch.
const MAGIC_INDEX: u64 = 16;
/// A batch whose offset is further than this beyond the end is not of this log.
const OFFSETS_AHEAD_MAX: i64 = 1 << 32;

/// What lies after the end of a log, in its last segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rest {
    /// Position after the last byte that is not zero; 0 if all are.
    pub(super) nonzero_end: u64,
    /// Position of a good batch of this log that no torn write can have left.
    pub(super) stray: Option<u64>,
}

impl Rest {
    /// Looks through everything from the scanner's position, which is the end of the log, to the end of the file. A good batch
    /// further on than `write_bytes`, or at `also`, is a stray.
    pub(super) async fn examine(scanner: &mut Scanner, write_bytes: u64, also: Option<u64>) -> Result<Rest, DiskError> {
        let mut rest = Rest::default();
        let (stray_from, mut at) = (scanner.position + write_bytes, scanner.position);
        let mut candidates = Vec::new();
        while at < scanner.file_bytes() {
            let left = (scanner.file_bytes() - at) as usize;
            let piece = scanner.some_bytes_at(at, left).await?;
            if let Some(last) = piece.iter().rposition(|&byte| byte != 0) {
                rest.nonzero_end = at + last as u64 + 1;
                let magics = piece[..=last].iter().enumerate().filter(|(_, byte)| **byte == 2);
                let starts = magics.filter_map(|(index, _)| (at + index as u64).checked_sub(MAGIC_INDEX));
                candidates.extend(starts.filter(|start| *start > stray_from || Some(*start) == also));
            }
            at += piece.len() as u64;
            for start in candidates.drain(..) {
                if rest.stray.is_none() && is_good_batch(scanner, start).await? {
                    rest.stray = Some(start);
                }
            }
        }
        Ok(rest)
    }
}

/// Is there a batch at `start` that this log may have held after its end?
async fn is_good_batch(scanner: &mut Scanner, start: u64) -> Result<bool, DiskError> {
    let left = scanner.file_bytes() - start;
    if left < HEADER_BYTES as u64 {
        return Ok(false);
    }
    let Ok(header) = BatchHeader::parse(scanner.bytes_at(start, HEADER_BYTES).await?) else { return Ok(false) };
    let ahead = header.base_offset.checked_sub(scanner.expected);
    let plausible = ahead.is_some_and(|ahead| (0..OFFSETS_AHEAD_MAX).contains(&ahead))
        && scanner.epoch.is_none_or(|epoch| epoch <= header.leader_epoch)
        && header.last_offset_delta >= 0
        && header.batch_bytes as u64 <= left;
    if !plausible {
        return Ok(false);
    }
    let crc = scanner.crc(start + CRC_START as u64, header.batch_bytes - CRC_START).await?;
    Ok(crc == header.crc)
}

/// Zeros everything from `from` to `to` of a file; `block` is the block in which `from` lies, if it is not that block's first
/// byte, with zeros after `from`. Not flushed.
pub(super) async fn zero(file: &File, block: Option<&[u8]>, from: u64, to: u64) -> Result<(), DiskError> {
    let mut at = from - from % BLOCK_BYTES as u64;
    if let Some(block) = block {
        let mut kept = IoBuffer::zeroed(BLOCK_BYTES);
        kept.copy_from_slice(block);
        file.write_at(Rc::new(kept), at).await?;
        at += BLOCK_BYTES as u64;
    }
    let zeros = Rc::new(IoBuffer::zeroed(ZEROS_BYTES));
    while at < to {
        let bytes = (to - at).next_multiple_of(BLOCK_BYTES as u64).min(ZEROS_BYTES as u64) as usize;
        let piece = if bytes == ZEROS_BYTES { Rc::clone(&zeros) } else { Rc::new(IoBuffer::zeroed(bytes)) };
        file.write_at(piece, at).await?;
        at += bytes as u64;
    }
    Ok(())
}
