//! The tail in memory: what was appended and is not on disk yet, and the newest of what is.
//!
//! *Which core*: the log's.
//! *Invariants*: chunks hold whole batches, ascending and without a gap, up to the log's end; only the last may still grow;
//! memory that was handed to a write never changes again: the next chunk begins with a copy of its partial last block.
//! *Not here*: files and flushing (flush), what is older (read).
//! *Why* one buffer for all: what an append copies once is written, sent and served from the same memory.

use std::collections::VecDeque;
use std::rc::Rc;

use super::file::SegmentFile;
use crate::batch::{BatchHeader, HEADER_BYTES, LENGTH_PREFIX_BYTES};
use crate::disk::{BLOCK_BYTES, IoBuffer};

/// The most that one flush writes, unless a single batch is larger. More in one write would only make everybody wait longer.
pub(super) const FLUSH_BYTES_MAX: usize = (2 << 20) + (64 << 10);
/// A batch at least so far behind the last mark gets one.
const MARK_INTERVAL_BYTES: usize = 4096;

enum Memory {
    Open(IoBuffer),
    Sealed(Rc<IoBuffer>),
    /// On its way from open to sealed.
    Moving,
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Memory::Open(buffer) => buffer,
            Memory::Sealed(buffer) => buffer,
            Memory::Moving => &[],
        }
    }
}

/// A stretch of one segment in memory.
pub(super) struct Chunk {
    pub(super) file: Rc<SegmentFile>,
    /// Position in the file of the first byte; aligned.
    pub(super) start: u64,
    memory: Memory,
    /// Index of the first whole batch; before it lies the end of an older one, to complete the block.
    first: usize,
    used: usize,
    pub(super) base_offset: i64,
    pub(super) end_offset: i64,
    /// Some of the batches: (base offset, index).
    marks: Vec<(i64, usize)>,
}

impl Chunk {
    /// The end of a log as it was read from disk: `block` holds the last, partial block, up to `end_position`.
    pub(super) fn partial(file: &Rc<SegmentFile>, mut block: IoBuffer, end_position: u64, end_offset: i64) -> Chunk {
        let used = (end_position % BLOCK_BYTES as u64) as usize;
        block[used..].fill(0);
        Chunk {
            file: Rc::clone(file),
            start: end_position - used as u64,
            memory: Memory::Sealed(Rc::new(block)),
            first: used,
            used,
            base_offset: end_offset,
            end_offset,
            marks: Vec::new(),
        }
    }
    /// Position in the file after the last byte.
    pub(super) fn end_position(&self) -> u64 {
        self.start + self.used as u64
    }
    /// The memory to be written, whole blocks: from now on it never changes.
    fn seal(&mut self) -> Rc<IoBuffer> {
        let sealed = match std::mem::replace(&mut self.memory, Memory::Moving) {
            Memory::Open(buffer) => Rc::new(fitted(buffer, self.used.next_multiple_of(BLOCK_BYTES))),
            Memory::Sealed(buffer) => buffer,
            Memory::Moving => unreachable!("nothing else moves it"),
        };
        self.memory = Memory::Sealed(Rc::clone(&sealed));
        sealed
    }
    fn is_open(&self) -> bool {
        matches!(self.memory, Memory::Open(_))
    }
    fn capacity(&self) -> usize {
        self.memory.bytes().len()
    }
    fn holds_room_for(&self, bytes: usize) -> bool {
        self.used + bytes <= FLUSH_BYTES_MAX || self.base_offset == self.end_offset
    }
    /// The index of the batch that holds `offset`, which is within the chunk.
    fn find(&self, offset: i64) -> usize {
        let after = self.marks.partition_point(|(base_offset, _)| *base_offset <= offset);
        let mut index = self.marks[after - 1].1;
        while last_offset(&self.memory.bytes()[index..]) < offset {
            index += batch_bytes(&self.memory.bytes()[index..]);
        }
        index
    }
    /// The end of the longest run of whole batches from `index` below `limit_end` within `bytes_max`, and its end offset.
    fn run(&self, index: usize, limit_end: i64, bytes_max: usize, at_least_one: bool) -> (usize, i64) {
        let bytes = self.memory.bytes();
        let (mut at, mut end_offset) = (index, base_offset(&bytes[index..]));
        // Marks skip most of the walk.
        let within =
            |(offset, mark): &(i64, usize)| *mark <= index || (*offset <= limit_end && *mark - index <= bytes_max);
        if let Some((offset, mark)) = self.marks[..self.marks.partition_point(within)].last()
            && *mark > index
        {
            (at, end_offset) = (*mark, *offset);
        }
        while at < self.used {
            let (next, last) = (at + batch_bytes(&bytes[at..]), last_offset(&bytes[at..]));
            let fits = next - index <= bytes_max || (at_least_one && at == index);
            if last >= limit_end || !fits {
                break;
            }
            (at, end_offset) = (next, last + 1);
        }
        (at, end_offset)
    }
}

/// The chunks of one log.
pub(super) struct Tail {
    chunks: VecDeque<Chunk>,
    /// What they take, in bytes.
    bytes: usize,
    /// How large the last written chunk was: the next one is likely to need as much.
    hint_bytes: usize,
}

impl Tail {
    pub(super) fn new(last: Option<Chunk>) -> Tail {
        let bytes = last.iter().map(Chunk::capacity).sum();
        Tail { chunks: last.into_iter().collect(), bytes, hint_bytes: BLOCK_BYTES }
    }

    /// First offset that is in memory; the log's end if none is.
    pub(super) fn start_offset(&self, log_end_offset: i64) -> i64 {
        self.chunks.front().map_or(log_end_offset, |chunk| chunk.base_offset)
    }
    /// Copies a batch to the end of the log, which is at `end_position` of `file`. Returns the copy, to be given its place.
    pub(super) fn push(
        &mut self,
        file: &Rc<SegmentFile>,
        end_position: u64,
        header: &BatchHeader,
        batch: &[u8],
    ) -> &mut [u8] {
        let fits = self
            .chunks
            .back()
            .is_some_and(|last| last.is_open() && Rc::ptr_eq(&last.file, file) && last.holds_room_for(batch.len()));
        if !fits {
            self.begin_chunk(file, end_position, header.base_offset, batch.len());
        }
        let last = self.chunks.back_mut().expect("there is an open chunk");
        assert_eq!(last.end_position(), end_position, "the tail ends elsewhere than its segment");
        let (at, end) = (last.used, last.used + batch.len());
        let Memory::Open(buffer) = &mut last.memory else { unreachable!("the last chunk is open") };
        let capacity = buffer.len();
        if end > capacity {
            let mut larger = IoBuffer::zeroed(capacity_for(end, 2 * capacity));
            larger[..at].copy_from_slice(&buffer[..at]);
            self.bytes += larger.len() - capacity;
            *buffer = larger;
        }
        buffer[at..end].copy_from_slice(batch);
        last.used = end;
        last.end_offset = header.end_offset();
        if last.marks.last().is_none_or(|(_, mark)| at - mark >= MARK_INTERVAL_BYTES) {
            last.marks.push((header.base_offset, at));
        }
        &mut buffer[at..end]
    }
    /// An open chunk at the end of the log. It takes in the batches of the last one if all of those lie in its partial block.
    fn begin_chunk(&mut self, file: &Rc<SegmentFile>, end_position: u64, end_offset: i64, room_bytes: usize) {
        let partial = (end_position % BLOCK_BYTES as u64) as usize;
        let start = end_position - partial as u64;
        let mut buffer = IoBuffer::zeroed(capacity_for(partial + room_bytes, self.hint_bytes));
        let (mut first, mut base_offset, mut marks) = (partial, end_offset, Vec::new());
        if partial > 0 {
            let last = self.chunks.back_mut().expect("the partial last block is in memory");
            assert_eq!(last.end_position(), end_position, "the tail ends elsewhere than its segment");
            let shift = (start - last.start) as usize;
            buffer[..partial].copy_from_slice(&last.memory.bytes()[shift..last.used]);
            if last.first >= shift {
                (first, base_offset) = (last.first - shift, last.base_offset);
                marks.extend(last.marks.iter().map(|(offset, at)| (*offset, at - shift)));
                let taken = self.chunks.pop_back().expect("it is there");
                self.bytes -= taken.capacity();
            }
        }
        if let Some(last) = self.chunks.len().checked_sub(1) {
            self.seal(last);
        }
        self.bytes += buffer.len();
        let (memory, file) = (Memory::Open(buffer), Rc::clone(file));
        self.chunks.push_back(Chunk { file, start, memory, first, used: partial, base_offset, end_offset, marks });
    }

    /// The oldest chunk with something beyond `flushed_end_offset`, and its memory: from now on it never changes.
    pub(super) fn next_to_flush(&mut self, flushed_end_offset: i64) -> Option<(&Chunk, Rc<IoBuffer>)> {
        let index = self.chunks.partition_point(|chunk| chunk.end_offset <= flushed_end_offset);
        if index == self.chunks.len() {
            return None;
        }
        let memory = self.seal(index);
        self.hint_bytes = memory.len().min(FLUSH_BYTES_MAX);
        Some((&self.chunks[index], memory))
    }
    fn seal(&mut self, index: usize) -> Rc<IoBuffer> {
        let chunk = &mut self.chunks[index];
        self.bytes -= chunk.capacity();
        let memory = chunk.seal();
        self.bytes += chunk.capacity();
        memory
    }

    /// Lets go of the oldest flushed chunks beyond `bytes_max`; never of the last, whose partial block the next one needs.
    pub(super) fn evict(&mut self, flushed_end_offset: i64, bytes_max: usize) {
        while self.bytes > bytes_max && self.chunks.len() > 1 {
            let first = self.chunks.front().expect("there is more than one");
            if first.end_offset > flushed_end_offset {
                return;
            }
            self.bytes -= first.capacity();
            self.chunks.pop_front();
        }
    }
    /// Keeps the partial last block only, of a log that is flushed to its end.
    pub(super) fn shrink(&mut self) {
        let Some(mut last) = self.chunks.pop_back() else { return };
        self.chunks = VecDeque::new();
        let (end_position, shift) = (last.end_position(), last.used - last.used % BLOCK_BYTES);
        if end_position.is_multiple_of(BLOCK_BYTES as u64) {
            self.bytes = 0;
            return;
        }
        if last.capacity() > BLOCK_BYTES {
            let mut block = IoBuffer::zeroed(BLOCK_BYTES);
            block[..last.used - shift].copy_from_slice(&last.memory.bytes()[shift..last.used]);
            last = Chunk::partial(&last.file, block, end_position, last.end_offset);
        }
        self.bytes = last.capacity();
        self.hint_bytes = BLOCK_BYTES;
        self.chunks.push_back(last);
    }
    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn counted_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::capacity).sum()
    }

    /// Appends to `out` whole batches from the one that holds `offset` (which is in memory) on, below `limit_end`, at most
    /// `bytes_max` of them, but the first one whatever its size if `at_least_one`. Returns where the next read goes on.
    pub(super) fn read(
        &self,
        offset: i64,
        limit_end: i64,
        bytes_max: usize,
        at_least_one: bool,
        out: &mut Vec<u8>,
    ) -> i64 {
        let (mut next_offset, mut left) = (offset, bytes_max);
        let mut is_first = true;
        let mut chunk_index = self.chunks.partition_point(|chunk| chunk.end_offset <= offset);
        while let Some(chunk) = self.chunks.get(chunk_index).filter(|chunk| chunk.base_offset < limit_end) {
            let start = chunk.find(next_offset.max(chunk.base_offset));
            let (end, end_offset) = chunk.run(start, limit_end, left, at_least_one && is_first);
            out.extend_from_slice(&chunk.memory.bytes()[start..end]);
            (left, is_first) = (left.saturating_sub(end - start), is_first && end == start);
            next_offset = next_offset.max(end_offset);
            if end < chunk.used {
                break;
            }
            chunk_index += 1;
        }
        next_offset
    }
    /// Bytes of the batches from the one that holds `offset` on, below `limit_end`.
    pub(super) fn bytes_between(&self, offset: i64, limit_end: i64) -> usize {
        let mut bytes = 0;
        let first = self.chunks.partition_point(|chunk| chunk.end_offset <= offset);
        for chunk in self.chunks.range(first..).take_while(|chunk| chunk.base_offset < limit_end) {
            let start = chunk.find(offset.max(chunk.base_offset));
            bytes += chunk.run(start, limit_end, usize::MAX, false).0 - start;
        }
        bytes
    }
}

/// The first `bytes` of a buffer. What trimming hides stays allocated, so memory that would be mostly hidden is copied instead.
fn fitted(mut buffer: IoBuffer, bytes: usize) -> IoBuffer {
    if 2 * bytes >= buffer.len() {
        buffer.trim(bytes);
        return buffer;
    }
    let mut copy = IoBuffer::zeroed(bytes);
    copy.copy_from_slice(&buffer[..bytes]);
    copy
}

/// Room for `needed` bytes, or `wanted` if that is more and still one flush.
fn capacity_for(needed: usize, wanted: usize) -> usize {
    needed.max(wanted.min(FLUSH_BYTES_MAX)).next_multiple_of(BLOCK_BYTES)
}

fn field<const N: usize>(batch: &[u8], at: usize) -> [u8; N] {
    assert!(batch.len() >= HEADER_BYTES, "a whole batch");
    let mut out = [0; N];
    out.copy_from_slice(&batch[at..at + N]);
    out
}

fn base_offset(batch: &[u8]) -> i64 {
    i64::from_be_bytes(field(batch, 0))
}

fn last_offset(batch: &[u8]) -> i64 {
    base_offset(batch) + i64::from(i32::from_be_bytes(field(batch, 23)))
}

fn batch_bytes(batch: &[u8]) -> usize {
    i32::from_be_bytes(field(batch, 8)) as usize + LENGTH_PREFIX_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, SimDisk, SimDiskOptions};
    use crate::log::file::Place;
    use crate::log::tests::rig::batch;
    use std::path::Path;

    /// A tail, its segment, and where it ends.
    struct Rig {
        tail: Tail,
        file: Rc<SegmentFile>,
        end_position: u64,
        end_offset: i64,
    }

    impl Rig {
        fn new() -> Rig {
            let disk = Disk::Sim(SimDisk::new(1, SimDiskOptions::default()));
            let file = SegmentFile::new(&disk, &Rc::from(Path::new("/log")), 1, 0, Place::Missing);
            Rig { tail: Tail::new(None), file, end_position: 0, end_offset: 0 }
        }
        fn push(&mut self, bytes: usize) {
            let mut bytes = batch(1, bytes, 5, 7);
            let header = BatchHeader::parse(&bytes).expect("valid");
            let header = BatchHeader { base_offset: self.end_offset, ..header };
            crate::batch::assign(&mut bytes, self.end_offset, header.leader_epoch);
            self.tail.push(&self.file, self.end_position, &header, &bytes);
            (self.end_position, self.end_offset) = (self.end_position + bytes.len() as u64, self.end_offset + 1);
            assert_eq!(self.tail.bytes(), self.tail.counted_bytes());
        }
        /// Writes everything; returns the sizes of the writes.
        fn flush(&mut self) -> Vec<usize> {
            let (mut flushed, mut writes) = (self.tail.start_offset(0), Vec::new());
            while let Some((chunk, memory)) = self.tail.next_to_flush(flushed) {
                writes.push(memory.len());
                flushed = chunk.end_offset;
            }
            assert_eq!(self.tail.bytes(), self.tail.counted_bytes());
            writes
        }
    }

    #[test]
    fn what_gathers_beyond_one_write_is_counted_for_what_it_takes() {
        let mut rig = Rig::new();
        for _ in 0..5 {
            for _ in 0..50 {
                rig.push(100_001);
            }
            rig.flush();
        }
        rig.tail.evict(rig.end_offset, 4 << 20);
        assert!(rig.tail.bytes() > 2 << 20, "what may stay does: {}", rig.tail.bytes());
    }

    #[test]
    fn a_small_write_after_a_large_one_keeps_no_large_memory() {
        let mut rig = Rig::new();
        for _ in 0..20 {
            rig.push(100_000);
        }
        rig.flush();
        rig.push(300);
        let (_, memory) = rig.tail.next_to_flush(rig.end_offset - 1).expect("it is not flushed");
        assert_eq!(memory.len(), BLOCK_BYTES);
        assert!(memory.allocated_bytes() <= 2 * BLOCK_BYTES);
    }
}
