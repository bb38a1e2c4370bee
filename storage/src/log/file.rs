//! One segment's file: its name, its handle, and how far its blocks are ready for the barrier.
//!
//! *Which core*: the log's; plans share it by `Rc`.
//! *Invariants*: blocks below `ready_end` are written and durable, so that a write to them needs no journal commit; zeros are
//! never written where a flush has claimed the space, and a flush waits for zeros that are on their way to its space.
//! *Not here*: what the bytes mean.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_util::lock::Mutex;

use crate::disk::{BLOCK_BYTES, Disk, DiskError, DiskErrorReason, File, OpenMode};

/// A segment that was made ready before its base offset was known.
pub(super) const PREPARED_NAME: &str = "prepared.log";

/// Where a segment is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere yet; its first flush makes it, under its own name.
    Missing,
    /// Under [`PREPARED_NAME`].
    Prepared,
    /// Under its own name.
    Named,
}

pub(super) struct SegmentFile {
    /// Differs between all files that one process ever used: what the read cache goes by.
    pub(super) key: Cell<u64>,
    /// Not known, and -1, while it is only prepared.
    pub(super) base_offset: Cell<i64>,
    pub(super) disk: Disk,
    pub(super) dir: Rc<Path>,
    pub(super) place: Cell<Place>,
    /// Was it made, or renamed, without its directory's flush?
    pub(super) dir_dirty: Cell<bool>,
    pub(super) ready_end: Cell<u64>,
    /// Is it never written again? Then the read cache may close it.
    pub(super) is_sealed: Cell<bool>,
    handle: RefCell<Option<File>>,
    pub(super) opening: Mutex<()>,
    claimed_end: Cell<u64>,
    zeroing: Cell<Option<(u64, u64)>>,
    /// Zeros that are ready, but not yet what lies between `ready_end` and them.
    ready_beyond: Cell<Option<(u64, u64)>>,
    waiting: RefCell<Option<Waker>>,
}

impl SegmentFile {
    pub(super) fn new(disk: &Disk, dir: &Rc<Path>, key: u64, base_offset: i64, place: Place) -> Rc<SegmentFile> {
        Rc::new(SegmentFile {
            key: Cell::new(key),
            base_offset: Cell::new(base_offset),
            disk: disk.clone(),
            dir: Rc::clone(dir),
            place: Cell::new(place),
            dir_dirty: Cell::new(false),
            ready_end: Cell::new(0),
            is_sealed: Cell::new(false),
            handle: RefCell::new(None),
            opening: Mutex::new(()),
            claimed_end: Cell::new(0),
            zeroing: Cell::new(None),
            ready_beyond: Cell::new(None),
            waiting: RefCell::new(None),
        })
    }

    /// Where it is now, or will be made.
    pub(super) fn path(&self) -> PathBuf {
        match self.place.get() {
            Place::Prepared => self.dir.join(PREPARED_NAME),
            Place::Missing | Place::Named => self.dir.join(segment_name(self.base_offset.get(), "log")),
        }
    }
    /// The handle of a file that an earlier process may have written to: it does so no more.
    pub(super) async fn take_over(&self) -> Result<File, DiskError> {
        let file = self.disk.open(&self.path(), OpenMode::TakeOver).await?;
        *self.handle.borrow_mut() = Some(file.clone());
        Ok(file)
    }
    /// Its handle, opened or made if need be. A rename meanwhile is followed.
    pub(super) async fn open(&self) -> Result<File, DiskError> {
        loop {
            let open = self.handle.borrow().clone();
            if let Some(file) = open {
                return Ok(file);
            }
            let _one_at_a_time = self.opening.lock().await;
            if self.is_open() {
                continue;
            }
            let place = self.place.get();
            let mode = if place == Place::Missing { OpenMode::CreateNew } else { OpenMode::Write };
            match self.disk.open(&self.path(), mode).await {
                Ok(file) => {
                    if place == Place::Missing {
                        self.place.set(Place::Named);
                        self.dir_dirty.set(true);
                    }
                    *self.handle.borrow_mut() = Some(file.clone());
                    return Ok(file);
                }
                Err(error) if error.reason == DiskErrorReason::NotFound && self.place.get() != place => {}
                Err(error) => return Err(error),
            }
        }
    }
    /// Lets the handle go; the next use opens it again.
    pub(super) fn close(&self) {
        self.handle.take();
    }
    pub(super) fn is_open(&self) -> bool {
        self.handle.borrow().is_some()
    }

    /// Everything below `end` is written and durable.
    pub(super) fn on_ready(&self, end: u64) {
        self.ready_end.set(self.ready_end.get().max(end));
        if let Some((_, end)) = self.ready_beyond.get().filter(|(start, _)| *start <= self.ready_end.get()) {
            self.ready_beyond.set(None);
            self.ready_end.set(self.ready_end.get().max(end));
        }
    }
    /// The file was cut to `end`, and everything up to `ready_end` is written and durable. It is another file to caches.
    pub(super) fn restart(&self, key: u64, end: u64, ready_end: u64) {
        self.key.set(key);
        self.claimed_end.set(end);
        self.ready_beyond.set(None);
        self.ready_end.set(ready_end - ready_end % BLOCK_BYTES as u64);
        self.is_sealed.set(false);
    }
    /// Where what is ready ends, or will end once the space before it is flushed.
    pub(super) fn ready_or_beyond_end(&self) -> u64 {
        self.ready_beyond.get().map_or(self.ready_end.get(), |(_, end)| end.max(self.ready_end.get()))
    }
    /// Zeros from `start` to `end` are durable.
    pub(super) fn on_zeros(&self, start: u64, end: u64) {
        let adjoining = self.ready_beyond.get().filter(|(_, end_before)| *end_before == start);
        self.ready_beyond.set(Some((adjoining.map_or(start, |(start_before, _)| start_before), end)));
        self.on_ready(0);
    }
    /// A flush will write up to `end`: no zeros go there any more.
    pub(super) fn claim(&self, end: u64) {
        self.claimed_end.set(self.claimed_end.get().max(end));
    }
    /// Waits until no zeros are on their way to space below `end`, which must be claimed.
    pub(super) async fn zeros_landed(&self, end: u64) {
        poll_fn(|context| match self.zeroing.get() {
            Some((start, _)) if start < end => {
                *self.waiting.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
            Some(_) | None => Poll::Ready(()),
        })
        .await;
    }
    /// Where zeros may go next, from `position` on: past everything that is claimed.
    pub(super) fn unclaimed(&self, position: u64) -> u64 {
        position.max(self.claimed_end.get())
    }
    /// Zeros are on their way to `range`; until [`SegmentFile::end_zeroing`] no flush writes there.
    pub(super) fn begin_zeroing(&self, range: (u64, u64)) {
        assert!(range.0 >= self.claimed_end.get(), "zeros would overwrite {}", self.path().display());
        assert!(self.zeroing.replace(Some(range)).is_none(), "one write of zeros at a time");
    }
    pub(super) fn end_zeroing(&self) {
        self.zeroing.set(None);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}

/// A file of the segment that begins at `base_offset`, as Kafka names it.
pub(super) fn segment_name(base_offset: i64, extension: &str) -> String {
    format!("{base_offset:020}.{extension}")
}

/// The base offset in a name of [`segment_name`].
pub(super) fn parse_segment_name(name: &str, extension: &str) -> Option<i64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok() } else { None }
}
