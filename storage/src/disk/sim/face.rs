//! The simulated disk as its users see it: the same operations as the machine's, each a future over one or more events.
//!
//! *Which core*: the simulation's one thread.
//! *Invariants*: an operation is in flight from its first poll, and then goes on whoever waits. A handle of an earlier process
//! fails with "gone"; what was in flight when the process ended is never answered. Operations that the system offers only in
//! parts (replacing a small file, creating a path) are made of those parts here too, so that a crash can fall between them.

use super::super::{
    BLOCK_BYTES, DirEntry, DiskError, DiskErrorReason, FsFacts, IoBuffer, OpenMode, SMALL_FILE_BYTES_MAX,
};
use super::SimDisk;
use super::faults::FaultOn;
use super::tree::NodeId;
use super::world::{Ending, World};
use crate::disk::dir::temporary;
use crate::disk::trust;
use std::cell::RefCell;
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};

type Outcome<T> = Result<T, DiskErrorReason>;

/// Where an operation leaves its outcome.
struct Slot<T> {
    outcome: Option<Outcome<T>>,
    waker: Option<Waker>,
}

/// An operation's name, path and size.
struct Asked<'a> {
    on: FaultOn,
    operation: &'static str,
    path: &'a Path,
    node: Option<NodeId>,
    bytes: usize,
}

impl SimDisk {
    /// Puts `work` in flight and waits for its outcome. A fault keeps it from running at all, unless it has parts to leave.
    async fn run<T: 'static>(
        &self,
        asked: Asked<'_>,
        life: u64,
        work: impl FnOnce(&mut World, Ending) -> Outcome<T> + 'static,
    ) -> Result<T, DiskError> {
        let error = |reason| DiskError::new(asked.operation, asked.path, reason);
        let slot = Rc::new(RefCell::new(Slot { outcome: None, waker: None }));
        {
            let mut world = self.world.borrow_mut();
            if world.life != life {
                return Err(error(DiskErrorReason::Io("gone: the machine was restarted".to_owned())));
            }
            let (kept, on) = (Rc::clone(&slot), asked.on);
            let ended = Box::new(move |world: &mut World, ending: Ending, fault: Option<DiskErrorReason>| {
                let leaves_parts = matches!(on, FaultOn::Write | FaultOn::Flush);
                let outcome = match fault {
                    Some(reason) if !leaves_parts => Err(reason),
                    Some(reason) => work(world, ending).and(Err(reason)),
                    None => work(world, ending),
                };
                let mut slot = kept.borrow_mut();
                slot.outcome = Some(outcome);
                slot.waker.take()
            });
            world.submit(on, asked.path.to_owned(), asked.node, asked.bytes, ended);
        }
        let waited = poll_fn(|context| {
            let mut slot = slot.borrow_mut();
            match slot.outcome.take() {
                Some(outcome) => Poll::Ready(outcome),
                None => {
                    slot.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        waited.await.map_err(error)
    }
    /// As [`SimDisk::run`], for what has a name and no handle.
    async fn run_named<T: 'static>(
        &self,
        on: FaultOn,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce(&mut World) -> Outcome<T> + 'static,
    ) -> Result<T, DiskError> {
        let life = self.world.borrow().life;
        self.run(Asked { on, operation, path, node: None, bytes: 0 }, life, |world, _| work(world)).await
    }

    pub(in crate::disk) async fn open(&self, path: PathBuf, mode: OpenMode) -> Result<SimFile, DiskError> {
        let life = self.world.borrow().life;
        let wanted = path.clone();
        let opened = self.run_named(FaultOn::Name, "open", &path, move |world| {
            let node = match mode {
                OpenMode::CreateNew => world.tree.create(&wanted)?,
                OpenMode::Read | OpenMode::Write | OpenMode::TakeOver => world.tree.resolve(&wanted)?,
            };
            if mode == OpenMode::TakeOver && !world.options.bug_take_over_early {
                world.land_all(node);
            }
            world.tree.file(node)?;
            world.tree.opened(node);
            Ok(node)
        });
        let node = opened.await?;
        Ok(SimFile { disk: self.clone(), node, life, path, writable: mode != OpenMode::Read })
    }
    pub(in crate::disk) async fn create_dir_all(&self, path: PathBuf) -> Result<(), DiskError> {
        let mut missing = Vec::new();
        for ancestor in path.ancestors() {
            if self.exists(ancestor.to_owned()).await? {
                break;
            }
            missing.push(ancestor);
        }
        for dir in missing.iter().rev() {
            let wanted = dir.to_path_buf();
            let made = self.run_named(FaultOn::Name, "create directory", dir, move |world| {
                match world.tree.make_dir(&wanted) {
                    // Another may have made it meanwhile.
                    Err(_) if world.tree.list(&wanted).is_ok() => Ok(()),
                    outcome => outcome,
                }
            });
            made.await?;
            self.sync_dir(parent(dir)).await?;
        }
        if missing.is_empty() { self.sync_dir(parent(&path)).await } else { Ok(()) }
    }
    pub(in crate::disk) async fn list(&self, path: PathBuf) -> Result<Vec<DirEntry>, DiskError> {
        let wanted = path.clone();
        self.run_named(FaultOn::Read, "list", &path, move |world| world.tree.list(&wanted)).await
    }
    pub(in crate::disk) async fn exists(&self, path: PathBuf) -> Result<bool, DiskError> {
        let wanted = path.clone();
        self.run_named(FaultOn::Read, "look up", &path, move |world| match world.tree.resolve(&wanted) {
            Ok(_) => Ok(true),
            Err(DiskErrorReason::NotFound) => Ok(false),
            Err(reason) => Err(reason),
        })
        .await
    }
    pub(in crate::disk) async fn rename(&self, from: PathBuf, to: PathBuf) -> Result<(), DiskError> {
        let wanted = from.clone();
        self.run_named(FaultOn::Name, "rename", &from, move |world| world.tree.rename(&wanted, &to)).await
    }
    pub(in crate::disk) async fn remove(&self, path: PathBuf) -> Result<(), DiskError> {
        let wanted = path.clone();
        self.run_named(FaultOn::Name, "remove", &path, move |world| world.tree.remove(&wanted)).await
    }
    pub(in crate::disk) async fn remove_dir_all(&self, path: PathBuf) -> Result<(), DiskError> {
        let wanted = path.clone();
        self.run_named(FaultOn::Name, "remove directory", &path, move |world| world.tree.remove_tree(&wanted)).await
    }
    pub(in crate::disk) async fn sync_dir(&self, path: PathBuf) -> Result<(), DiskError> {
        let wanted = path.clone();
        let upto = self.world.borrow().tree.sequence();
        self.run_named(FaultOn::SyncDir, "flush directory", &path, move |world| {
            if world.options.bug_skip_flush {
                return world.tree.list(&wanted).map(drop);
            }
            world.tree.sync_dir(&wanted, upto)
        })
        .await?;
        self.check_trust("flush directory", &path)
    }
    /// A flush has succeeded, in vain if another one has failed.
    fn check_trust(&self, operation: &'static str, path: &Path) -> Result<(), DiskError> {
        if self.world.borrow().flush_failure.is_some() {
            return Err(DiskError::new(operation, path, DiskErrorReason::Io(trust::LOST.to_owned())));
        }
        Ok(())
    }
    pub(in crate::disk) async fn read_small(&self, path: PathBuf) -> Result<Vec<u8>, DiskError> {
        let file = self.open(path, OpenMode::Read).await?;
        let bytes = file.size().await?;
        if bytes == 0 {
            return Ok(Vec::new());
        }
        if bytes > SMALL_FILE_BYTES_MAX {
            let reason = DiskErrorReason::Io(format!("larger than {SMALL_FILE_BYTES_MAX} bytes"));
            return Err(DiskError::new("read", &file.path, reason));
        }
        Ok(file.read_at(0, (bytes as usize).next_multiple_of(BLOCK_BYTES)).await?.to_vec())
    }
    pub(in crate::disk) async fn replace_small(&self, path: PathBuf, contents: &[u8]) -> Result<(), DiskError> {
        let temporary = temporary(&path);
        match self.remove(temporary.clone()).await {
            Ok(()) | Err(DiskError { reason: DiskErrorReason::NotFound, .. }) => {}
            Err(error) => return Err(error),
        }
        let file = self.open(temporary.clone(), OpenMode::CreateNew).await?;
        if !contents.is_empty() {
            let mut buffer = IoBuffer::zeroed(contents.len().next_multiple_of(BLOCK_BYTES));
            buffer[..contents.len()].copy_from_slice(contents);
            if let Err(error) = file.write_at(Rc::new(buffer), 0).await {
                self.remove(temporary).await?;
                return Err(error);
            }
            file.set_size(contents.len() as u64).await?;
        }
        file.flush().await?;
        self.rename(temporary, path.clone()).await?;
        self.sync_dir(parent(&path)).await
    }
    pub(in crate::disk) async fn free_bytes(&self, path: PathBuf) -> Result<u64, DiskError> {
        self.run_named(FaultOn::Read, "free bytes", &path, move |world| Ok(world.free_bytes())).await
    }
    pub(in crate::disk) async fn fs_facts(&self, path: PathBuf) -> Result<FsFacts, DiskError> {
        let wanted = path.clone();
        self.run_named(FaultOn::Read, "look up", &path, move |world| {
            world.tree.list(&wanted)?;
            let barrier_holds = world.options.barrier_holds;
            Ok(FsFacts { barrier_holds, reason: "simulated".to_owned() })
        })
        .await
    }
    pub(in crate::disk) async fn lock(&self, path: PathBuf) -> Result<SimLock, DiskError> {
        let life = self.world.borrow().life;
        let wanted = path.clone();
        let taken = self.run_named(FaultOn::Name, "lock", &path, move |world| {
            let node = match world.tree.resolve(&wanted) {
                Ok(node) => node,
                Err(_) => world.tree.create(&wanted)?,
            };
            if world.locks.insert(node) {
                return Ok(node);
            }
            let text = "held by another process: only one broker may use a data directory";
            Err(DiskErrorReason::Io(text.to_owned()))
        });
        let node = taken.await?;
        Ok(SimLock { disk: self.clone(), node, life })
    }
    pub(in crate::disk) async fn flush_failed(&self) -> String {
        poll_fn(|context| {
            let mut world = self.world.borrow_mut();
            if let Some(what) = &world.flush_failure {
                return Poll::Ready(what.clone());
            }
            world.failure_waiters.push(context.waker().clone());
            Poll::Pending
        })
        .await
    }
    pub(in crate::disk) async fn drained(&self) {
        poll_fn(|context| {
            let mut world = self.world.borrow_mut();
            if world.is_idle() {
                return Poll::Ready(());
            }
            world.drain_waiters.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// An open file of a simulated disk.
pub struct SimFile {
    disk: SimDisk,
    node: NodeId,
    life: u64,
    path: PathBuf,
    writable: bool,
}

impl SimFile {
    async fn run<T: 'static>(
        &self,
        on: FaultOn,
        operation: &'static str,
        bytes: usize,
        work: impl FnOnce(&mut World, Ending) -> Outcome<T> + 'static,
    ) -> Result<T, DiskError> {
        if !self.writable && matches!(on, FaultOn::Write | FaultOn::Allocate) {
            return Err(DiskError::new(operation, &self.path, DiskErrorReason::Io("Bad file descriptor".to_owned())));
        }
        let asked = Asked { on, operation, path: &self.path, node: Some(self.node), bytes };
        self.disk.run(asked, self.life, work).await
    }
    pub(in crate::disk) fn path(&self) -> &Path {
        &self.path
    }
    pub(in crate::disk) async fn write_at(&self, buffer: Rc<IoBuffer>, position: u64) -> Result<(), DiskError> {
        let node = self.node;
        self.run(FaultOn::Write, "write", buffer.len(), move |world, ending| {
            world.write(node, position, &buffer, ending)
        })
        .await
    }
    pub(in crate::disk) async fn read_at(&self, position: u64, bytes: usize) -> Result<IoBuffer, DiskError> {
        let node = self.node;
        self.run(FaultOn::Read, "read", bytes, move |world, _| {
            let mut buffer = IoBuffer::zeroed(bytes);
            let read = world.tree.file(node)?.current().read(position, &mut buffer);
            buffer.cut(read);
            Ok(buffer)
        })
        .await
    }
    pub(in crate::disk) async fn flush(&self) -> Result<(), DiskError> {
        let node = self.node;
        let upto = self.disk.world.borrow().tree.sequence();
        self.run(FaultOn::Flush, "flush", 0, move |world, ending| {
            world.flush(node, upto, ending);
            Ok(())
        })
        .await?;
        self.disk.check_trust("flush", &self.path)
    }
    pub(in crate::disk) async fn allocate(&self, bytes: u64) -> Result<(), DiskError> {
        let node = self.node;
        self.run(FaultOn::Allocate, "allocate", 0, move |world, _| world.allocate(node, bytes)).await
    }
    pub(in crate::disk) async fn set_size(&self, bytes: u64) -> Result<(), DiskError> {
        let node = self.node;
        self.run(FaultOn::Allocate, "set size", 0, move |world, _| {
            let (file, sequence) = world.tree.file_mut(node)?;
            file.resize(sequence, bytes);
            Ok(())
        })
        .await
    }
    pub(in crate::disk) async fn size(&self) -> Result<u64, DiskError> {
        let node = self.node;
        self.run(FaultOn::Read, "size", 0, move |world, _| Ok(world.tree.file(node)?.current().bytes)).await
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut world = self.disk.world.borrow_mut();
        if world.life == self.life {
            world.tree.closed(self.node);
        }
    }
}

/// Holds a simulated lock until it is dropped or its process ends.
pub struct SimLock {
    disk: SimDisk,
    node: NodeId,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = self.disk.world.borrow_mut();
        if world.life == self.life {
            world.locks.remove(&self.node);
        }
    }
}
