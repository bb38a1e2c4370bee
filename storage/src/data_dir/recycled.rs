//! Segment files that retention is done with, kept to be used again: their blocks are written already.
//!
//! *Which core*: one per shard; each has numbers of its own, so that shards never meet.
//! *Invariants*: bounded in files and bytes; a file enters and leaves by renames that are durable when the call returns, so that
//! no crash leaves two names for one file. A file keeps its stale contents: **whoever takes one zeroes it before use**.
//! *Not here*: zeroing (the log prewrites).
//! *Why* no shard numbers on disk: a file's number modulo the shard count says whose it is, whatever the count was before.

use super::DataDir;
use crate::disk::DiskError;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// What a shard may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecycledBounds {
    /// Files.
    pub count_max: usize,
    /// Bytes in all.
    pub bytes_max: u64,
}

/// A shard's recycled files.
pub struct RecycledFiles {
    dir: DataDir,
    bounds: RecycledBounds,
    kept: VecDeque<(u64, u64)>,
    next_number: u64,
    stride: u64,
}

impl RecycledFiles {
    /// The files that are this shard's; what is beyond the bounds is removed.
    pub async fn open(
        dir: &DataDir,
        shard: u64,
        shards: u64,
        bounds: RecycledBounds,
    ) -> Result<RecycledFiles, DiskError> {
        assert!(shard < shards, "shard {shard} of {shards}");
        let path = dir.path().join("recycled");
        dir.disk().create_dir_all(&path).await?;
        let mut files =
            RecycledFiles { dir: dir.clone(), bounds, kept: VecDeque::new(), next_number: shard, stride: shards };
        for entry in dir.disk().list(&path).await? {
            let Ok(number) = entry.name.parse::<u64>() else { continue };
            if number % shards != shard {
                continue;
            }
            files.next_number = files.next_number.max(number + shards);
            if files.has_room(entry.bytes) {
                files.kept.push_back((number, entry.bytes));
            } else {
                dir.disk().remove(&path.join(entry.name)).await?;
            }
        }
        Ok(files)
    }
    /// Files kept now.
    pub fn count(&self) -> usize {
        self.kept.len()
    }
    /// Takes over the file at `path` of that size; removes it if there is no room. Its name is gone, durably, afterwards.
    pub async fn put(&mut self, path: &Path, bytes: u64) -> Result<(), DiskError> {
        let disk = self.dir.disk().clone();
        let parent = path.parent().expect("a file has a directory");
        if !self.has_room(bytes) {
            disk.remove(path).await?;
            return disk.sync_dir(parent).await;
        }
        let number = self.next_number;
        self.next_number += self.stride;
        disk.rename(path, &self.path_of(number)).await?;
        disk.sync_dir(&self.path()).await?;
        disk.sync_dir(parent).await?;
        self.kept.push_back((number, bytes));
        Ok(())
    }
    /// Gives a file the name `to`, durably; its size, or `None` if there is none to give. It holds stale bytes.
    pub async fn take(&mut self, to: &Path) -> Result<Option<u64>, DiskError> {
        let Some((number, bytes)) = self.kept.pop_front() else { return Ok(None) };
        let disk = self.dir.disk().clone();
        disk.rename(&self.path_of(number), to).await?;
        disk.sync_dir(to.parent().expect("a file has a directory")).await?;
        disk.sync_dir(&self.path()).await?;
        Ok(Some(bytes))
    }

    fn has_room(&self, bytes: u64) -> bool {
        let kept_bytes: u64 = self.kept.iter().map(|(_, bytes)| bytes).sum();
        self.kept.len() < self.bounds.count_max && kept_bytes + bytes <= self.bounds.bytes_max
    }
    fn path(&self) -> PathBuf {
        self.dir.path().join("recycled")
    }
    fn path_of(&self, number: u64) -> PathBuf {
        self.path().join(number.to_string())
    }
}
