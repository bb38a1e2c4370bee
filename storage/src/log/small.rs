//! The small files beside the segments: written anew, never changed in place.
//!
//! *Which core*: the log's, in the background.
//! *Invariants*: each is there whole or as it was before; the directory's flush makes all of them durable together.
//! *Not here*: what is in them.
//! *Why* not `Disk::replace_small`: one flush of the directory for all of them, and a failed flush told apart from a failed write.

use std::path::Path;
use std::rc::Rc;

use futures_util::future::try_join_all;

use super::maintenance::StepError;
use crate::data_dir::TEMPORARY_SUFFIX;
use crate::disk::{BLOCK_BYTES, Disk, DiskError, DiskErrorReason, IoBuffer, OpenMode};

/// A file to be replaced: its name, and what is to be in it.
pub(super) type Replacement = (String, Vec<u8>);

/// Replaces them, durably.
pub(super) async fn replace(disk: &Disk, dir: &Path, files: Vec<Replacement>) -> Result<(), StepError> {
    if files.is_empty() {
        return Ok(());
    }
    try_join_all(files.iter().map(|(name, contents)| write(disk, dir, name, contents))).await?;
    for (name, _) in &files {
        disk.rename(&dir.join(temporary(name)), &dir.join(name)).await?;
    }
    disk.sync_dir(dir).await.map_err(StepError::Flush)
}

async fn write(disk: &Disk, dir: &Path, name: &str, contents: &[u8]) -> Result<(), StepError> {
    let path = dir.join(temporary(name));
    remove(disk, &path).await?;
    let file = disk.open(&path, OpenMode::CreateNew).await?;
    if !contents.is_empty() {
        let mut buffer = IoBuffer::zeroed(contents.len().next_multiple_of(BLOCK_BYTES));
        buffer[..contents.len()].copy_from_slice(contents);
        file.write_at(Rc::new(buffer), 0).await?;
        file.set_size(contents.len() as u64).await?;
    }
    file.flush().await.map_err(StepError::Flush)?;
    Ok(file.close().await?)
}

/// Removes a file that may not be there.
pub(super) async fn remove(disk: &Disk, path: &Path) -> Result<(), DiskError> {
    match disk.remove(path).await {
        Err(error) if error.reason != DiskErrorReason::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A small file, if it is there.
pub(super) async fn read(disk: &Disk, path: &Path) -> Result<Option<Vec<u8>>, DiskError> {
    match disk.read_small(path).await {
        Ok(contents) => Ok(Some(contents)),
        Err(error) if error.reason == DiskErrorReason::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn temporary(name: &str) -> String {
    format!("{name}{TEMPORARY_SUFFIX}")
}
