//! A simulated file: what a reader sees, what the device holds for good, and the changes between the two.
//!
//! *Which core*: the simulation's one thread.
//! *Invariants*: the current image is the durable one with every pending change applied in order. Metadata (extents, size)
//! reaches the device in order, as through a journal; data in any order, torn at the device's sectors.
//! *Not here*: names (tree.rs), time and faults (world.rs).

use super::super::BLOCK_BYTES;
use rand::Rng;
use rand::rngs::SmallRng;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// Orders everything that completed on one disk.
pub(super) type Sequence = u64;

/// To compare with: much faster than byte by byte.
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

/// The bytes of a block; zeros take no memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Zeros,
    Bytes(Rc<[u8]>),
}

impl Content {
    /// A block of `bytes`, padded with zeros.
    pub(super) fn new(bytes: &[u8]) -> Content {
        if *bytes == ZEROS[..bytes.len()] {
            return Content::Zeros;
        }
        if bytes.len() == BLOCK_BYTES {
            return Content::Bytes(bytes.into());
        }
        Content::Bytes([bytes, &ZEROS[bytes.len()..]].concat().into())
    }
    fn to_vec(&self) -> Vec<u8> {
        match self {
            Content::Zeros => vec![0; BLOCK_BYTES],
            Content::Bytes(bytes) => bytes.to_vec(),
        }
    }
}

/// An allocated block. Until its extent is marked written it reads as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Block {
    written: bool,
    content: Content,
}

/// A file at one point: its size, and its allocated blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) bytes: u64,
    blocks: BTreeMap<u64, Block>,
}

/// One step from the durable image to the current one.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    /// Metadata: the blocks have a place.
    Allocated(Range<u64>),
    /// The block's bytes are on the device, or in its cache.
    Data(u64, Content),
    /// Metadata: the blocks no longer read as zeros.
    Written(Range<u64>),
    /// Metadata: the size; blocks beyond it lose their place.
    Resized(u64),
}

impl Image {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Allocated(range) => {
                for block in range.clone() {
                    self.blocks.entry(block).or_insert(Block { written: false, content: Content::Zeros });
                }
            }
            Change::Data(block, content) => {
                if let Some(block) = self.blocks.get_mut(block) {
                    block.content = content.clone();
                }
            }
            Change::Written(range) => self.blocks.range_mut(range.clone()).for_each(|(_, block)| block.written = true),
            Change::Resized(bytes) => self.resize(*bytes),
        }
    }
    fn resize(&mut self, bytes: u64) {
        self.bytes = bytes;
        self.blocks.split_off(&bytes.div_ceil(BLOCK_BYTES as u64));
        let kept = (bytes % BLOCK_BYTES as u64) as usize;
        if let Some(block) = self.blocks.get_mut(&(bytes / BLOCK_BYTES as u64)) {
            block.content = Content::new(&block.content.to_vec()[..kept]);
        }
    }
    /// Reads from `position`, as far as the file goes, into zeros; how many bytes.
    pub(super) fn read(&self, position: u64, buffer: &mut [u8]) -> usize {
        let end = self.bytes.min(position + buffer.len() as u64);
        let bytes = end.saturating_sub(position) as usize;
        let first = position / BLOCK_BYTES as u64;
        for (number, block) in self.blocks.range(first..end.div_ceil(BLOCK_BYTES as u64).max(first)) {
            if let Block { written: true, content: Content::Bytes(content) } = block {
                let at = (number * BLOCK_BYTES as u64 - position) as usize;
                let length = (bytes - at).min(BLOCK_BYTES);
                buffer[at..at + length].copy_from_slice(&content[..length]);
            }
        }
        bytes
    }
    fn is_written(&self, block: u64) -> bool {
        self.blocks.get(&block).is_some_and(|found| found.written)
    }
    fn flip(&mut self, block: u64, byte: usize, bit: u8) {
        if let Some(Block { content, .. }) = self.blocks.get_mut(&block) {
            *content = flipped(content, byte, bit);
        }
    }
}

fn flipped(content: &Content, byte: usize, bit: u8) -> Content {
    let mut bytes = content.to_vec();
    bytes[byte] ^= 1 << bit;
    Content::new(&bytes)
}

/// How a crash falls.
pub(super) struct Loss<'a> {
    pub(super) dice: &'a mut SmallRng,
    /// How likely it is that something that was not durable survives.
    pub(super) survival: f64,
    /// What the device writes whole.
    pub(super) sector_bytes: usize,
}

/// A file of the simulated disk.
#[derive(Debug, Default)]
pub(super) struct SimInode {
    current: Image,
    durable: Image,
    changes: Vec<(Sequence, Change)>,
}

impl SimInode {
    /// A file that is durable as it is.
    pub(super) fn durable(bytes: &[u8]) -> SimInode {
        let mut image = Image::default();
        let range = 0..bytes.len().div_ceil(BLOCK_BYTES) as u64;
        image.apply(&Change::Allocated(range.clone()));
        for (block, content) in bytes.chunks(BLOCK_BYTES).enumerate() {
            image.apply(&Change::Data(block as u64, Content::new(content)));
        }
        image.apply(&Change::Written(range));
        image.bytes = bytes.len() as u64;
        SimInode { durable: image.clone(), current: image, changes: Vec::new() }
    }
    /// What a reader sees.
    pub(super) fn current(&self) -> &Image {
        &self.current
    }
    /// What the device holds for good.
    pub(super) fn durable_contents(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.durable.bytes as usize];
        self.durable.read(0, &mut bytes);
        bytes
    }
    /// Is everything durable?
    pub(super) fn is_clean(&self) -> bool {
        self.changes.is_empty()
    }
    /// Blocks that have a place.
    pub(super) fn block_count(&self) -> u64 {
        self.current.blocks.len() as u64
    }
    /// Blocks of `range` that have none.
    pub(super) fn missing(&self, range: Range<u64>) -> u64 {
        range.end.saturating_sub(range.start) - self.current.blocks.range(range).count() as u64
    }

    fn change(&mut self, sequence: Sequence, change: Change) {
        self.current.apply(&change);
        self.changes.push((sequence, change));
    }
    /// Blocks from `first`, as a completed write leaves them: in place, on the device, marked, and within the size.
    pub(super) fn write(&mut self, sequence: Sequence, first: u64, contents: &[Content]) {
        let range = first..first + contents.len() as u64;
        if self.missing(range.clone()) > 0 {
            self.change(sequence, Change::Allocated(range.clone()));
        }
        let new = range.clone().any(|block| !self.current.is_written(block));
        for (block, content) in range.clone().zip(contents) {
            self.change(sequence, Change::Data(block, content.clone()));
        }
        if new {
            self.change(sequence, Change::Written(range.clone()));
        }
        let end = range.end * BLOCK_BYTES as u64;
        if end > self.current.bytes {
            self.change(sequence, Change::Resized(end));
        }
    }
    /// Gives every block up to `bytes` a place, unwritten.
    pub(super) fn allocate(&mut self, sequence: Sequence, bytes: u64) {
        let range = 0..bytes.div_ceil(BLOCK_BYTES as u64);
        if self.missing(range.clone()) > 0 {
            self.change(sequence, Change::Allocated(range));
        }
        if bytes > self.current.bytes {
            self.change(sequence, Change::Resized(bytes));
        }
    }
    /// Cuts or extends.
    pub(super) fn resize(&mut self, sequence: Sequence, bytes: u64) {
        self.change(sequence, Change::Resized(bytes));
    }

    /// A flush of this file, covering what had completed by `upto`.
    pub(super) fn settle(&mut self, upto: Sequence) {
        for (_, change) in self.changes.extract_if(.., |(sequence, _)| *sequence <= upto) {
            self.durable.apply(&change);
        }
    }
    /// A flush of the device through another file: it covers completed writes to blocks that are durably written, within the
    /// durable size, and not about to lose their place.
    pub(super) fn settle_in_place(&mut self, upto: Sequence) {
        let durable = &mut self.durable;
        let mut cut_from = u64::MAX;
        self.changes.retain(|(sequence, change)| match change {
            Change::Data(block, _) => {
                let within = *block < cut_from && block * (BLOCK_BYTES as u64) < durable.bytes;
                let settles = *sequence <= upto && within && durable.is_written(*block);
                if settles {
                    durable.apply(change);
                }
                !settles
            }
            Change::Resized(bytes) => {
                cut_from = cut_from.min(bytes.div_ceil(BLOCK_BYTES as u64));
                true
            }
            Change::Allocated(_) | Change::Written(_) => true,
        });
    }
    /// A failed flush: the device may have dropped what it had cached, and the next flush would not tell. Reads go to the device.
    pub(super) fn lose_cached(&mut self, upto: Sequence, dice: &mut SmallRng) {
        self.changes.retain(|(sequence, change)| {
            let cached = *sequence <= upto && matches!(change, Change::Data(..));
            !(cached && dice.random_bool(0.5))
        });
        self.current = self.durable.clone();
        self.changes.iter().for_each(|(_, change)| self.current.apply(change));
    }
    /// Power is lost: of the metadata changes the first few remain, of the data any sectors.
    pub(super) fn lose_power(&mut self, loss: &mut Loss<'_>) {
        let metadata_count = self.changes.iter().filter(|(_, change)| !matches!(change, Change::Data(..))).count();
        let mut kept = (0..metadata_count).take_while(|_| loss.dice.random_bool(loss.survival)).count();
        let mut candidates: BTreeMap<u64, Vec<Content>> = BTreeMap::new();
        let mut lost_place_from = u64::MAX;
        for (_, change) in std::mem::take(&mut self.changes) {
            match &change {
                Change::Data(block, content) if *block < lost_place_from => {
                    candidates.entry(*block).or_default().push(content.clone());
                }
                Change::Data(..) => {}
                Change::Allocated(_) | Change::Written(_) | Change::Resized(_) => {
                    let cut = match change {
                        Change::Resized(bytes) => bytes.div_ceil(BLOCK_BYTES as u64),
                        _ => u64::MAX,
                    };
                    if kept > 0 {
                        kept -= 1;
                        self.durable.apply(&change);
                        candidates.split_off(&cut);
                    } else {
                        // What was written there later had another place on the device, which nothing names now.
                        lost_place_from = lost_place_from.min(cut);
                    }
                }
            }
        }
        for (number, versions) in &candidates {
            if let Some(block) = self.durable.blocks.get_mut(number) {
                block.content = mix(&block.content, versions, loss);
            }
        }
        self.current = self.durable.clone();
    }
    /// A bit of the medium turns over.
    pub(super) fn flip(&mut self, position: u64, bit: u8) {
        let (block, byte) = (position / BLOCK_BYTES as u64, (position % BLOCK_BYTES as u64) as usize);
        self.current.flip(block, byte, bit);
        self.durable.flip(block, byte, bit);
        for (_, change) in &mut self.changes {
            if let Change::Data(number, content) = change
                && *number == block
            {
                *content = flipped(content, byte, bit);
            }
        }
    }
}

/// Each sector is the durable one, or that of any later write of the block: a cache writes back as it likes.
fn mix(durable: &Content, versions: &[Content], loss: &mut Loss<'_>) -> Content {
    let mut mixed = durable.to_vec();
    for start in (0..BLOCK_BYTES).step_by(loss.sector_bytes) {
        if loss.dice.random_bool(loss.survival) {
            let last = versions.len() - 1;
            let version = if loss.dice.random_bool(0.75) { last } else { loss.dice.random_range(0..=last) };
            let end = start + loss.sector_bytes;
            mixed[start..end].copy_from_slice(&versions[version].to_vec()[start..end]);
        }
    }
    Content::new(&mixed)
}
