//! The machine's directories and small files: plain system calls on the executor's blocking pool.
//!
//! *Which core*: the calling executor's pool, off the core's own thread.
//! *Invariants*: what creates or replaces durably has flushed the file before the name, and the name before it returns.
//! *Not here*: reads and writes of logs (ring.rs).

use super::ring::{blocking, detached};
use super::{DirEntry, DiskError, DiskErrorReason, SMALL_FILE_BYTES_MAX, trust};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Runs `work` on the pool to its end, whatever becomes of the caller.
async fn on_pool<T: Send + 'static>(
    operation: &'static str,
    path: PathBuf,
    work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> Result<T, DiskError> {
    let blocked = blocking(move || work(&path).map_err(|error| DiskError::from_io(operation, &path, &error)));
    detached(blocked).await
}

pub(super) async fn create_dir_all(path: PathBuf) -> Result<(), DiskError> {
    on_pool("create directory", path, |path| {
        let missing: Vec<&Path> = path.ancestors().take_while(|ancestor| !ancestor.is_dir()).collect();
        for dir in missing.iter().rev() {
            match fs::create_dir(dir) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => sync(parent(dir))?,
            }
        }
        // One that existed may stem from a process that ended before it made it durable.
        if missing.is_empty() { sync(parent(path)) } else { Ok(()) }
    })
    .await
}

pub(super) async fn list(path: PathBuf) -> Result<Vec<DirEntry>, DiskError> {
    on_pool("list", path, |path| {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            // One that is removed while we look is no longer an entry.
            let metadata = match entry.metadata() {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                metadata => metadata?,
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = if metadata.is_file() { metadata.len() } else { 0 };
            entries.push(DirEntry { name, is_dir: metadata.is_dir(), bytes });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
    .await
}

pub(super) async fn exists(path: PathBuf) -> Result<bool, DiskError> {
    on_pool("look up", path, |path| fs::exists(path)).await
}

pub(super) async fn rename(from: PathBuf, to: PathBuf) -> Result<(), DiskError> {
    on_pool("rename", from, move |from| fs::rename(from, to)).await
}

pub(super) async fn remove(path: PathBuf) -> Result<(), DiskError> {
    on_pool("remove", path, |path| fs::remove_file(path)).await
}

pub(super) async fn remove_dir_all(path: PathBuf) -> Result<(), DiskError> {
    on_pool("remove directory", path, |path| fs::remove_dir_all(path)).await
}

pub(super) async fn sync_dir(path: PathBuf) -> Result<(), DiskError> {
    on_pool("flush directory", path, sync).await
}

pub(super) async fn read_small(path: PathBuf) -> Result<Vec<u8>, DiskError> {
    on_pool("read", path, |path| {
        let mut contents = Vec::new();
        fs::File::open(path)?.take(SMALL_FILE_BYTES_MAX + 1).read_to_end(&mut contents)?;
        if contents.len() as u64 > SMALL_FILE_BYTES_MAX {
            return Err(io::Error::other(format!("larger than {SMALL_FILE_BYTES_MAX} bytes")));
        }
        Ok(contents)
    })
    .await
}

pub(super) async fn replace_small(path: PathBuf, contents: Vec<u8>) -> Result<(), DiskError> {
    on_pool("replace", path, move |path| {
        let temporary = temporary(path);
        let mut file = fs::File::create(&temporary)?;
        if let Err(error) = file.write_all(&contents) {
            // What it took of a disk that is full is wanted elsewhere.
            fs::remove_file(&temporary)?;
            return Err(error);
        }
        trust::believed(file.sync_all(), path)?;
        fs::rename(&temporary, path)?;
        sync(parent(path))
    })
    .await
}

pub(super) async fn free_bytes(path: PathBuf) -> Result<u64, DiskError> {
    on_pool("free bytes", path, |path| {
        let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: an all-zero statvfs is a valid one, the path ends with a zero, and the call writes within the struct.
        let (outcome, facts) = unsafe {
            let mut facts: libc::statvfs = std::mem::zeroed();
            (libc::statvfs(path.as_ptr(), &raw mut facts), facts)
        };
        if outcome != 0 { Err(io::Error::last_os_error()) } else { Ok(facts.f_bavail * facts.f_frsize) }
    })
    .await
}

/// The lock is on the open file, so that a second attempt fails in the same process too.
pub(super) async fn lock(path: PathBuf) -> Result<fs::File, DiskError> {
    let take = move || {
        let failed = |error: &io::Error| DiskError::from_io("lock", &path, error);
        let mut options = fs::OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| failed(&error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The holder wrote its number; without one the message is only less helpful.
                let known = file.take(20).read_to_string(&mut holder).is_ok() && !holder.is_empty();
                let who = if known { format!("process {}", holder.trim()) } else { "another process".to_owned() };
                let reason = format!("held by {who}: only one broker may use a data directory");
                return Err(DiskError::new("lock", &path, DiskErrorReason::Io(reason)));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(&error)),
        }
        // In place: it takes no space of a disk that is full.
        match file.write_all_at(format!("{:<19}\n", std::process::id()).as_bytes(), 0) {
            Err(error) if error.kind() != ErrorKind::StorageFull => Err(failed(&error)),
            Ok(()) | Err(_) => Ok(file),
        }
    };
    detached(blocking(take)).await
}

/// fsync, not fdatasync: some file systems count a new name among what fdatasync may leave out.
fn sync(directory: &Path) -> io::Result<()> {
    trust::believed(fs::File::open(directory)?.sync_all(), directory)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Where a replacement is written before it is renamed.
pub(super) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
