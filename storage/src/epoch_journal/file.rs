//! A journal's file: a header block, records, zeros to the end.
//!
//! *Which core*: the journal's.
//! *Invariants*: every block was written and flushed before the first record goes in, so that a record's flush commits nothing
//! else; the last block is rewritten with the same records before the new ones, so a torn write hurts none that was answered;
//! a file has its name only once it is whole.
//!
//! ```text
//! 0 "CHREPOCH"   8 format u32   12 number u32   16 generation u64   24 crc32c u32 (of 0..24)   zeros to 4096, then records
//! ```

use super::RECORDS_PER_WRITE_MAX;
use super::record::{EpochChange, RECORD_BYTES, decode, encode};
use crate::data_dir::TEMPORARY_SUFFIX;
use crate::data_dir::generations::FileNumber;
use crate::disk::{BLOCK_BYTES, Disk, DiskError, DiskErrorReason, File, IoBuffer, OpenMode};
use crate::ids::PartitionId;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const MAGIC: &[u8; 8] = b"CHREPOCH";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 28;
/// Bytes written at a time while a file is made.
const PIECE_BYTES: usize = 256 << 10;

/// What a file holds.
pub(super) struct Contents {
    pub(super) records: Vec<(PartitionId, EpochChange)>,
    /// What is wrong with it, beyond a torn last write.
    pub(super) damage: Option<String>,
}

/// The end of a file, where records are added.
pub(super) struct Tail {
    file: File,
    bytes: u64,
    /// Where the last, partly filled block begins.
    block_position: u64,
    /// What it holds so far.
    block: Vec<u8>,
}

impl Tail {
    pub(super) fn has_room(&self, record_count: usize) -> bool {
        self.block_position + (self.block.len() + record_count * RECORD_BYTES) as u64 <= self.bytes
    }
    /// Writes and flushes; on return the records are durable.
    pub(super) async fn append(&mut self, records: &[u8]) -> Result<(), DiskError> {
        let filled = self.block.len() + records.len();
        let mut buffer = IoBuffer::zeroed(filled.next_multiple_of(BLOCK_BYTES));
        buffer[..self.block.len()].copy_from_slice(&self.block);
        buffer[self.block.len()..filled].copy_from_slice(records);
        let buffer = Rc::new(buffer);
        self.file.write_at(Rc::clone(&buffer), self.block_position).await?;
        self.file.flush().await?;
        let whole_blocks = filled - filled % BLOCK_BYTES;
        self.block_position += whole_blocks as u64;
        self.block = buffer[whole_blocks..filled].to_vec();
        Ok(())
    }
}

/// Makes a file of at least `bytes` that begins with `records`, under a temporary name, and then names it, durably; one that
/// has the name is replaced.
pub(super) async fn create(
    disk: &Disk,
    path: &Path,
    number: FileNumber,
    bytes: u64,
    records: &[(PartitionId, EpochChange)],
) -> Result<Tail, DiskError> {
    let mut head = header(number);
    head.extend(encode(records));
    // As much room again as is filled, so that a full file is not replaced by one that is full at once.
    let needed = head.len() * 2 + RECORDS_PER_WRITE_MAX * RECORD_BYTES;
    let bytes = bytes.max(needed as u64).next_multiple_of(BLOCK_BYTES as u64);
    let temporary = PathBuf::from(format!("{}{TEMPORARY_SUFFIX}", path.display()));
    match disk.remove(&temporary).await {
        Ok(()) | Err(DiskError { reason: DiskErrorReason::NotFound, .. }) => {}
        Err(error) => return Err(error),
    }
    let file = disk.open(&temporary, OpenMode::CreateNew).await?;
    if let Err(error) = fill(&file, bytes, &head).await {
        // What it took of a disk that is full is wanted elsewhere.
        if error.reason == DiskErrorReason::NoSpace {
            disk.remove(&temporary).await?;
        }
        return Err(error);
    }
    // From here on the old file may have lost its name, so that not even a full disk leaves it in use.
    let final_error = |error: DiskError| DiskError { reason: DiskErrorReason::Io(error.reason.to_string()), ..error };
    disk.rename(&temporary, path).await.map_err(final_error)?;
    disk.sync_dir(path.parent().expect("a journal has a directory")).await.map_err(final_error)?;
    let block_start = head.len() - head.len() % BLOCK_BYTES;
    Ok(Tail { file, bytes, block_position: block_start as u64, block: head.split_off(block_start) })
}

/// Writes `head` and zeros up to `bytes`, and flushes.
async fn fill(file: &File, bytes: u64, head: &[u8]) -> Result<(), DiskError> {
    let mut position = 0;
    while position < bytes {
        let mut piece = IoBuffer::zeroed(PIECE_BYTES.min((bytes - position) as usize));
        let filled = head.get(position as usize..).unwrap_or_default();
        let filled = &filled[..filled.len().min(piece.len())];
        piece[..filled.len()].copy_from_slice(filled);
        let written = piece.len() as u64;
        file.write_at(Rc::new(piece), position).await?;
        position += written;
    }
    file.flush().await
}

fn header(number: FileNumber) -> Vec<u8> {
    let mut header = Vec::with_capacity(BLOCK_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_be_bytes());
    header.extend_from_slice(&number.number.to_be_bytes());
    header.extend_from_slice(&number.generation.to_be_bytes());
    header.extend_from_slice(&crc32c::crc32c(&header).to_be_bytes());
    header.resize(BLOCK_BYTES, 0);
    header
}

/// Reads a file's bytes: records up to the first place that holds none.
pub(super) fn read(bytes: &[u8]) -> Contents {
    let damaged = |what: &str| Contents { records: Vec::new(), damage: Some(what.to_owned()) };
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return damaged("it is too short") };
    let (checked, crc) = header.split_at(HEADER_BYTES - 4);
    if !checked.starts_with(MAGIC) || crc != crc32c::crc32c(checked).to_be_bytes() {
        return damaged("its header is damaged");
    }
    if checked[8..12] != FORMAT.to_be_bytes() {
        return damaged("it is of a format that this release does not know");
    }
    let places = bytes.get(BLOCK_BYTES..).unwrap_or_default().chunks_exact(RECORD_BYTES);
    let records: Vec<_> = places.clone().map_while(decode).collect();
    // The last write may have lost its first sectors and kept later ones; further on there is nothing to be.
    let beyond = places.skip(records.len() + RECORDS_PER_WRITE_MAX).any(|place| decode(place).is_some());
    let damage = beyond.then(|| format!("record {} is damaged, and later ones are not", records.len()));
    Contents { records, damage }
}
