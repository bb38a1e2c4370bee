//! Walking a segment file batch by batch, each one checked, in bounded memory.
//!
//! *Which core*: the log's.
//! *Invariants*: a batch counts only if its length, CRC, offset and leader epoch are right; whatever the bytes are, no more than
//! one window of them is in memory.
//! *Not here*: what the end of the walk means (recover), reads for clients (read).

use crate::batch::{BatchHeader, CRC_START, HEADER_BYTES};
use crate::disk::{BLOCK_BYTES, DiskError, File, IoBuffer};
use crate::ids::LeaderEpoch;

/// The first window; one that is followed by another doubles, up to the largest. Most scans end in the first.
const WINDOW_BYTES_MIN: usize = 64 << 10;
const WINDOW_BYTES_MAX: usize = 1 << 20;

/// Why a walk ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The file does, right after a batch.
    EndOfFile,
    /// Zeros where a batch would begin.
    Zeros,
    /// Something that is no batch of this log.
    Bad(String),
}

/// The next thing in a segment.
pub(super) enum Scanned {
    Batch(BatchHeader),
    Stop(Stop),
}

/// A walk over a segment file.
pub(super) struct Scanner {
    file: File,
    file_bytes: u64,
    window: Option<(u64, IoBuffer)>,
    window_bytes: usize,
    /// Position of the next batch.
    pub(super) position: u64,
    /// The offset that it must have.
    pub(super) expected: i64,
    /// The leader epoch that it must at least have.
    pub(super) epoch: Option<LeaderEpoch>,
    /// The leader epoch that it can have at most: the CRC does not cover it.
    pub(super) newest_epoch: Option<LeaderEpoch>,
}

impl Scanner {
    pub(super) fn new(file: File, file_bytes: u64, position: u64, expected: i64) -> Scanner {
        Scanner {
            file,
            file_bytes,
            window: None,
            window_bytes: WINDOW_BYTES_MIN,
            position,
            expected,
            epoch: None,
            newest_epoch: None,
        }
    }
    /// Where the file ends.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }
    /// The batch at [`Scanner::position`], which then moves past it.
    pub(super) async fn next(&mut self) -> Result<Scanned, DiskError> {
        let left = self.file_bytes.saturating_sub(self.position);
        if left == 0 {
            return Ok(Scanned::Stop(Stop::EndOfFile));
        }
        let head = self.bytes_at(self.position, (HEADER_BYTES as u64).min(left) as usize).await?;
        if head.iter().all(|&byte| byte == 0) {
            return Ok(Scanned::Stop(Stop::Zeros));
        }
        let header = match BatchHeader::parse(head) {
            Ok(header) => header,
            Err(error) => return Ok(Scanned::Stop(Stop::Bad(error.to_string()))),
        };
        if let Some(reason) = self.misfit(&header, left) {
            return Ok(Scanned::Stop(Stop::Bad(reason)));
        }
        let crc = self.crc(self.position + CRC_START as u64, header.batch_bytes - CRC_START).await?;
        if crc != header.crc {
            let reason = format!("the batch's CRC-32C is {crc:#010x}, its header says {:#010x}", header.crc);
            return Ok(Scanned::Stop(Stop::Bad(reason)));
        }
        self.position += header.batch_bytes as u64;
        self.expected = header.end_offset();
        self.epoch = Some(header.leader_epoch);
        Ok(Scanned::Batch(header))
    }

    /// Why the header is not that of the batch that must be here, if it is not.
    fn misfit(&self, header: &BatchHeader, left: u64) -> Option<String> {
        if header.base_offset != self.expected {
            return Some(format!("a batch at offset {}, {} comes next", header.base_offset, self.expected));
        }
        if header.last_offset_delta < 0 {
            return Some(format!("a last offset delta of {}", header.last_offset_delta));
        }
        if header.leader_epoch.0 < 0 || self.epoch.is_some_and(|epoch| header.leader_epoch < epoch) {
            return Some(format!("leader epoch {:?} after {:?}", header.leader_epoch, self.epoch));
        }
        if let Some(newest) = self.newest_epoch.filter(|newest| header.leader_epoch > *newest) {
            return Some(format!("leader epoch {:?}, but {newest:?} is the newest there is", header.leader_epoch));
        }
        if header.batch_bytes as u64 > left {
            return Some(format!("a batch of {} bytes, {left} before the file ends", header.batch_bytes));
        }
        None
    }

    /// CRC-32C of `bytes` from `position`, window by window.
    pub(super) async fn crc(&mut self, position: u64, bytes: usize) -> Result<u32, DiskError> {
        let (mut crc, mut at, end) = (0, position, position + bytes as u64);
        while at < end {
            let piece = self.some_bytes_at(at, (end - at) as usize).await?;
            crc = crc32c::crc32c_append(crc, piece);
            at += piece.len() as u64;
        }
        Ok(crc)
    }
    /// Exactly `bytes` (few) from `position`, which lie within the file.
    pub(super) async fn bytes_at(&mut self, position: u64, bytes: usize) -> Result<&[u8], DiskError> {
        assert!(bytes <= WINDOW_BYTES_MIN - BLOCK_BYTES, "a window holds {bytes} bytes wherever they begin");
        self.load(position, bytes).await?;
        let (start, window) = self.window.as_ref().expect("it was just loaded");
        let index = (position - start) as usize;
        Ok(&window[index..index + bytes])
    }
    /// Between 1 and `bytes_max` bytes from `position`, which lies within the file.
    pub(super) async fn some_bytes_at(&mut self, position: u64, bytes_max: usize) -> Result<&[u8], DiskError> {
        self.load(position, 1).await?;
        let (start, window) = self.window.as_ref().expect("it was just loaded");
        let index = (position - start) as usize;
        Ok(&window[index..window.len().min(index + bytes_max)])
    }
    async fn load(&mut self, position: u64, bytes: usize) -> Result<(), DiskError> {
        let end = position + bytes as u64;
        if let Some((start, window)) = &self.window {
            if *start <= position && end <= start + window.len() as u64 {
                return Ok(());
            }
            self.window_bytes = (2 * self.window_bytes).min(WINDOW_BYTES_MAX);
        }
        let start = position - position % BLOCK_BYTES as u64;
        let left = (self.file_bytes - start).next_multiple_of(BLOCK_BYTES as u64);
        let read = self.file.read_at(start, (self.window_bytes as u64).min(left) as usize).await?;
        if start + (read.len() as u64) < end {
            let reason = format!("it ends at {}, expected {}", start + read.len() as u64, self.file_bytes);
            return Err(DiskError {
                operation: "read",
                path: self.file.path().to_owned(),
                reason: crate::disk::DiskErrorReason::Io(reason),
            });
        }
        self.window = Some((start, read));
        Ok(())
    }
}
