//! Appending to the log: records into prewritten space, one write and one flush for all that wait.
//!
//! *Which core*: metadata; one task owns it.
//! *Invariants*: `position <= zeroed_end`; blocks in flight never change (each write has a buffer of its own); space is used
//! only after the zeros in it were flushed. After an error other than want of space nothing is written again.
//! *Not here*: what is in the records, when a new file begins.
//! *Why* prewritten zeros: a flush onto blocks that were written before commits no journal of the file system.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use storage::disk::{BLOCK_BYTES, Disk, DiskError, File, IoBuffer, OpenMode};

use super::RECORD_BYTES_MAX;
use super::record::{LogRecord, RECORD_ALIGN, RecordHeader, record_bytes};
use super::scan::LogEnd;

/// Space is prewritten in such steps.
pub const PREWRITE_BYTES: u64 = 256 << 10;
const BLOCK: u64 = BLOCK_BYTES as u64;

/// The log's file, open at its end.
pub struct Wal {
    disk: Disk,
    dir: PathBuf,
    file: File,
    position: u64,
    zeroed_end: u64,
    /// The bytes of the block that `position` lies in, up to it.
    block: Vec<u8>,
    next_number: u64,
    next_write: u64,
}

/// The log's path.
pub fn log_path(dir: &Path) -> PathBuf {
    dir.join("raft.log")
}

/// The path of the next log, before it is renamed.
pub fn new_log_path(dir: &Path) -> PathBuf {
    dir.join("raft.log.new")
}

impl Wal {
    /// Writes a new log with one record, durably, under the name of [`new_log_path`]; [`Wal::take_place`] makes it the log.
    ///
    /// # Errors
    /// The disk's. A file that is already there is removed first: it was never the log.
    pub async fn create(disk: &Disk, dir: &Path, first: &LogRecord) -> Result<Wal, DiskError> {
        assert!(first.start.is_some(), "a log's first record says whose it is");
        let path = new_log_path(dir);
        if disk.exists(&path).await? {
            disk.remove(&path).await?;
        }
        let file = disk.open(&path, OpenMode::CreateNew).await?;
        let mut wal = Wal {
            disk: disk.clone(),
            dir: dir.to_owned(),
            file,
            position: 0,
            zeroed_end: 0,
            block: Vec::new(),
            next_number: 0,
            next_write: 1,
        };
        let payload = first.to_payload();
        wal.reserve(record_bytes(payload.len())).await?;
        wal.append(&[payload]).await?;
        disk.sync_dir(dir).await?;
        Ok(wal)
    }

    /// Makes a created log the log, in place of the one before.
    ///
    /// # Errors
    /// The disk's; either log may then be the one that a restart finds.
    pub async fn take_place(&mut self) -> Result<(), DiskError> {
        let path = log_path(&self.dir);
        self.disk.rename(&new_log_path(&self.dir), &path).await?;
        self.disk.sync_dir(&self.dir).await?;
        // The same file, but errors name it as it is called from now on.
        self.file = self.disk.open(&path, OpenMode::Write).await?;
        Ok(())
    }

    /// The log as a scan found it: whatever follows its records is zeroed, and all of it flushed.
    ///
    /// # Errors
    /// The disk's.
    pub(super) async fn resume(disk: &Disk, dir: &Path, file: File, end: LogEnd) -> Result<Wal, DiskError> {
        let within = usize::try_from(end.position % BLOCK).expect("less than a block");
        let block_start = end.position - end.position % BLOCK;
        let block = match within {
            0 => Vec::new(),
            _ => file.read_at(block_start, BLOCK_BYTES).await?[..within].to_vec(),
        };
        let mut wal = Wal {
            disk: disk.clone(),
            dir: dir.to_owned(),
            file,
            position: end.position,
            zeroed_end: end.file_bytes / BLOCK * BLOCK,
            block,
            next_number: end.record_count,
            next_write: end.write + 1,
        };
        if end.leftover {
            wal.zero(block_start, end.file_bytes.next_multiple_of(BLOCK)).await?;
        }
        wal.file.flush().await?;
        if !end.write_ended {
            // A torn write's good records stay. This ends it, so that what follows it is not taken for its rest.
            wal.next_write = end.write;
            wal.reserve(record_bytes(0)).await?;
            wal.append(&[Vec::new()]).await?;
        }
        Ok(wal)
    }

    /// Bytes of records so far.
    pub fn bytes(&self) -> u64 {
        self.position
    }

    /// Sees to prewritten space for `bytes` more.
    ///
    /// # Errors
    /// The disk's. For want of space nothing has changed: it may be asked for again.
    pub async fn reserve(&mut self, bytes: u64) -> Result<(), DiskError> {
        let needed = (self.position + bytes).next_multiple_of(BLOCK);
        if needed <= self.zeroed_end {
            return Ok(());
        }
        let end = needed.next_multiple_of(PREWRITE_BYTES);
        self.zero(self.zeroed_end, end).await?;
        self.file.flush().await?;
        self.zeroed_end = end;
        Ok(())
    }

    /// Keeps some space ahead; to be called when nothing waits to be written.
    ///
    /// # Errors
    /// As [`Wal::reserve`].
    pub async fn prewrite(&mut self) -> Result<(), DiskError> {
        self.reserve(PREWRITE_BYTES / 2).await
    }

    /// Appends records in one write and flushes it. Space was reserved before.
    ///
    /// # Errors
    /// The disk's: then nobody knows what is there, and nothing may be appended any more.
    pub async fn append(&mut self, payloads: &[Vec<u8>]) -> Result<(), DiskError> {
        let bytes: u64 = payloads.iter().map(|payload| record_bytes(payload.len())).sum();
        assert!(self.position + bytes <= self.zeroed_end && !payloads.is_empty());
        let block_start = self.position - self.block.len() as u64;
        let end = usize::try_from(self.position + bytes - block_start).expect("a write fits into memory");
        let mut buffer = IoBuffer::zeroed(end.next_multiple_of(BLOCK_BYTES));
        buffer[..self.block.len()].copy_from_slice(&self.block);
        let mut at = self.block.len();
        for (slot, payload) in payloads.iter().enumerate() {
            assert!(payload.len() <= RECORD_BYTES_MAX);
            let number = self.next_number + slot as u64;
            let header = RecordHeader::of(payload, number, self.next_write, slot + 1 == payloads.len());
            buffer[at..at + RECORD_ALIGN].copy_from_slice(&header.to_bytes());
            buffer[at + RECORD_ALIGN..][..payload.len()].copy_from_slice(payload);
            at += usize::try_from(header.record_bytes()).expect("a record fits into memory");
        }
        assert_eq!(at, end);
        let block = buffer[end / BLOCK_BYTES * BLOCK_BYTES..end].to_vec();
        self.file.write_at(Rc::new(buffer), block_start).await?;
        self.file.flush().await?;
        self.position += bytes;
        self.block = block;
        self.next_number += payloads.len() as u64;
        self.next_write += 1;
        Ok(())
    }

    /// Writes zeros over `[from, end)`, from whole blocks on, but for what `block` holds.
    async fn zero(&self, from: u64, end: u64) -> Result<(), DiskError> {
        let mut at = from;
        while at < end {
            let bytes = usize::try_from((end - at).min(PREWRITE_BYTES)).expect("a step fits into memory");
            let mut zeros = IoBuffer::zeroed(bytes);
            if at + self.block.len() as u64 == self.position {
                zeros[..self.block.len()].copy_from_slice(&self.block);
            }
            self.file.write_at(Rc::new(zeros), at).await?;
            at += bytes as u64;
        }
        Ok(())
    }
}
