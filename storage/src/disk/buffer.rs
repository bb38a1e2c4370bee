//! Block-aligned memory, and a short list of it to take from, so that a flush neither maps nor unmaps pages.
//!
//! *Which core*: any; a buffer never leaves its thread.
//! *Invariants*: a buffer made here starts as zeros, for its padding reaches the disk; memory that a write still holds is
//! never changed (the write holds a clone of the `Rc<IoBuffer>`, so nobody has it mutably).
//! *Not here*: buffers registered with the ring; they gave no gain and are counted thrice against the memlock limit.

use super::BLOCK_BYTES;
use super::reactor::{DmaBuffer, ReadResult, allocate_dma_buffer_global};
use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// Buffers beyond this are not kept: they are rare, and cost more to zero than to map.
const KEPT_BUFFER_BYTES_MAX: usize = 4 << 20;
/// What a thread keeps in all.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Block-aligned memory that the disk can write from and read into.
pub struct IoBuffer {
    memory: Memory,
}

enum Memory {
    /// Ours, with the bytes it was allocated with (trimming only hides the rest).
    Owned(Rc<DmaBuffer>, usize),
    /// What a read brought; copied when somebody wants to change it.
    Read(ReadResult),
}

impl IoBuffer {
    /// `bytes` of zeros; `bytes` is a multiple of [`BLOCK_BYTES`].
    pub fn zeroed(bytes: usize) -> IoBuffer {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "a buffer of {bytes} bytes");
        let (mut rc, capacity) = KEPT
            .with_borrow_mut(|kept| kept.take(bytes))
            .unwrap_or_else(|| (Rc::new(allocate_dma_buffer_global(bytes)), bytes));
        exclusive(&mut rc).as_bytes_mut().fill(0);
        IoBuffer { memory: Memory::Owned(rc, capacity) }
    }
    /// Cuts the buffer to its first `bytes`, for good; `bytes` is a multiple of [`BLOCK_BYTES`].
    pub fn trim(&mut self, bytes: usize) {
        assert!(bytes.is_multiple_of(BLOCK_BYTES) && bytes <= self.len(), "{} bytes trimmed to {bytes}", self.len());
        self.cut(bytes);
    }
    /// The first `bytes`, any number: what a read that ends within a block brings.
    pub(super) fn cut(&mut self, bytes: usize) {
        match &mut self.memory {
            Memory::Owned(rc, _) => exclusive(rc).trim_to_size(bytes),
            Memory::Read(result) => {
                *result = ReadResult::slice(result, 0, bytes).expect("bytes is within the result");
            }
        }
    }
    /// What was allocated for it: trimming hides memory, and does not free it.
    #[cfg(test)]
    pub(crate) fn allocated_bytes(&self) -> usize {
        match &self.memory {
            Memory::Owned(_, capacity) => *capacity,
            Memory::Read(result) => result.len(),
        }
    }
    /// What a read brought.
    pub(super) fn from_read(result: ReadResult) -> IoBuffer {
        IoBuffer { memory: Memory::Read(result) }
    }
    /// The memory, shared, for a write.
    pub(super) fn shared(&self) -> Rc<DmaBuffer> {
        match &self.memory {
            Memory::Owned(rc, _) => Rc::clone(rc),
            Memory::Read(result) => match copied(result).memory {
                Memory::Owned(ref rc, _) => Rc::clone(rc),
                Memory::Read(_) => unreachable!("a copy is owned"),
            },
        }
    }
}

/// A copy of `bytes` (not empty) in memory of its own, padded with zeros to whole blocks, trimmed to its length.
fn copied(bytes: &[u8]) -> IoBuffer {
    let mut copy = IoBuffer::zeroed(bytes.len().next_multiple_of(BLOCK_BYTES));
    let Memory::Owned(rc, _) = &mut copy.memory else { unreachable!("zeroed memory is owned") };
    let memory = exclusive(rc);
    memory.trim_to_size(bytes.len());
    memory.as_bytes_mut().copy_from_slice(bytes);
    copy
}

fn exclusive(rc: &mut Rc<DmaBuffer>) -> &mut DmaBuffer {
    Rc::get_mut(rc).expect("memory in flight is held by the write's Rc<IoBuffer>, which nobody else has mutably")
}

impl Deref for IoBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &self.memory {
            Memory::Owned(rc, _) => rc.as_bytes(),
            Memory::Read(result) => result,
        }
    }
}

impl DerefMut for IoBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        if let Memory::Read(result) = &self.memory {
            if result.is_empty() {
                return &mut [];
            }
            *self = copied(result);
        }
        match &mut self.memory {
            Memory::Owned(rc, _) => exclusive(rc).as_bytes_mut(),
            Memory::Read(_) => unreachable!("it was just copied"),
        }
    }
}

impl Drop for IoBuffer {
    fn drop(&mut self) {
        if let Memory::Owned(rc, capacity) = &self.memory
            && Rc::strong_count(rc) == 1
        {
            // The thread may be ending, and its list gone: then the memory is just freed.
            let _ = KEPT.try_with(|kept| kept.borrow_mut().put(Rc::clone(rc), *capacity));
        }
    }
}

thread_local!(static KEPT: RefCell<Kept> = RefCell::new(Kept::default()));

/// Memory to be used again, by its (trimmed) size in blocks.
#[derive(Default)]
struct Kept {
    by_blocks: Vec<Vec<(Rc<DmaBuffer>, usize)>>,
    bytes: usize,
}

impl Kept {
    fn take(&mut self, bytes: usize) -> Option<(Rc<DmaBuffer>, usize)> {
        let (rc, capacity) = self.by_blocks.get_mut(bytes / BLOCK_BYTES)?.pop()?;
        self.bytes -= capacity;
        Some((rc, capacity))
    }
    fn put(&mut self, rc: Rc<DmaBuffer>, capacity: usize) {
        let bytes = rc.len();
        // What trimming hides is lost until the memory is freed, so memory that is mostly hidden is not kept.
        let worth_it = bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES) && capacity <= bytes * 2;
        if !worth_it || capacity > KEPT_BUFFER_BYTES_MAX || self.bytes + capacity > KEPT_BYTES_MAX {
            return;
        }
        self.by_blocks.resize_with(KEPT_BUFFER_BYTES_MAX / BLOCK_BYTES + 1, Vec::new);
        self.by_blocks[bytes / BLOCK_BYTES].push((rc, capacity));
        self.bytes += capacity;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_buffer_comes_back_as_zeros() {
        let mut buffer = IoBuffer::zeroed(2 * BLOCK_BYTES);
        buffer.fill(7);
        let memory = buffer.as_ptr();
        drop(buffer);
        let again = IoBuffer::zeroed(2 * BLOCK_BYTES);
        assert_eq!(again.as_ptr(), memory, "the memory was kept");
        assert!(again.iter().all(|&byte| byte == 0));
    }

    #[test]
    fn trimmed_memory_is_kept_by_what_is_left_of_it_unless_most_of_it_is_hidden() {
        let mut buffer = IoBuffer::zeroed(4 * BLOCK_BYTES);
        buffer.trim(3 * BLOCK_BYTES);
        assert_eq!(buffer.len(), 3 * BLOCK_BYTES);
        drop(buffer);
        let mut wasteful = IoBuffer::zeroed(64 * BLOCK_BYTES);
        wasteful.trim(BLOCK_BYTES);
        drop(wasteful);
        KEPT.with_borrow(|kept| assert_eq!(kept.bytes, 4 * BLOCK_BYTES));
    }

    #[test]
    fn what_a_thread_keeps_is_bounded() {
        let all: Vec<_> = (0..20).map(|_| IoBuffer::zeroed(1 << 20)).collect();
        drop(all);
        KEPT.with_borrow(|kept| assert!(kept.bytes <= KEPT_BYTES_MAX && kept.bytes > 0));
    }
}
