//! Files that one process start writes and the next reads: `<generation>-<number>`, a generation per start, a number per shard.
//!
//! *Which core*: listed by the executor that starts the process; each shard writes its own.
//! *Invariants*: a start reads every generation and writes only a new one, so that what an earlier one wrote, with whatever
//! number of shards, is untouched until everything in it has been written again.
//! *Not here*: what the files hold (epoch_journal, checkpoints).

use crate::disk::{Disk, DiskError};
use std::path::{Path, PathBuf};

/// A file's place in the order of starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileNumber {
    /// Which start wrote it, from 1.
    pub(crate) generation: u64,
    /// Which of that start's files it is: its shard then.
    pub(crate) number: u32,
}

impl FileNumber {
    pub(crate) fn path(self, dir: &Path) -> PathBuf {
        dir.join(format!("{:020}-{:04}", self.generation, self.number))
    }
    fn parse(name: &str) -> Option<FileNumber> {
        let (generation, number) = name.split_once('-')?;
        Some(FileNumber { generation: generation.parse().ok()?, number: number.parse().ok()? })
    }
}

/// The files in `dir`, oldest generation first. Creates `dir`, and removes leftovers of replacements: for a start, before anything
/// is written there.
pub(crate) async fn list(disk: &Disk, dir: &Path) -> Result<Vec<FileNumber>, DiskError> {
    disk.create_dir_all(dir).await?;
    let mut files = Vec::new();
    for entry in disk.list(dir).await? {
        match FileNumber::parse(&entry.name) {
            Some(file) => files.push(file),
            None if entry.name.ends_with(super::TEMPORARY_SUFFIX) => disk.remove(&dir.join(entry.name)).await?,
            None => {}
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The generation after all of `files`.
pub(crate) fn next(files: &[FileNumber]) -> u64 {
    files.iter().map(|file| file.generation).max().unwrap_or(0) + 1
}

/// Removes the files of every generation before `generation`: all that they held has been written again, durably. Replacements that
/// are being written meanwhile are left alone.
pub(crate) async fn remove_before(disk: &Disk, dir: &Path, generation: u64) -> Result<(), DiskError> {
    let found = disk.list(dir).await?;
    let files = found.iter().filter_map(|entry| FileNumber::parse(&entry.name));
    for file in files.filter(|file| file.generation < generation) {
        disk.remove(&file.path(dir)).await?;
    }
    disk.sync_dir(dir).await
}
