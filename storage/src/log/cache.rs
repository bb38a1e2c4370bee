//! The shard's read cache: pages of segment files, read whole, kept for the next reader and the next read.
//!
//! *Which core*: a shard's; all its logs share one.
//! *Invariants*: bounded in bytes; a page holds only bytes that will not change (batches that are flushed); two readers of one
//! page cause one read.
//! *Not here*: the tail (tail), which a consumer that drains a backlog therefore can't evict; checking (read_disk).
//! *Why* first in, first out: a page of a backlog is used by one pass of a consumer, or by several in step, and then never again.

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
    pages: HashMap<PageId, Entry, foldhash::fast::FixedState>,
    order: VecDeque<PageId>,
}

enum Entry {
    Ready(Page),
    /// Somebody reads it; these wait.
    Loading(Vec<Waker>),
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
        let state = State { indexes: VecDeque::new(), open: VecDeque::new(), bytes_max, bytes: 0, pages, order };
        ReadCache { state: Rc::new(RefCell::new(state)) }
    }
    /// What it holds now, in bytes.
    pub fn bytes(&self) -> usize {
        self.state.borrow().bytes
    }

    /// The page at `index` of a file whose bytes below `stable_end` will not change.
    pub(super) async fn page(&self, file: &Rc<SegmentFile>, index: u64, stable_end: u64) -> Result<Page, DiskError> {
        let (id, start) = ((file.key.get(), index), index * PAGE_BYTES);
        let wanted = (stable_end - start).min(PAGE_BYTES) as usize;
        let ready = poll_fn(|context| match self.state.borrow_mut().pages.get_mut(&id) {
            Some(Entry::Loading(waiting)) => {
                waiting.push(context.waker().clone());
                Poll::Pending
            }
            Some(Entry::Ready(page)) if page.stable_bytes >= wanted => Poll::Ready(Some(page.clone())),
            Some(Entry::Ready(_)) | None => Poll::Ready(None),
        });
        if let Some(page) = ready.await {
            return Ok(page);
        }
        let loading = Loading::begin(self, id);
        let handle = file.open().await?;
        self.state.borrow_mut().note_open(file);
        let read = handle.read_at(start, wanted.next_multiple_of(BLOCK_BYTES)).await?;
        let page = Page { stable_bytes: wanted.min(read.len()), buffer: Rc::new(read) };
        loading.done(page.clone());
        Ok(page)
    }
    /// The index of a sealed segment of so many bytes, from its files; `None` if they are missing or make no sense.
    pub(super) async fn index(
        &self,
        file: &SegmentFile,
        segment_bytes: u64,
    ) -> Result<Option<Rc<SparseIndex>>, DiskError> {
        let known = self
            .state
            .borrow()
            .indexes
            .iter()
            .find(|(key, _)| *key == file.key.get())
            .map(|(_, index)| Rc::clone(index));
        if known.is_some() {
            return Ok(known);
        }
        let Some(index) = SparseIndex::read(file, segment_bytes, 1).await? else { return Ok(None) };
        let index = Rc::new(index);
        let indexes = &mut self.state.borrow_mut().indexes;
        indexes.push_back((file.key.get(), Rc::clone(&index)));
        if indexes.len() > INDEXES_MAX {
            indexes.pop_front();
        }
        Ok(Some(index))
    }
    /// Forgets a file's index: it is not right.
    pub(super) fn forget_index(&self, key: u64) {
        self.state.borrow_mut().indexes.retain(|(known, _)| *known != key);
    }
    /// Forgets a page: what was read did not check out, and the next read shall see the disk.
    pub(super) fn forget(&self, key: u64, position: u64) {
        let state = &mut *self.state.borrow_mut();
        state.remove((key, position / PAGE_BYTES));
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
    fn remove(&mut self, id: PageId) {
        match self.pages.remove(&id) {
            Some(Entry::Ready(page)) => self.bytes -= page.buffer.len(),
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
            self.remove(id);
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
    fn done(self, page: Page) {
        let state = &mut *self.cache.state.borrow_mut();
        state.bytes += page.buffer.len();
        let before = state.pages.insert(self.id, Entry::Ready(page));
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
