//! A read from a segment file, every batch checked before it is served.
//!
//! *Which core*: the log's, beside it.
//! *Invariants*: length, magic, CRC, offset and leader epoch of every served batch are right; what is not is an error, never data.
//! *Not here*: which segment, and how far (read).

use std::cell::Cell;
use std::ops::Range;

use futures_util::future::{join_all, try_join_all};
use smallvec::SmallVec;

use super::cache::{PAGE_BYTES, Page, ReadCache, Source};
use super::read::{Cursor, ReadDone, ReadError};
use super::sparse::Place;
use crate::batch::{BatchHeader, CRC_START, HEADER_BYTES};
use crate::disk::DiskErrorReason;
use crate::ids::LeaderEpoch;

/// What one read brings at most, but for a single batch that is larger.
const READ_BYTES_MAX: usize = 8 << 20;
/// What is read ahead at most.
const READ_AHEAD_BYTES_MAX: u64 = 2 << 20;

/// Where a read begins to look: at a batch at or before the one that is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Beginning,
    At {
        base_offset: i64,
        position: u64,
    },
    Indexed(Place),
    /// At what the segment's index files say.
    IndexFile,
}

/// A read of one segment.
pub(super) struct DiskRead {
    pub(super) cache: ReadCache,
    /// Below its end there are flushed batches, and nothing else.
    pub(super) source: Source,
    pub(super) start: Start,
    pub(super) from_offset: i64,
    pub(super) limit_end: i64,
    pub(super) bytes_max: usize,
    pub(super) at_least_one: bool,
    /// The leader epochs from the start on, as far as they are known.
    pub(super) epochs: SmallVec<[(LeaderEpoch, i64); 2]>,
    /// Were the index files missing or wrong?
    pub(super) wants_index: Cell<bool>,
}

/// What a reader that goes through the log will want next, to be read while it is busy with what it has.
#[derive(Clone)]
pub struct ReadAhead {
    cache: ReadCache,
    source: Source,
    pages: Range<u64>,
}

impl ReadAhead {
    /// As much again as the reader wanted this time, from `position` on, as far as it is not there and the cache has room for it.
    fn after(read: &DiskRead, position: u64) -> Option<ReadAhead> {
        let end = (position + (read.bytes_max as u64).min(READ_AHEAD_BYTES_MAX)).min(read.source.end);
        let mut pages = position / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
        while !pages.is_empty() && read.cache.holds(&read.source, pages.start) {
            pages.start += 1;
        }
        let (cache, source) = (read.cache.clone(), read.source.clone());
        let is_worth_it = !pages.is_empty() && cache.has_room_ahead();
        is_worth_it.then_some(ReadAhead { cache, source, pages })
    }
    /// Reads into the cache.
    pub async fn execute(self) {
        let pages = self.pages.clone().map(|index| self.cache.read_ahead(&self.source, index));
        join_all(pages).await;
    }
}

impl std::fmt::Debug for ReadAhead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadAhead({}, {:?})", self.source.file.path().display(), self.pages)
    }
}

/// A batch that a search found.
pub(super) struct Found {
    pub(super) header: BatchHeader,
    pub(super) bytes: Vec<u8>,
}

/// The pages that a read has in hand.
struct Pages {
    first: u64,
    pages: Vec<Page>,
}

impl DiskRead {
    pub(super) async fn execute(self) -> Result<ReadDone, ReadError> {
        let bytes_max = self.bytes_max.min(READ_BYTES_MAX);
        let mut pages = Pages { first: 0, pages: Vec::new() };
        let (mut position, mut expected) = self.find_start(&mut pages).await?;
        let mut records = Vec::new();
        while expected < self.limit_end {
            let header = self.header(&mut pages, position, expected).await?;
            if header.last_offset() >= self.from_offset {
                let fits = records.len() + header.batch_bytes <= bytes_max;
                if header.end_offset() > self.limit_end {
                    if records.is_empty() {
                        // Is it really so long, or damaged? Else its reader would wait for ever.
                        self.take(&mut pages, position, &header, &mut Vec::new()).await?;
                    }
                    break;
                }
                if !(fits || self.at_least_one && records.is_empty()) {
                    break;
                }
                if records.is_empty() {
                    let wanted = bytes_max.max(header.batch_bytes) as u64;
                    self.load(&mut pages, position, wanted.min(self.source.end - position)).await?;
                    records.reserve_exact(wanted.min(self.source.end - position) as usize);
                }
                self.take(&mut pages, position, &header, &mut records).await?;
            }
            (position, expected) = (position + header.batch_bytes as u64, header.end_offset());
        }
        let next_offset = expected.max(self.from_offset);
        let cursor = (!records.is_empty()).then_some(Cursor { key: self.source.key, offset: expected, position });
        let wants_index = self.wants_index.get().then_some(self.source.key);
        let is_sequential = matches!(self.start, Start::At { .. }) && cursor.is_some();
        let ahead = if is_sequential { ReadAhead::after(&self, position) } else { None };
        Ok(ReadDone { records: records.into(), next_offset, cursor, wants_index, ahead })
    }

    /// The first batch, from the one that holds the offset on, whose header is `wanted`. Every one on the way is checked whole.
    pub(super) async fn find(&self, wanted: impl Fn(&BatchHeader) -> bool) -> Result<Option<Found>, ReadError> {
        let mut pages = Pages { first: 0, pages: Vec::new() };
        let (mut position, mut expected) = self.find_start(&mut pages).await?;
        let mut bytes = Vec::new();
        while expected < self.limit_end {
            let header = self.header(&mut pages, position, expected).await?;
            if header.end_offset() > self.limit_end {
                break;
            }
            bytes.clear();
            self.take(&mut pages, position, &header, &mut bytes).await?;
            if header.last_offset() >= self.from_offset && wanted(&header) {
                return Ok(Some(Found { header, bytes }));
            }
            (position, expected) = (position + header.batch_bytes as u64, header.end_offset());
        }
        Ok(None)
    }
    /// The first batch with the largest timestamp, if that is above `timestamp`.
    pub(super) async fn find_newest(&self, timestamp: i64) -> Result<Option<Found>, ReadError> {
        let newest = Cell::new(timestamp);
        let all = self.find(|header| {
            newest.set(newest.get().max(header.max_timestamp));
            false
        });
        all.await?;
        if newest.get() <= timestamp {
            return Ok(None);
        }
        self.find(|header| header.max_timestamp == newest.get()).await
    }
    /// Position and base offset of the batch to begin with.
    async fn find_start(&self, pages: &mut Pages) -> Result<(u64, i64), ReadError> {
        match self.start {
            Start::Beginning => Ok((0, self.source.file.base_offset.get())),
            Start::At { base_offset, position } => Ok((position, base_offset)),
            Start::Indexed(place) => {
                let header = self.parse(pages, place.position).await?;
                if header.last_offset() != place.last_offset {
                    let (found, wanted) = (header.last_offset(), place.last_offset);
                    let reason = format!("a batch that ends with offset {found}, its index says {wanted}");
                    return Err(self.corrupt(place.position, reason));
                }
                Ok((place.position, header.base_offset))
            }
            Start::IndexFile => {
                let index = self.cache.index(&self.source).await?;
                let Some(place) = index.as_ref().and_then(|index| index.lookup(self.from_offset)) else {
                    self.wants_index.set(index.is_none());
                    return Ok((0, self.source.file.base_offset.get()));
                };
                match self.parse(pages, place.position).await {
                    Ok(header) if header.last_offset() == place.last_offset => Ok((place.position, header.base_offset)),
                    // The index is wrong, or the batch is: from the beginning it will be seen which.
                    Ok(_) | Err(ReadError::Corrupt { .. }) => {
                        self.cache.forget_index(&self.source);
                        self.wants_index.set(true);
                        pages.clear();
                        Ok((0, self.source.file.base_offset.get()))
                    }
                    Err(error) => Err(error),
                }
            }
        }
    }
    async fn parse(&self, pages: &mut Pages, position: u64) -> Result<BatchHeader, ReadError> {
        let left = self.source.end.saturating_sub(position);
        if left < HEADER_BYTES as u64 {
            return Err(self.corrupt(position, format!("{left} bytes are left where a batch should begin")));
        }
        self.load(pages, position, HEADER_BYTES as u64).await?;
        let (mut head, mut have) = ([0; HEADER_BYTES], 0);
        pages.copy(position, HEADER_BYTES, |piece| {
            head[have..have + piece.len()].copy_from_slice(piece);
            have += piece.len();
        });
        BatchHeader::parse(&head).map_err(|error| self.corrupt(position, error.to_string()))
    }
    /// The header at `position`, where the batch at offset `expected` must begin.
    async fn header(&self, pages: &mut Pages, position: u64, expected: i64) -> Result<BatchHeader, ReadError> {
        let header = self.parse(pages, position).await?;
        let left = self.source.end - position;
        let known = self.epochs.iter().rev().find(|(_, start)| *start <= header.base_offset);
        let reason = if header.base_offset != expected {
            format!("a batch at offset {}, {expected} comes next", header.base_offset)
        } else if header.last_offset_delta < 0 || header.batch_bytes as u64 > left {
            format!("a batch of {} bytes with a last offset delta of {}", header.batch_bytes, header.last_offset_delta)
        } else if let Some((epoch, _)) = known.filter(|(epoch, _)| *epoch != header.leader_epoch) {
            format!("leader epoch {:?}, but {epoch:?} wrote offset {expected}", header.leader_epoch)
        } else {
            return Ok(header);
        };
        Err(self.corrupt(position, reason))
    }

    /// Appends the batch at `position` to `records`, if its CRC is right.
    async fn take(
        &self,
        pages: &mut Pages,
        position: u64,
        header: &BatchHeader,
        records: &mut Vec<u8>,
    ) -> Result<(), ReadError> {
        self.load(pages, position, header.batch_bytes as u64).await?;
        let start = records.len();
        pages.copy(position, header.batch_bytes, |piece| records.extend_from_slice(piece));
        let crc = crc32c::crc32c(&records[start + CRC_START..]);
        if crc != header.crc {
            let reason = format!("the batch's CRC-32C is {crc:#010x}, its header says {:#010x}", header.crc);
            return Err(self.corrupt(position, reason));
        }
        Ok(())
    }

    /// Loads the pages of `bytes` from `position`, all at once, those before them aside.
    async fn load(&self, pages: &mut Pages, position: u64, bytes: u64) -> Result<(), ReadError> {
        let last = (position + bytes - 1) / PAGE_BYTES;
        pages.forget_before(position / PAGE_BYTES);
        let missing = pages.end()..last + 1;
        let loads = missing.map(|index| self.cache.page(&self.source, index));
        let loaded = try_join_all(loads).await.map_err(|error| match error.reason {
            // Removed by retention since the plan was made.
            DiskErrorReason::NotFound => ReadError::OutOfRange,
            DiskErrorReason::NoSpace | DiskErrorReason::Io(_) => ReadError::Disk(error),
        })?;
        pages.pages.extend(loaded);
        if pages.end_position() < position + bytes {
            return Err(self.corrupt(pages.end_position(), "the file is shorter than it was".to_owned()));
        }
        Ok(())
    }

    fn corrupt(&self, position: u64, reason: String) -> ReadError {
        // The next read shall see the disk again.
        self.cache.forget(&self.source, position);
        ReadError::Corrupt { path: self.source.file.path(), position, reason }
    }
}

impl Pages {
    fn clear(&mut self) {
        *self = Pages { first: 0, pages: Vec::new() };
    }
    fn end(&self) -> u64 {
        self.first + self.pages.len() as u64
    }
    fn end_position(&self) -> u64 {
        let last = self.pages.last().map_or(0, |page| page.bytes().len() as u64);
        (self.end() - self.pages.len().min(1) as u64) * PAGE_BYTES + last
    }
    fn forget_before(&mut self, index: u64) {
        let count = index.saturating_sub(self.first).min(self.pages.len() as u64);
        self.pages.drain(..count as usize);
        self.first = if self.pages.is_empty() { index.max(self.first) } else { self.first + count };
    }
    /// Hands out `bytes` from `position`, piece by piece; they are loaded.
    fn copy(&self, position: u64, bytes: usize, mut to: impl FnMut(&[u8])) {
        let (mut at, end) = (position, position + bytes as u64);
        while at < end {
            let (page, index) = (at / PAGE_BYTES, (at % PAGE_BYTES) as usize);
            let whole = self.pages[(page - self.first) as usize].bytes();
            let piece = &whole[index..whole.len().min(index + (end - at) as usize)];
            to(piece);
            at += piece.len() as u64;
        }
    }
}
