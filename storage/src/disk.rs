//! The disk: io_uring with O_DIRECT through glommio, or a simulated one. The only file of this crate that names glommio.
//!
//! *Which core*: any executor; a file belongs to the executor that opened it.
//! *Invariants*: an operation that changes anything goes on to its end even if its future is dropped; positions, lengths and
//! memory are aligned to [`BLOCK_BYTES`]; paths are absolute. Nothing here is retried: an error is the caller's to act on.
//! *Not here*: what the bytes mean, when to flush, which file stands for which (log, data_dir).
//! *Why* a closed enum: the loops above run unchanged in the simulator, with no type parameter and no dynamic dispatch.

mod buffer;
mod dir;
mod error;
mod facts;
mod ring;
mod sim;
#[cfg(test)]
mod tests;
mod trust;

pub use buffer::IoBuffer;
pub use error::{DiskError, DiskErrorReason};
pub use facts::FsFacts;
pub use sim::{Fault, FaultOn, SimDisk, SimDiskOptions, sim_block_on};

use std::future::Future;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What the files below use of glommio, so that it is named in this file only.
mod reactor {
    pub(super) use glommio::io::{DmaBuffer, DmaFile, OpenOptions, ReadResult};
    pub(super) use glommio::{GlommioError, allocate_dma_buffer_global, executor, spawn_local};
}

/// Alignment, in bytes, of positions, lengths and memory of every read and write.
pub const BLOCK_BYTES: usize = 4096;

/// The largest file that [`Disk::read_small`] and [`Disk::replace_small`] take, in bytes.
pub const SMALL_FILE_BYTES_MAX: u64 = 64 << 20;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reads only; it must exist.
    Read,
    /// Reads and writes; it must exist.
    Write,
    /// As [`OpenMode::Write`], once every write to it that is under way has landed, also those that a killed process has left to
    /// the kernel: its locks are free before they have.
    TakeOver,
    /// Reads and writes; it must not exist.
    CreateNew,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// Its name within the directory.
    pub name: String,
    /// A directory, or a file?
    pub is_dir: bool,
    /// Size of a file.
    pub bytes: u64,
}

/// A disk. Cheap to clone; every clone is the same disk.
#[derive(Clone)]
pub enum Disk {
    /// The machine's.
    Ring,
    /// A simulated one.
    Sim(SimDisk),
}

/// An open file. Cheap to clone; every clone is the same open file, closed with the last.
#[derive(Clone)]
pub enum File {
    /// On the machine.
    Ring(Rc<ring::RingFile>),
    /// Simulated.
    Sim(Rc<sim::SimFile>),
}

impl Disk {
    /// Opens a file for aligned, unbuffered I/O.
    pub async fn open(&self, path: &Path, mode: OpenMode) -> Result<File, DiskError> {
        match self {
            Disk::Ring => Ok(File::Ring(Rc::new(ring::open(absolute(path), mode).await?))),
            Disk::Sim(sim) => Ok(File::Sim(Rc::new(sim.open(absolute(path), mode).await?))),
        }
    }
    /// Creates a directory and its missing parents, durably.
    pub async fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        match self {
            Disk::Ring => dir::create_dir_all(absolute(path)).await,
            Disk::Sim(sim) => sim.create_dir_all(absolute(path)).await,
        }
    }
    /// The entries of a directory, by name.
    pub async fn list(&self, path: &Path) -> Result<Vec<DirEntry>, DiskError> {
        match self {
            Disk::Ring => dir::list(absolute(path)).await,
            Disk::Sim(sim) => sim.list(absolute(path)).await,
        }
    }
    /// Does a file or directory exist?
    pub async fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        match self {
            Disk::Ring => dir::exists(absolute(path)).await,
            Disk::Sim(sim) => sim.exists(absolute(path)).await,
        }
    }
    /// Renames within the file system; durable only after [`Disk::sync_dir`] of both parents. A file at `to` is replaced.
    pub async fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        match self {
            Disk::Ring => dir::rename(absolute(from), absolute(to)).await,
            Disk::Sim(sim) => sim.rename(absolute(from), absolute(to)).await,
        }
    }
    /// Removes a file; durable only after [`Disk::sync_dir`] of its parent. Open handles go on reading and writing it.
    pub async fn remove(&self, path: &Path) -> Result<(), DiskError> {
        match self {
            Disk::Ring => dir::remove(absolute(path)).await,
            Disk::Sim(sim) => sim.remove(absolute(path)).await,
        }
    }
    /// Removes a directory and everything in it; durable only after [`Disk::sync_dir`] of its parent.
    pub async fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        match self {
            Disk::Ring => dir::remove_dir_all(absolute(path)).await,
            Disk::Sim(sim) => sim.remove_dir_all(absolute(path)).await,
        }
    }
    /// Makes the directory's entries durable.
    pub async fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        match self {
            Disk::Ring => dir::sync_dir(absolute(path)).await,
            Disk::Sim(sim) => sim.sync_dir(absolute(path)).await,
        }
    }
    /// A small file whole; at most [`SMALL_FILE_BYTES_MAX`].
    pub async fn read_small(&self, path: &Path) -> Result<Vec<u8>, DiskError> {
        match self {
            Disk::Ring => dir::read_small(absolute(path)).await,
            Disk::Sim(sim) => sim.read_small(absolute(path)).await,
        }
    }
    /// Replaces a small file: temporary file `<name>.tmp`, flush, rename, directory flush. Afterwards it is there whole, for
    /// good; before, the old one is. One at a time per path.
    pub async fn replace_small(&self, path: &Path, contents: &[u8]) -> Result<(), DiskError> {
        assert!(contents.len() as u64 <= SMALL_FILE_BYTES_MAX, "{} is no small file", path.display());
        match self {
            Disk::Ring => dir::replace_small(absolute(path), contents.to_vec()).await,
            Disk::Sim(sim) => sim.replace_small(absolute(path), contents).await,
        }
    }
    /// Free bytes for us on the file system under `path`.
    pub async fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        match self {
            Disk::Ring => dir::free_bytes(absolute(path)).await,
            Disk::Sim(sim) => sim.free_bytes(absolute(path)).await,
        }
    }
    /// What the file system under the directory `path` promises.
    pub async fn fs_facts(&self, path: &Path) -> Result<FsFacts, DiskError> {
        match self {
            Disk::Ring => facts::gather(absolute(path)).await,
            Disk::Sim(sim) => sim.fs_facts(absolute(path)).await,
        }
    }
    /// Takes an exclusive lock on the file `path` (created if need be), held until the process ends or the lock is dropped.
    /// The error of a lock that is taken names the path and, where known, the process that holds it.
    pub async fn lock(&self, path: &Path) -> Result<DirLock, DiskError> {
        match self {
            Disk::Ring => Ok(DirLock { _held: HeldLock::Ring { _file: dir::lock(absolute(path)).await? } }),
            Disk::Sim(sim) => Ok(DirLock { _held: HeldLock::Sim { _lock: sim.lock(absolute(path)).await? } }),
        }
    }
    /// Waits until a flush has failed that this executor asked for, of whichever file or directory; says which. The process is to
    /// end then: see [`File::flush`].
    pub async fn flush_failed(&self) -> String {
        match self {
            Disk::Ring => ring::flush_failed().await,
            Disk::Sim(sim) => sim.flush_failed().await,
        }
    }
    /// Waits until no operation of this disk is under way on this executor. Await it before an executor ends: what is still
    /// in flight then may or may not happen.
    pub async fn drained(&self) {
        match self {
            Disk::Ring => ring::drained().await,
            Disk::Sim(sim) => sim.drained().await,
        }
    }
}

/// Holds a data directory for this process.
pub struct DirLock {
    _held: HeldLock,
}

enum HeldLock {
    Ring { _file: std::fs::File },
    Sim { _lock: sim::SimLock },
}

impl File {
    /// Writes the whole buffer at `position` (aligned). On return the device has it, but may hold it in its cache.
    /// The operation goes on to its end even if this future is dropped. After an error any part of it may be written.
    pub async fn write_at(&self, buffer: Rc<IoBuffer>, position: u64) -> Result<(), DiskError> {
        assert!(!buffer.is_empty() && buffer.len().is_multiple_of(BLOCK_BYTES), "a write of {} bytes", buffer.len());
        assert!(position.is_multiple_of(BLOCK_BYTES as u64), "a write at {position}");
        match self {
            File::Ring(file) => ring::write_at(file, buffer, position).await,
            File::Sim(file) => file.write_at(buffer, position).await,
        }
    }
    /// Reads `bytes` from `position` (both aligned). Fewer come back only where the file ends.
    pub async fn read_at(&self, position: u64, bytes: usize) -> Result<IoBuffer, DiskError> {
        assert!(bytes > 0 && bytes.is_multiple_of(BLOCK_BYTES), "a read of {bytes} bytes");
        assert!(position.is_multiple_of(BLOCK_BYTES as u64), "a read at {position}");
        match self {
            File::Ring(file) => ring::read_at(file, position, bytes).await,
            File::Sim(file) => file.read_at(position, bytes).await,
        }
    }
    /// fdatasync: every write completed before is durable afterwards. An error is final (fsyncgate): from then on every flush
    /// of this process, of whichever file or directory, is an error.
    pub async fn flush(&self) -> Result<(), DiskError> {
        match self {
            File::Ring(file) => ring::flush(file).await,
            File::Sim(file) => file.flush().await,
        }
    }
    /// Reserves blocks up to `bytes` and extends the size to it; they read as zeros, and are not yet written.
    pub async fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        match self {
            File::Ring(file) => ring::allocate(file, bytes).await,
            File::Sim(file) => file.allocate(bytes).await,
        }
    }
    /// Cuts or extends the file to `bytes`.
    pub async fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        match self {
            File::Ring(file) => ring::set_size(file, bytes).await,
            File::Sim(file) => file.set_size(bytes).await,
        }
    }
    /// The file's size.
    pub async fn size(&self) -> Result<u64, DiskError> {
        match self {
            File::Ring(file) => ring::size(file).await,
            File::Sim(file) => file.size().await,
        }
    }
    /// The device that its file system is on, as (major, minor).
    pub fn device(&self) -> (u32, u32) {
        match self {
            File::Ring(file) => file.device(),
            File::Sim(_) => (0, 0),
        }
    }
    /// Where it was opened; a rename since is not followed.
    pub fn path(&self) -> &Path {
        match self {
            File::Ring(file) => file.path(),
            File::Sim(file) => file.path(),
        }
    }
    /// Closes this clone; the last one's close returns when the descriptor is closed. Dropping does as well, unwaited.
    pub async fn close(self) -> Result<(), DiskError> {
        match self {
            File::Ring(file) => ring::close(file).await,
            File::Sim(file) => {
                drop(file);
                Ok(())
            }
        }
    }
}

/// Runs a future on an executor of its own on this thread, with the machine's disk, and returns what it returns. For tests
/// and offline tools; a server's executors are `rt`'s. Blocks, and must not be called on an executor.
pub fn ring_block_on<T>(future: impl Future<Output = T>) -> T {
    // The first executor of a process gets a kernel worker pool of one or two for ever: let it be one that is thrown away.
    static WARM_UP: std::sync::Once = std::sync::Once::new();
    let executor = || {
        let builder = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound).io_memory(64 << 10);
        builder.make().expect("io_uring is available (Linux 6.1 or later, not forbidden by seccomp or sysctl)")
    };
    WARM_UP.call_once(|| {
        let warmed = std::thread::spawn(move || executor().run(async {}));
        warmed.join().expect("an empty task does not panic");
    });
    executor().run(async {
        let output = future.await;
        ring::drained().await;
        output
    })
}

/// A relative path would be resolved on the executor, synchronously, and against whatever the working directory then is.
fn absolute(path: &Path) -> PathBuf {
    assert!(path.is_absolute(), "{} is not an absolute path", path.display());
    path.to_owned()
}
