//! The shard's read cache: pages of segment files, read whole, kept for the next reader and the next read.
//!
//! *Which core*: a shard's; all its logs share one.
//! *Invariants*: bounded in bytes; a page holds only bytes that will not change (batches that are flushed); two readers of one
//! page cause one read; at most about half of it was read ahead and is not used yet.
//! *Not here*: the tail (tail), which a consumer that drains a backlog therefore can't evict; checking (read_disk).
//! *Why* first in, first out: a page of a backlog is used by one pass of a consumer, or by several in step, and then never again.
//! A page that was read ahead is spared once: else many consumers in turn would push out what each other will want next.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use hashbrown::HashMap;

use super::file::SegmentFile;
use super::sparse::SparseIndex;
use crate::disk::{BLOCK_BYTES, DiskError, IoBuffer};

/// What is read at a time.
pub(super) const PAGE_BYTES: u64 = 256 << 10;

/// Indexes of sealed segments that are kept.
const INDEXES_MAX: usize = 64;
/// Handles of sealed segments that are kept.
const OPEN_FILES_MAX: usize = 128;

/// A shard's read cache. Cheap to clone; every clone is the same cache.
#[derive(Clone)]
pub struct ReadCache {
    state: Rc<RefCell<State>>,
}

/// (key of the file, index of the page).
type PageId = (u64, u64);

struct State {
    indexes: VecDeque<(u64, Rc<SparseIndex>)>,
    /// Handles of sealed segments, oldest first.
    open: VecDeque<Rc<SegmentFile>>,
    bytes_max: usize,
    bytes: usize,
    /// Of these so many were read ahead and are not used yet.
    ahead_bytes: usize,
    pages: HashMap<PageId, Entry, foldhash::fast::FixedState>,
    order: VecDeque<PageId>,
}

enum Entry {
    Ready(Page, Use),
    /// Somebody reads it; these wait.
    Loading(Vec<Waker>),
}

/// Has a page been of use?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Used,
    /// It was read ahead.
    NotYet,
    /// The same, and room was needed since.
    Spared,
}

/// A file as a reader found it: what lies below `end` will not change. After a cut the file has another key, so that a reader
/// who comes late puts nothing in the way of those who read what was written since.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) file: Rc<SegmentFile>,
    pub(super) key: u64,
    pub(super) end: u64,
}

impl Source {
    /// The file as it is now.
    pub(super) fn new(file: &Rc<SegmentFile>, end: u64) -> Source {
        Source { file: Rc::clone(file), key: file.key.get(), end }
    }
}

/// A page, as far as it is known not to change.
#[derive(Clone)]
pub(super) struct Page {
    buffer: Rc<IoBuffer>,
    stable_bytes: usize,
}

impl Page {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.stable_bytes]
    }
}

impl ReadCache {
    /// A cache of at most so many bytes.
    pub fn new(bytes_max: usize) -> ReadCache {
        let (pages, order) = (HashMap::default(), VecDeque::new());
        let (indexes, open) = (VecDeque::new(), VecDeque::new());
        let state = State { indexes, open, bytes_max, bytes: 0, ahead_bytes: 0, pages, order };
        ReadCache { state: Rc::new(RefCell::new(state)) }
    }
    /// What it holds now, in bytes.
    pub fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    /// The page at `index`.
    pub(super) async fn page(&self, source: &Source, index: u64) -> Result<Page, DiskError> {
        self.load(source, index, Use::Used).await
    }
    /// Reads a page that somebody will want soon.
    pub(super) async fn read_ahead(&self, source: &Source, index: u64) {
        // What fails is read again, and reported, by whoever wants it.
        let _read_or_not = self.load(source, index, Use::NotYet).await;
    }
    /// Is there a page, or soon?
    pub(super) fn holds(&self, source: &Source, index: u64) -> bool {
        self.state.borrow().pages.contains_key(&(source.key, index))
    }
    /// May more be read ahead?
    pub(super) fn has_room_ahead(&self) -> bool {
        let state = self.state.borrow();
        2 * state.ahead_bytes < state.bytes_max
    }

    async fn load(&self, source: &Source, index: u64, used: Use) -> Result<Page, DiskError> {
        let (id, start) = ((source.key, index), index * PAGE_BYTES);
        let wanted = (source.end - start).min(PAGE_BYTES) as usize;
        let ready = poll_fn(|context| self.state.borrow_mut().find(id, wanted, used, context.waker()));
        if let Some(page) = ready.await {
            return Ok(page);
        }
        let loading = Loading::begin(self, id);
        let handle = source.file.open().await?;
        self.state.borrow_mut().note_open(&source.file);
        let read = handle.read_at(start, wanted.next_multiple_of(BLOCK_BYTES)).await?;
        let page = Page { stable_bytes: wanted.min(read.len()), buffer: Rc::new(read) };
        loading.done(page.clone(), used);
        Ok(page)
    }
    /// The index of a sealed segment, from its files; `None` if they are missing or make no sense.
    pub(super) async fn index(&self, source: &Source) -> Result<Option<Rc<SparseIndex>>, DiskError> {
        let is_its = |(key, _): &&(u64, Rc<SparseIndex>)| *key == source.key;
        let known = self.state.borrow().indexes.iter().find(is_its).map(|(_, index)| Rc::clone(index));
        if known.is_some() {
            return Ok(known);
        }
        let Some(index) = SparseIndex::read(&source.file, source.end, 1).await? else { return Ok(None) };
        let index = Rc::new(index);
        let indexes = &mut self.state.borrow_mut().indexes;
        indexes.push_back((source.key, Rc::clone(&index)));
        if indexes.len() > INDEXES_MAX {
            indexes.pop_front();
        }
        Ok(Some(index))
    }
    /// Forgets a file's index: it is not right.
    pub(super) fn forget_index(&self, source: &Source) {
        self.state.borrow_mut().indexes.retain(|(known, _)| *known != source.key);
    }
    /// Forgets a page: what was read did not check out, and the next read shall see the disk.
    pub(super) fn forget(&self, source: &Source, position: u64) {
        let state = &mut *self.state.borrow_mut();
        state.remove((source.key, position / PAGE_BYTES));
    }
}

impl State {
    /// Keeps handles of sealed segments few: the oldest is closed, and opened again when it is read again.
    fn note_open(&mut self, file: &Rc<SegmentFile>) {
        if !file.is_sealed.get() || self.open.iter().any(|known| Rc::ptr_eq(known, file)) {
            return;
        }
        self.open.push_back(Rc::clone(file));
        if self.open.len() > OPEN_FILES_MAX
            && let Some(oldest) = self.open.pop_front()
        {
            oldest.close();
        }
    }
    /// The page, if it is there with so many bytes; `waker` waits for one that is being read.
    fn find(&mut self, id: PageId, wanted: usize, used: Use, waker: &Waker) -> Poll<Option<Page>> {
        match self.pages.get_mut(&id) {
            Some(Entry::Loading(waiting)) => {
                waiting.push(waker.clone());
                Poll::Pending
            }
            Some(Entry::Ready(page, before)) if page.stable_bytes >= wanted => {
                if used == Use::Used && std::mem::replace(before, used) != Use::Used {
                    self.ahead_bytes -= page.buffer.len();
                }
                Poll::Ready(Some(page.clone()))
            }
            Some(Entry::Ready(..)) | None => Poll::Ready(None),
        }
    }
    fn remove(&mut self, id: PageId) {
        match self.pages.remove(&id) {
            Some(Entry::Ready(page, used)) => {
                self.bytes -= page.buffer.len();
                if used != Use::Used {
                    self.ahead_bytes -= page.buffer.len();
                }
            }
            Some(loading @ Entry::Loading(_)) => {
                self.pages.insert(id, loading);
            }
            None => {}
        }
    }
    fn shrink(&mut self) {
        while self.bytes > self.bytes_max
            && let Some(id) = self.order.pop_front()
        {
            match self.pages.get_mut(&id) {
                Some(Entry::Ready(_, used @ Use::NotYet)) => {
                    *used = Use::Spared;
                    self.order.push_back(id);
                }
                Some(_) | None => self.remove(id),
            }
        }
    }
}

/// The duty to end an [`Entry::Loading`], whatever becomes of the read.
struct Loading<'a> {
    cache: &'a ReadCache,
    id: PageId,
}

impl Loading<'_> {
    fn begin(cache: &ReadCache, id: PageId) -> Loading<'_> {
        let mut state = cache.state.borrow_mut();
        state.remove(id);
        state.pages.insert(id, Entry::Loading(Vec::new()));
        Loading { cache, id }
    }
    fn done(self, page: Page, used: Use) {
        let state = &mut *self.cache.state.borrow_mut();
        state.bytes += page.buffer.len();
        if used != Use::Used {
            state.ahead_bytes += page.buffer.len();
        }
        let before = state.pages.insert(self.id, Entry::Ready(page, used));
        if !state.order.contains(&self.id) {
            state.order.push_back(self.id);
        }
        state.shrink();
        if let Some(Entry::Loading(waiting)) = before {
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        // After an error, or when its reader was dropped: one of those who wait reads it instead.
        let mut state = self.cache.state.borrow_mut();
        if matches!(state.pages.get(&self.id), Some(Entry::Loading(_)))
            && let Some(Entry::Loading(waiting)) = state.pages.remove(&self.id)
        {
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, SimDisk, SimDiskOptions, sim_block_on};
    use crate::log::file::Place;
    use futures_util::FutureExt;
    use std::path::Path;

    const PAGES: u64 = 32;

    /// A cache of eight pages, and two files of more.
    fn rig() -> (SimDisk, ReadCache, [Source; 2]) {
        let sim = SimDisk::new(1, SimDiskOptions::default());
        let (disk, dir) = (Disk::Sim(sim.clone()), Rc::from(Path::new("/log")));
        let file = |number: i64| {
            let file = SegmentFile::new(&disk, &dir, number as u64, number, Place::Named);
            sim.set_file_bytes(&file.path(), &vec![number as u8; (PAGES * PAGE_BYTES) as usize]);
            Source::new(&file, PAGES * PAGE_BYTES)
        };
        (sim.clone(), ReadCache::new(8 * PAGE_BYTES as usize), [file(1), file(2)])
    }
    /// Is the page there? Then it is used now.
    fn is_there(cache: &ReadCache, file: &Source, index: u64) -> bool {
        cache.page(file, index).now_or_never().is_some()
    }

    #[test]
    fn what_was_read_ahead_outlives_as_many_pages_as_the_cache_holds_and_no_more() {
        let (sim, cache, [slow, fast]) = rig();
        for index in 0..4 {
            assert!(cache.has_room_ahead());
            sim_block_on(&sim, cache.read_ahead(&slow, index));
        }
        assert!(!cache.has_room_ahead(), "half of it is not used yet");
        for index in 0..9 {
            sim_block_on(&sim, cache.page(&fast, index)).expect("read");
            assert!(cache.bytes() <= 8 * PAGE_BYTES as usize);
        }
        assert!(is_there(&cache, &slow, 0), "spared once");
        assert!(cache.has_room_ahead());
        for index in 9..26 {
            sim_block_on(&sim, cache.page(&fast, index)).expect("read");
        }
        assert!((1..4).all(|index| !is_there(&cache, &slow, index)), "its reader never came");
        assert!(cache.state.borrow().ahead_bytes == 0);
    }

    #[test]
    fn readers_in_turn_find_what_was_read_ahead_for_each() {
        let (sim, cache, files) = rig();
        let mut waits = 0;
        // Two pages at a time for each reader, two ahead of it: together as much as the cache holds.
        for round in 0..PAGES / 2 - 1 {
            for file in &files {
                for index in 2 * round..2 * round + 2 {
                    waits += u32::from(!is_there(&cache, file, index));
                    sim_block_on(&sim, cache.page(file, index)).expect("read");
                }
                for index in 2 * round + 2..2 * round + 4 {
                    sim_block_on(&sim, cache.read_ahead(file, index));
                }
            }
        }
        assert_eq!(waits, 4, "only the first two pages of each");
    }
}
