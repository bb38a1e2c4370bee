//! One partition's log on this broker: appended, flushed with the shard's turn, read, cut, recovered.
//!
//! *Which core*: the shard's that owns the partition; nothing here is shared with another.
//! *Invariants*: `log_start_offset <= flushed_end_offset <= log_end_offset`, asserted after every change; offsets are dense; one
//! write in flight at most; what follows the tail on disk is zeros; after a failed write nothing is appended or read any more.
//! *Not here*: the high watermark, acknowledgements, who leads (`src/partition`); when to flush (the shard's turn).
//! *Why* plan, execute, apply: a plan is made in a short borrow of the log and owns what it needs, so no borrow lives across an
//! await, and reads, flushes and maintenance of one log run beside each other.
//!
//! ```text
//! append -> tail chunk --flush_plan--> turn::flush (all logs' writes, one barrier) --apply_flush--> flushed_end_offset
//! read_plan -> tail chunks, or segment files through the read cache, each batch checked -> records
//! ```
//!
//! **Driving a log.** After [`Log::apply_flush`] and after [`Log::apply_maintenance`]: if [`Log::needs_flush`], it belongs into
//! the next turn. Whoever begins executing a plan drives it to its end.

mod append;
mod cache;
mod config;
mod cut;
mod file;
mod flush;
mod index_files;
mod maintenance;
mod name;
mod offline;
mod open;
mod prewrite;
mod read;
mod read_disk;
mod recover;
mod rest;
mod retain;
mod roll;
mod scan;
mod seal;
mod segment;
mod settle;
mod small;
mod sparse;
mod tail;
#[cfg(test)]
mod tests;
mod times;
mod truncate;

pub use append::{AppendError, Appended, FollowError};
pub use cache::ReadCache;
pub use config::{Bugs, LogConfig};
pub(crate) use flush::FlushWritten;
pub use flush::{FlushPlan, LogOutcome};
pub use maintenance::{MaintenanceDone, MaintenanceError, MaintenancePlan};
pub use open::{KnownPoints, OpenError, Opened, RecoveryReport};
pub use read::{ReadDone, ReadError, ReadPlan};
pub use read_disk::ReadAhead;
pub use times::{FoundOffset, TimePlan};
pub use truncate::{TruncateDone, TruncateError, TruncatePlan};

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::Path;
use std::rc::Rc;

use crate::disk::{Disk, DiskError};
use crate::epochs::EpochCache;
use crate::ids::LeaderEpoch;
use crate::producers::ProducerTable;
use file::SegmentFile;
use prewrite::Ahead;
use read::Cursor;
use retain::Retention;
use segment::Segment;
use settle::Settled;
use tail::Tail;

/// A partition's log.
pub struct Log {
    disk: Disk,
    cache: ReadCache,
    dir: Rc<Path>,
    config: LogConfig,
    /// Oldest first; never empty: the last is appended to.
    segments: VecDeque<Segment>,
    /// The next segment's file, ready to be taken.
    prepared: Option<Rc<SegmentFile>>,
    tail: Tail,
    settled: Settled,
    retention: Retention,
    /// Where readers of older records went on last.
    cursors: VecDeque<Cursor>,
    log_start_offset: i64,
    flushed_end_offset: i64,
    log_end_offset: i64,
    producers: ProducerTable,
    epochs: EpochCache,
    offline: Option<DiskError>,
    /// The last flush found no space: nothing is appended until there is some.
    no_space: bool,
    /// No step of maintenance before this time: there was no space.
    no_space_until_ms: Option<i64>,
    /// When it last had something to flush.
    last_used_ms: i64,
    /// Below it recovery need not look.
    recovery_point: i64,
    /// May a segment be to be named, sealed, dated or removed?
    has_chores: bool,
    flush_in_flight: bool,
    maintenance_in_flight: bool,
    /// Where it is being cut.
    truncating_to: Option<i64>,
    ahead: Ahead,
}

thread_local!(static NEXT_KEY: Cell<u64> = const { Cell::new(1) });

/// A key for a segment file, new on this thread: a cache never takes one file for another.
fn next_key() -> u64 {
    NEXT_KEY.replace(NEXT_KEY.get() + 1)
}

/// Where a log stands: `log_start_offset <= flushed_end_offset <= log_end_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// First offset that there is.
    pub log_start_offset: i64,
    /// First offset that is not known to be durable.
    pub flushed_end_offset: i64,
    /// First offset that is not there.
    pub log_end_offset: i64,
}

impl Log {
    /// Where it stands.
    pub fn offsets(&self) -> Offsets {
        Offsets {
            log_start_offset: self.log_start_offset,
            flushed_end_offset: self.flushed_end_offset,
            log_end_offset: self.log_end_offset,
        }
    }
    /// Its idempotent producers.
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }
    /// Its leader epochs.
    pub fn epochs(&self) -> &EpochCache {
        &self.epochs
    }
    /// `epoch` writes from `start_offset` on. The caller has made that durable (epoch journal) before anything is appended.
    pub fn assign_epoch(&mut self, epoch: LeaderEpoch, start_offset: i64) {
        self.epochs.assign(epoch, start_offset);
    }
    /// Log, producers and epochs are durable below this offset: what a checkpoint may say.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point
    }
    /// The error that took it offline, if one did.
    pub fn is_offline(&self) -> Option<&DiskError> {
        self.offline.as_ref()
    }
    /// Where it lies.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// Its limits.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }
    /// Changes its limits, from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    fn active(&self) -> &Segment {
        self.segments.back().expect("a log has a segment")
    }
    /// The index of the segment that holds `offset`, or is to hold it.
    fn segment_of(&self, offset: i64) -> usize {
        self.segments.partition_point(|segment| segment.base_offset <= offset).saturating_sub(1)
    }
    /// The end offset of the segment at `index`.
    fn segment_end_offset(&self, index: usize) -> i64 {
        self.segments.get(index + 1).map_or(self.log_end_offset, |next| next.base_offset)
    }
    fn assert_ladder(&self) {
        let Offsets { log_start_offset, flushed_end_offset, log_end_offset } = self.offsets();
        assert!(
            log_start_offset <= flushed_end_offset && flushed_end_offset <= log_end_offset,
            "{}: log start {log_start_offset}, flushed end {flushed_end_offset}, log end {log_end_offset}",
            self.dir.display(),
        );
    }
}
