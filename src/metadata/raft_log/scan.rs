//! Reading a log file from its start: its records, where they end, and whether that is an end, a torn write or corruption.
//!
//! *Which core*: metadata, before the node runs.
//! *Invariants*: memory is bounded by the largest record and one window; a record counts only if its header, its CRC, its number
//! and its write's number are the expected ones.
//! *Why* three endings: a write that was in flight at a crash may be there in part, and nothing of it was acknowledged; so it
//! is cut. Anything else that does not read back was flushed once, and cutting it would lose what was promised: so it is
//! refused. A torn write leaves at least one of its sectors as it was (zeros) and is the last of all.

use std::path::Path;

use storage::disk::{BLOCK_BYTES, DiskError, File, IoBuffer};

use super::record::{HeaderBytes, RECORD_ALIGN, RecordHeader, SECTOR_BYTES};
use super::{OpenError, RECORD_BYTES_MAX};

const WINDOW_BYTES: usize = 1 << 20;

/// Reads records one by one.
pub(super) struct Scan<'a> {
    path: &'a Path,
    window: Window<'a>,
    position: u64,
    number: u64,
    write: u64,
    write_ended: bool,
}

/// Where the records end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEnd {
    /// The first byte after the last record.
    pub position: u64,
    /// Records read.
    pub record_count: u64,
    /// The number of the last write.
    pub write: u64,
    /// Was its last record read?
    pub write_ended: bool,
    /// The file's size.
    pub file_bytes: u64,
    /// Is there anything but zeros behind the records?
    pub leftover: bool,
}

impl<'a> Scan<'a> {
    /// A scan from the start of `file`, which is at `path`.
    pub(super) async fn new(path: &'a Path, file: &'a File) -> Result<Scan<'a>, DiskError> {
        let window = Window { file, file_bytes: file.size().await?, start: 0, buffer: None };
        Ok(Scan { path, window, position: 0, number: 0, write: 0, write_ended: true })
    }

    /// The next record's payload and position; `None` where the records end.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, OpenError> {
        let at = self.position;
        let header = match RecordHeader::read(self.window.bytes(at, RECORD_ALIGN).await?) {
            HeaderBytes::Zeros => return Ok(None),
            HeaderBytes::Garbage => return Err(self.corrupt(at, "neither a record nor zeros")),
            HeaderBytes::Header(header) => header,
        };
        let expected_write = if self.write_ended { self.write + 1 } else { self.write };
        if (header.number, header.write) != (self.number, expected_write) {
            let (number, write) = (self.number, expected_write);
            return Err(self.corrupt(at, format!("record {header:?} where record {number} of write {write} should be")));
        }
        let payload = self.window.bytes(at + RECORD_ALIGN as u64, header.payload_bytes).await?;
        if payload.len() < header.payload_bytes {
            // Its space was there, durably, before it was written.
            return Err(self.corrupt(at, "the file ends within the record"));
        }
        if crc32c::crc32c(payload) != header.payload_crc {
            return match self.is_torn(&header).await? {
                true => Ok(None),
                false => Err(self.corrupt(at, "the record's checksum does not match its bytes")),
            };
        }
        let payload = payload.to_vec();
        self.position += header.record_bytes();
        self.number += 1;
        (self.write, self.write_ended) = (header.write, header.ends_write);
        Ok(Some((at, payload)))
    }

    /// Looks at everything behind the records: it may only be the rest of a torn write.
    pub(super) async fn end(mut self) -> Result<LogEnd, OpenError> {
        let mut leftover = false;
        let mut position = self.position;
        // Of the write that was torn here at most; the next one would have waited for this one's flush.
        let torn_write = if self.write_ended { self.write + 1 } else { self.write };
        while position < self.window.file_bytes {
            let bytes = self.window.bytes(position, WINDOW_BYTES).await?;
            if bytes.is_empty() {
                break;
            }
            let later = bytes.chunks(RECORD_ALIGN).position(|head| match RecordHeader::read(head) {
                HeaderBytes::Header(header) => header.write > torn_write,
                HeaderBytes::Zeros | HeaderBytes::Garbage => false,
            });
            if let Some(chunk) = later {
                let found = position + (chunk * RECORD_ALIGN) as u64;
                return Err(
                    self.corrupt(self.position, format!("a flushed record is missing: at byte {found} is a later one"))
                );
            }
            leftover |= bytes.iter().any(|byte| *byte != 0);
            position += bytes.len() as u64;
        }
        Ok(LogEnd {
            position: self.position,
            record_count: self.number,
            write: self.write,
            write_ended: self.write_ended,
            file_bytes: self.window.file_bytes,
            leftover,
        })
    }

    /// Is a sector of the record, other than its header's, still as it was before the write: zeros?
    async fn is_torn(&mut self, header: &RecordHeader) -> Result<bool, DiskError> {
        let end = self.position + RECORD_ALIGN as u64 + header.payload_bytes as u64;
        let mut sector = (self.position / SECTOR_BYTES + 1) * SECTOR_BYTES;
        while sector < end {
            let bytes = usize::try_from(SECTOR_BYTES.min(end - sector)).expect("at most a sector");
            if self.window.bytes(sector, bytes).await?.iter().all(|byte| *byte == 0) {
                return Ok(true);
            }
            sector += SECTOR_BYTES;
        }
        Ok(false)
    }

    fn corrupt(&self, position: u64, reason: impl Into<String>) -> OpenError {
        OpenError::corrupt(self.path, position, reason)
    }
}

/// A part of a file, read at once.
struct Window<'a> {
    file: &'a File,
    file_bytes: u64,
    start: u64,
    buffer: Option<IoBuffer>,
}

impl Window<'_> {
    /// `bytes` from `position` on; fewer where the file ends.
    async fn bytes(&mut self, position: u64, bytes: usize) -> Result<&[u8], DiskError> {
        assert!(bytes <= RECORD_BYTES_MAX);
        let end = (position + bytes as u64).min(self.file_bytes);
        if position >= end {
            return Ok(&[]);
        }
        let held = self.buffer.as_ref().map_or(0, |buffer| buffer.len() as u64);
        if position < self.start || end > self.start + held {
            let block = BLOCK_BYTES as u64;
            self.start = position / block * block;
            let needed = usize::try_from(end - self.start).expect("bounded by a record").max(WINDOW_BYTES);
            self.buffer = Some(self.file.read_at(self.start, needed.next_multiple_of(BLOCK_BYTES)).await?);
        }
        let buffer: &[u8] = self.buffer.as_deref().unwrap_or(&[]);
        let at = |position: u64| usize::try_from(position - self.start).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[at(position)..at(end)])
    }
}
