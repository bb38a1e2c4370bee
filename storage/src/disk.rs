//! The disk: io_uring with O_DIRECT through glommio, or a simulated one. The only file of this crate that names glommio.
//!
//! Contract (bodies are being written):

use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Alignment, in bytes, of positions, lengths and memory of every read and write.
pub const BLOCK_BYTES: usize = 4096;

/// What went wrong with which operation on which path.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{operation} {path}: {reason}", path = path.display())]
pub struct DiskError {
    /// The operation, as a verb: "write", "flush", "open".
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub reason: DiskErrorReason,
}

/// Why an operation failed, as far as the caller may act on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskErrorReason {
    /// ENOSPC, EDQUOT: nothing is broken, there is no room.
    #[error("no space left")]
    NoSpace,
    /// ENOENT.
    #[error("not found")]
    NotFound,
    /// Anything else; the text is the system's.
    #[error("{0}")]
    Io(String),
}

/// Block-aligned memory that the disk can write from and read into.
pub struct IoBuffer(glommio::io::DmaBuffer);

impl IoBuffer {
    /// `bytes` of zeros; `bytes` is a multiple of [`BLOCK_BYTES`].
    pub fn zeroed(bytes: usize) -> IoBuffer {
        assert!(bytes > 0 && bytes % BLOCK_BYTES == 0);
        let mut buffer = glommio::allocate_dma_buffer_global(bytes);
        buffer.as_bytes_mut().fill(0);
        IoBuffer(buffer)
    }
    /// Cuts the buffer to its first `bytes`, for good; `bytes` is a multiple of [`BLOCK_BYTES`].
    pub fn trim(&mut self, bytes: usize) {
        assert!(bytes % BLOCK_BYTES == 0);
        self.0.trim_to_size(bytes);
    }
}
impl std::ops::Deref for IoBuffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
impl std::ops::DerefMut for IoBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0.as_bytes_mut()
    }
}

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Reads only; it must exist.
    Read,
    /// Reads and writes; it must exist.
    Write,
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

/// What a start finds out about the file system under a directory.
#[derive(Clone, Debug)]
pub struct FsFacts {
    /// May one fdatasync of a clean file stand for the completed writes to prewritten blocks of other files (design: barrier)?
    pub barrier_holds: bool,
    /// Why, or why not, in a sentence for the log.
    pub reason: String,
}

/// A disk. Cheap to clone; every clone is the same disk.
#[derive(Clone)]
pub enum Disk {
    /// The machine's.
    Ring,
    /// A simulated one.
    Sim(SimDisk),
}

/// A simulated disk: its own data, sizes, extents and directory entries, and what of them is durable.
#[derive(Clone)]
pub struct SimDisk;

/// An open file. Cheap to clone; every clone is the same open file, closed with the last.
#[derive(Clone)]
pub enum File {
    /// On the machine.
    Ring(Rc<()>),
    /// Simulated.
    Sim(Rc<()>),
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async)]
impl Disk {
    /// Opens a file for aligned, unbuffered I/O.
    pub async fn open(&self, path: &Path, mode: OpenMode) -> Result<File, DiskError> {
        unimplemented!()
    }
    /// Creates a directory and its missing parents, durably.
    pub async fn create_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// The entries of a directory, by name.
    pub async fn list(&self, path: &Path) -> Result<Vec<DirEntry>, DiskError> {
        unimplemented!()
    }
    /// Does a file or directory exist?
    pub async fn exists(&self, path: &Path) -> Result<bool, DiskError> {
        unimplemented!()
    }
    /// Renames within the file system; durable only after [`Disk::sync_dir`] of both parents.
    pub async fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Removes a file; durable only after [`Disk::sync_dir`] of its parent.
    pub async fn remove(&self, path: &Path) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Removes a directory and everything in it.
    pub async fn remove_dir_all(&self, path: &Path) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Makes the directory's entries durable.
    pub async fn sync_dir(&self, path: &Path) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// A small file whole.
    pub async fn read_small(&self, path: &Path) -> Result<Vec<u8>, DiskError> {
        unimplemented!()
    }
    /// Replaces a small file: temporary file, flush, rename, directory flush. Afterwards it is there whole, for good.
    pub async fn replace_small(&self, path: &Path, contents: &[u8]) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Free bytes for us on the file system under `path`.
    pub async fn free_bytes(&self, path: &Path) -> Result<u64, DiskError> {
        unimplemented!()
    }
    /// What the file system under `path` promises.
    pub async fn fs_facts(&self, path: &Path) -> Result<FsFacts, DiskError> {
        unimplemented!()
    }
    /// Takes an exclusive lock on the file `path` (created if need be), held until the process ends or the lock is dropped.
    pub async fn lock(&self, path: &Path) -> Result<DirLock, DiskError> {
        unimplemented!()
    }
}

/// Holds a data directory for this process.
pub struct DirLock;

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async)]
impl File {
    /// Writes the whole buffer at `position` (aligned). On return the device has it, but may hold it in its cache.
    /// The operation goes on to its end even if this future is dropped.
    pub async fn write_at(&self, buffer: Rc<IoBuffer>, position: u64) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Reads `bytes` from `position` (both aligned). Fewer come back only where the file ends.
    pub async fn read_at(&self, position: u64, bytes: usize) -> Result<IoBuffer, DiskError> {
        unimplemented!()
    }
    /// fdatasync: every write completed before is durable afterwards. An error is final (fsyncgate): never flush again.
    pub async fn flush(&self) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Reserves blocks up to `bytes` and extends the size to it; they read as zeros, and are not yet written.
    pub async fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// Cuts or extends the file to `bytes`.
    pub async fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        unimplemented!()
    }
    /// The file's size.
    pub async fn size(&self) -> Result<u64, DiskError> {
        unimplemented!()
    }
    /// Where it was opened.
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
}
