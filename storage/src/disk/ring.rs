//! The machine's files: each operation on the ring, in a task of its own.
//!
//! *Which core*: the executor that opened the file.
//! *Invariants*: what changes the disk runs in a detached task, for a dropped future would cancel it, usually unsubmitted; a
//! write is whole or an error; a read is short only where the file ends.
//! *Not here*: directories (dir.rs), memory (buffer.rs).

use super::reactor::{DmaFile, GlommioError, OpenOptions, executor, spawn_local};
use super::{BLOCK_BYTES, DiskError, DiskErrorReason, IoBuffer, OpenMode, trust};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// An open file of the machine.
pub struct RingFile {
    file: DmaFile,
    path: PathBuf,
}

impl RingFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
    pub(super) fn device(&self) -> (u32, u32) {
        (self.file.dev_major(), self.file.dev_minor())
    }
    fn error(&self, operation: &'static str, error: GlommioError<()>) -> DiskError {
        ring_error(operation, &self.path, error)
    }
}

/// Opens by name on the blocking pool, then again, unbuffered, through that descriptor: opening by name on the ring looks the
/// name up a second time, and panics if the file was renamed or removed meanwhile.
pub(super) async fn open(path: PathBuf, mode: OpenMode) -> Result<RingFile, DiskError> {
    detached(async move {
        let named = {
            let path = path.clone();
            blocking(move || open_by_name(&path, mode)).await
        };
        let named = named.map_err(|error| DiskError::from_io("open", &path, &error))?;
        let through = format!("/proc/self/fd/{}", named.as_raw_fd());
        let opened = OpenOptions::new().read(true).write(mode != OpenMode::Read).dma_open(through).await;
        let file = opened.map_err(|error| ring_error("open", &path, error))?;
        if file.alignment() > BLOCK_BYTES as u64 {
            let reason = format!("its device has blocks of {} bytes, {BLOCK_BYTES} is the most", file.alignment());
            return Err(DiskError::new("open", &path, DiskErrorReason::Io(reason)));
        }
        Ok(RingFile { file, path })
    })
    .await
}

fn open_by_name(path: &Path, mode: OpenMode) -> std::io::Result<std::fs::File> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(mode != OpenMode::Read).create_new(mode == OpenMode::CreateNew);
    let file = options.custom_flags(libc::O_NOFOLLOW).mode(0o640).open(path)?;
    if mode == OpenMode::TakeOver { await_writes_of_others(&file).map(|()| file) } else { Ok(file) }
}

/// An exiting process waits for none of its direct writes: its rings go in the background (`io_ring_exit_work`). An inode counts
/// those under way, and fallocate waits for that count before anything else, on ext4 (`ext4_fallocate`) as on XFS
/// (`xfs_file_fallocate`); where the first block is there it changes nothing. fsync does not wait, nor does ext4 when a file is
/// truncated to the size it has. Where there is no space, or no such call, there is nothing more to be had.
fn await_writes_of_others(file: &std::fs::File) -> std::io::Result<()> {
    // SAFETY: it takes no memory, and the descriptor is open.
    if unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, 0, 1) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT | libc::EOPNOTSUPP) => Ok(()),
        _ => Err(error),
    }
}

pub(super) async fn write_at(file: &Rc<RingFile>, buffer: Rc<IoBuffer>, position: u64) -> Result<(), DiskError> {
    let file = Rc::clone(file);
    detached(async move { write_whole(&file, &buffer, position).await }).await
}

/// Goes on after a short write from the block it ended in. The caller's buffer lives until the last piece is written.
async fn write_whole(file: &RingFile, buffer: &IoBuffer, position: u64) -> Result<(), DiskError> {
    let mut written = 0;
    let mut piece = buffer.shared();
    loop {
        let count = file.file.write_rc_at(piece, position + written as u64).await;
        let count = count.map_err(|error| file.error("write", error))?;
        if written + count >= buffer.len() {
            return Ok(());
        }
        let whole_blocks = count - count % BLOCK_BYTES;
        if whole_blocks == 0 {
            let reason = format!("only {} of {} bytes at {position}", written + count, buffer.len());
            return Err(DiskError::new("write", &file.path, DiskErrorReason::Io(reason)));
        }
        written += whole_blocks;
        let mut rest = IoBuffer::zeroed(buffer.len() - written);
        rest.copy_from_slice(&buffer[written..]);
        piece = rest.shared();
    }
}

pub(super) async fn read_at(file: &Rc<RingFile>, position: u64, bytes: usize) -> Result<IoBuffer, DiskError> {
    let read = file.file.read_at_aligned(position, bytes).await;
    let read = IoBuffer::from_read(read.map_err(|error| file.error("read", error))?);
    if read.len() == bytes {
        return Ok(read);
    }
    let expected = size(file).await?.saturating_sub(position).min(bytes as u64) as usize;
    if read.len() >= expected { Ok(read) } else { read_rest(file, position, read, expected).await }
}

/// A read may end early without the file ending there; rare enough to copy.
async fn read_rest(
    file: &Rc<RingFile>,
    position: u64,
    first: IoBuffer,
    expected: usize,
) -> Result<IoBuffer, DiskError> {
    let mut whole = IoBuffer::zeroed(expected.next_multiple_of(BLOCK_BYTES));
    let mut have = first.len() - first.len() % BLOCK_BYTES;
    whole[..have].copy_from_slice(&first[..have]);
    while have < expected {
        let wanted = (expected - have).next_multiple_of(BLOCK_BYTES);
        let read = file.file.read_at_aligned(position + have as u64, wanted).await;
        let read = read.map_err(|error| file.error("read", error))?;
        let end = (have + read.len()).min(expected);
        whole[have..end].copy_from_slice(&read[..end - have]);
        if end < expected && read.len() < BLOCK_BYTES {
            let reason = format!("only {end} of {expected} bytes at {position}");
            return Err(DiskError::new("read", &file.path, DiskErrorReason::Io(reason)));
        }
        have = if end == expected { end } else { have + read.len() - read.len() % BLOCK_BYTES };
    }
    whole.cut(expected);
    Ok(whole)
}

pub(super) async fn flush(file: &Rc<RingFile>) -> Result<(), DiskError> {
    let file = Rc::clone(file);
    detached(async move {
        let flushed = file.file.fdatasync().await.map_err(std::io::Error::from);
        trust::believed(flushed, &file.path).map_err(|error| DiskError::from_io("flush", &file.path, &error))
    })
    .await
}

pub(super) async fn allocate(file: &Rc<RingFile>, bytes: u64) -> Result<(), DiskError> {
    let file = Rc::clone(file);
    detached(async move {
        let allocated = file.file.pre_allocate(bytes, false).await;
        allocated.map_err(|error| file.error("allocate", error))
    })
    .await
}

pub(super) async fn set_size(file: &Rc<RingFile>, bytes: u64) -> Result<(), DiskError> {
    let file = Rc::clone(file);
    detached(async move { file.file.truncate(bytes).await.map_err(|error| file.error("set size", error)) }).await
}

pub(super) async fn size(file: &Rc<RingFile>) -> Result<u64, DiskError> {
    file.file.file_size().await.map_err(|error| file.error("size", error))
}

pub(super) async fn close(file: Rc<RingFile>) -> Result<(), DiskError> {
    let Ok(RingFile { file, path }) = Rc::try_unwrap(file) else { return Ok(()) };
    detached(async move { file.close().await.map_err(|error| ring_error("close", &path, error)) }).await
}

fn ring_error(operation: &'static str, path: &Path, error: GlommioError<()>) -> DiskError {
    DiskError::new(operation, path, DiskErrorReason::from_errno(error.raw_os_error(), &error))
}

thread_local! {
    static IN_FLIGHT: Cell<usize> = const { Cell::new(0) };
    static DRAIN_WAITERS: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
    static FAILURE_WAITERS: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Runs `operation` to its end, whether or not the returned future is.
pub(super) async fn detached<T: 'static>(operation: impl Future<Output = T> + 'static) -> T {
    IN_FLIGHT.set(IN_FLIGHT.get() + 1);
    let task = spawn_local(async move {
        let outcome = operation.await;
        IN_FLIGHT.set(IN_FLIGHT.get() - 1);
        if IN_FLIGHT.get() == 0 {
            DRAIN_WAITERS.take().into_iter().for_each(Waker::wake);
        }
        if trust::failure().is_some() {
            FAILURE_WAITERS.take().into_iter().for_each(Waker::wake);
        }
        outcome
    });
    task.detach().await.expect("a detached task is never cancelled")
}

/// Waits until every detached operation of this thread has ended.
pub(super) async fn drained() {
    poll_fn(|context| {
        if IN_FLIGHT.get() == 0 {
            return Poll::Ready(());
        }
        DRAIN_WAITERS.with_borrow_mut(|waiters| waiters.push(context.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// Waits until this thread knows of a failed flush.
pub(super) async fn flush_failed() -> String {
    poll_fn(|context| match trust::failure() {
        Some(what) => Poll::Ready(what.to_owned()),
        None => {
            FAILURE_WAITERS.with_borrow_mut(|waiters| waiters.push(context.waker().clone()));
            Poll::Pending
        }
    })
    .await
}

/// Runs a system call that the ring does not offer, on the executor's pool.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    executor().spawn_blocking(work).await
}
