//! A turn: the writes of all dirty logs, and one flush that makes them durable.
//!
//! *Which core*: a shard's; one turn at a time.
//! *Invariants*: the flush is issued when every write has completed, never before; a log's outcome says Ok only if both did;
//! the barrier stands for files of its own device only, wherever a partition's directory leads.
//! *Not here*: which logs are dirty, when a turn begins (the shard).
//! *Why* one flush for all: on prewritten blocks of a file system that overwrites in place, a flush of any clean file of the
//! device covers the completed writes to every other one (design: barrier). 1,000 logs: 7 ms instead of 34.

use std::path::Path;

use futures_util::future::join_all;

use crate::disk::{BLOCK_BYTES, Disk, DiskError, DiskErrorReason, File, IoBuffer, OpenMode};
use crate::log::{FlushPlan, LogOutcome};
use std::rc::Rc;

/// How a turn is made durable: by one flush of a file that never changes, where the file system allows it.
#[derive(Clone)]
pub struct Barrier {
    file: Option<File>,
    reason: String,
}

impl Barrier {
    /// Finds out what the file system under `data_dir` promises, and opens (or makes) the barrier file `<data-dir>/barrier`.
    pub async fn open(disk: &Disk, data_dir: &Path) -> Result<Barrier, DiskError> {
        let facts = disk.fs_facts(data_dir).await?;
        if !facts.barrier_holds {
            return Ok(Barrier { file: None, reason: facts.reason });
        }
        let path = data_dir.join("barrier");
        let file = match disk.open(&path, OpenMode::Write).await {
            Err(error) if error.reason == DiskErrorReason::NotFound => {
                match disk.open(&path, OpenMode::CreateNew).await {
                    // Another shard of this process was faster.
                    Err(_) => disk.open(&path, OpenMode::Write).await?,
                    created => created?,
                }
            }
            opened => opened?,
        };
        // Written and flushed at every start: it is clean from here on, whatever a crash left of it.
        file.write_at(Rc::new(IoBuffer::zeroed(BLOCK_BYTES)), 0).await?;
        file.flush().await?;
        disk.sync_dir(data_dir).await?;
        Ok(Barrier { file: Some(file), reason: facts.reason })
    }
    /// A turn flushes every file that it wrote.
    pub fn per_file(reason: &str) -> Barrier {
        Barrier { file: None, reason: reason.to_owned() }
    }
    /// Does one flush stand for all?
    pub fn holds(&self) -> bool {
        self.file.is_some()
    }
    /// Why, or why not, in a sentence for the log.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// What became of a turn.
pub struct TurnOutcome {
    /// One for each plan, in their order.
    pub logs: Vec<LogOutcome>,
    /// A flush failed. Nothing that was not flushed before can be believed any more, of any log: **the process must end**.
    pub flush_error: Option<DiskError>,
    /// Bytes written.
    pub bytes: u64,
    /// Was the barrier used, for at least one log?
    pub barrier: bool,
    /// Files that needed a flush of their own.
    pub own_flushes: usize,
}

/// A turn whose writes have completed; nothing of it is durable before [`Written::flush`].
pub struct Written {
    logs: Vec<crate::log::FlushWritten>,
    bytes: u64,
}

/// A whole turn: [`write()`], then [`Written::flush`].
pub async fn flush(barrier: &Barrier, plans: Vec<FlushPlan>) -> TurnOutcome {
    write(plans).await.flush(barrier).await
}

/// Writes everything, side by side, and waits for all of it.
pub async fn write(plans: Vec<FlushPlan>) -> Written {
    let bytes = plans.iter().map(|plan| plan.bytes() as u64).sum();
    Written { logs: join_all(plans.into_iter().map(FlushPlan::write)).await, bytes }
}

impl Written {
    /// Makes durable what was written: one flush of the barrier for what lies in prewritten space, one of each other file.
    pub async fn flush(self, barrier: &Barrier) -> TurnOutcome {
        let device = barrier.file.as_ref().map(File::device);
        let one_flush = barrier.file.as_ref().filter(|_| self.logs.iter().any(|log| log.waits_for_barrier(device)));
        let each: Vec<_> = self.logs.iter().filter(|log| log.needs_own_flush(device)).collect();
        let own_flushes = each.len();
        let flush_one = async {
            match one_flush {
                Some(file) => file.flush().await,
                None => Ok(()),
            }
        };
        let flush_each = join_all(each.iter().map(|log| log.flush()));
        let (one, each) = futures_util::join!(flush_one, flush_each);
        let flush_error = std::iter::once(one).chain(each).find_map(Result::err);
        let flushed = flush_error.clone().map_or(Ok(()), Err);
        TurnOutcome {
            barrier: one_flush.is_some(),
            own_flushes,
            bytes: self.bytes,
            logs: self.logs.into_iter().map(|log| log.outcome(flushed.clone())).collect(),
            flush_error,
        }
    }
}
