//! The simulated disk: its own data, sizes, extents and directory entries, and what of them is durable.
//!
//! Contract (bodies are being written):

use super::{DirEntry, DiskError, FsFacts, IoBuffer, OpenMode};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A simulated disk of one machine.
#[derive(Clone)]
pub struct SimDisk;

/// An open file of a simulated disk.
pub struct SimFile;

/// Holds a simulated lock.
pub struct SimLock;

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async, missing_docs)]
impl SimDisk {
    pub(super) async fn open(&self, path: PathBuf, mode: OpenMode) -> Result<SimFile, DiskError> {
        unimplemented!()
    }
    pub(super) async fn create_dir_all(&self, path: PathBuf) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn list(&self, path: PathBuf) -> Result<Vec<DirEntry>, DiskError> {
        unimplemented!()
    }
    pub(super) async fn exists(&self, path: PathBuf) -> Result<bool, DiskError> {
        unimplemented!()
    }
    pub(super) async fn rename(&self, from: PathBuf, to: PathBuf) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn remove(&self, path: PathBuf) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn remove_dir_all(&self, path: PathBuf) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn sync_dir(&self, path: PathBuf) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn read_small(&self, path: PathBuf) -> Result<Vec<u8>, DiskError> {
        unimplemented!()
    }
    pub(super) async fn replace_small(&self, path: PathBuf, contents: &[u8]) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn free_bytes(&self, path: PathBuf) -> Result<u64, DiskError> {
        unimplemented!()
    }
    pub(super) async fn fs_facts(&self, path: PathBuf) -> Result<FsFacts, DiskError> {
        unimplemented!()
    }
    pub(super) async fn lock(&self, path: PathBuf) -> Result<SimLock, DiskError> {
        unimplemented!()
    }
    pub(super) async fn drained(&self) {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async, missing_docs)]
impl SimFile {
    pub(super) async fn write_at(&self, buffer: Rc<IoBuffer>, position: u64) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn read_at(&self, position: u64, bytes: usize) -> Result<IoBuffer, DiskError> {
        unimplemented!()
    }
    pub(super) async fn flush(&self) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        unimplemented!()
    }
    pub(super) async fn size(&self) -> Result<u64, DiskError> {
        unimplemented!()
    }
    pub(super) fn path(&self) -> &Path {
        unimplemented!()
    }
}
