//! A data directory: whose it is, who may use it, and which partitions lie in it.
//!
//! *Which core*: opened once, by the executor that starts the process; [`DataDir::attach`] gives every shard its own view.
//! *Invariants*: one process per directory; a directory serves one broker of one cluster for ever; every name that this file
//! makes or changes is durable when the call returns; nothing that may hold records is removed before it was set aside.
//! *Not here*: what lies in a partition's directory (log), which partitions there should be (metadata).
//!
//! ```text
//! <data-dir>/meta.properties                 whose directory it is, as Kafka writes it
//!            .lock                           held while the process runs
//!            partitions/<topic>-<partition>/ partition.metadata, segments, indexes
//!            partitions/<...>.<unique>-stray | -delete          set aside
//!            epochs/, checkpoints/           see epoch_journal, checkpoints
//! ```

pub(crate) mod generations;
pub mod identity;
pub mod kafka_id;
pub mod partitions;

use crate::disk::{DirLock, Disk, DiskError, DiskErrorReason};
use identity::{Identity, Mismatch};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The end of the name of a file that is being written to replace another. One that a start finds is a leftover.
pub const TEMPORARY_SUFFIX: &str = ".tmp";

const META: &str = "meta.properties";

/// Why a data directory can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataDirError {
    /// The disk failed, or the lock is taken.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A relative path would mean another directory with another working directory.
    #[error("data directory {path} must be given as an absolute path", path = .0.display())]
    Relative(PathBuf),
    /// One data directory within another.
    #[error("data directory {inner} lies inside data directory {outer}: give each its own place",
        inner = inner.display(), outer = outer.display())]
    Nested {
        /// The one within.
        inner: PathBuf,
        /// The one around it.
        outer: PathBuf,
    },
    /// There are partitions, but nothing says whose.
    #[error("{path} holds partitions but no meta.properties: it is damaged, or not a data directory",
        path = .0.display())]
    Unnamed(PathBuf),
    /// It is somebody else's, or of another format.
    #[error("{path}: {mismatch}", path = path.display())]
    Mismatch {
        /// `meta.properties`.
        path: PathBuf,
        /// What does not fit.
        mismatch: Mismatch,
    },
    /// A topic whose name can't be a directory's.
    #[error("topic {0:?} has a name that no topic may have")]
    TopicName(String),
    /// Another topic of that name left its partition there; it must be set aside first.
    #[error("{path} holds a partition of another topic", path = .0.display())]
    Occupied(PathBuf),
}

/// A data directory of this process.
#[derive(Clone)]
pub struct DataDir {
    disk: Disk,
    path: PathBuf,
    identity: Identity,
    lock: Option<Rc<DirLock>>,
}

impl DataDir {
    /// Creates the directory, or checks that it is this broker's; takes it for this process until the last clone is dropped.
    /// `wanted.directory_id` is used only if the directory is new: afterwards see [`DataDir::identity`].
    pub async fn open(disk: &Disk, path: &Path, wanted: &Identity) -> Result<DataDir, DataDirError> {
        if !path.is_absolute() {
            return Err(DataDirError::Relative(path.to_owned()));
        }
        for outer in path.ancestors().skip(1) {
            if is_data_dir(disk, outer).await? {
                return Err(DataDirError::Nested { inner: path.to_owned(), outer: outer.to_owned() });
            }
        }
        disk.create_dir_all(path).await?;
        let lock = disk.lock(&path.join(".lock")).await?;
        let identity = match disk.read_small(&path.join(META)).await {
            Ok(text) => wanted.check(&text).map_err(|mismatch| mismatch_at(path, mismatch))?,
            Err(DiskError { reason: DiskErrorReason::NotFound, .. }) => {
                refuse_if_in_use(disk, path).await?;
                wanted.clone()
            }
            Err(error) => return Err(error.into()),
        };
        let dir = DataDir { disk: disk.clone(), path: path.to_owned(), identity, lock: Some(Rc::new(lock)) };
        dir.remove_leftovers().await?;
        dir.write_identity().await?;
        disk.create_dir_all(&dir.partitions_path()).await?;
        Ok(dir)
    }
    /// The view of another executor of the process that opened it, which holds the lock.
    pub fn attach(disk: &Disk, path: &Path, identity: &Identity) -> DataDir {
        DataDir { disk: disk.clone(), path: path.to_owned(), identity: identity.clone(), lock: None }
    }
    /// Records, durably, which cluster this broker has joined; refused if it is in another.
    pub async fn join_cluster(&mut self, cluster_id: &str) -> Result<(), DataDirError> {
        match &self.identity.cluster_id {
            Some(known) if known == cluster_id => Ok(()),
            Some(known) => {
                let mismatch = Mismatch::Cluster { found: known.clone(), wanted: cluster_id.to_owned() };
                Err(mismatch_at(&self.path, mismatch))
            }
            None => {
                self.identity.cluster_id = Some(cluster_id.to_owned());
                self.write_identity().await
            }
        }
    }

    /// Whose directory it is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// The disk it is on.
    pub fn disk(&self) -> &Disk {
        &self.disk
    }
    /// Does this view keep other processes out? The views of [`DataDir::attach`] don't.
    pub fn holds_lock(&self) -> bool {
        self.lock.is_some()
    }
    /// Where the partitions' directories are.
    pub fn partitions_path(&self) -> PathBuf {
        self.path.join("partitions")
    }

    /// Writes `meta.properties` unless it says the same already.
    async fn write_identity(&self) -> Result<(), DataDirError> {
        let (path, text) = (self.path.join(META), self.identity.to_properties());
        match self.disk.read_small(&path).await {
            Ok(found) if found == text.as_bytes() => Ok(()),
            Ok(_) | Err(DiskError { reason: DiskErrorReason::NotFound, .. }) => {
                Ok(self.disk.replace_small(&path, text.as_bytes()).await?)
            }
            Err(error) => Err(error.into()),
        }
    }
    /// Removes what replacements that never came about left in the directory itself.
    async fn remove_leftovers(&self) -> Result<(), DataDirError> {
        for entry in self.disk.list(&self.path).await? {
            if !entry.is_dir && entry.name.ends_with(TEMPORARY_SUFFIX) {
                self.disk.remove(&self.path.join(entry.name)).await?;
            }
        }
        Ok(())
    }
}

fn mismatch_at(dir: &Path, mismatch: Mismatch) -> DataDirError {
    DataDirError::Mismatch { path: dir.join(META), mismatch }
}

async fn is_data_dir(disk: &Disk, path: &Path) -> Result<bool, DataDirError> {
    Ok(disk.exists(&path.join(META)).await?)
}

/// A directory without `meta.properties` is new only if no partitions and no data directories lie in it.
async fn refuse_if_in_use(disk: &Disk, path: &Path) -> Result<(), DataDirError> {
    for entry in disk.list(path).await?.into_iter().filter(|entry| entry.is_dir) {
        let child = path.join(&entry.name);
        if is_data_dir(disk, &child).await? {
            return Err(DataDirError::Nested { inner: child, outer: path.to_owned() });
        }
        if entry.name == "partitions" && !disk.list(&child).await?.is_empty() {
            return Err(DataDirError::Unnamed(path.to_owned()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
