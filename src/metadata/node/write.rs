//! The writer: carries records to the raft log, one write and one flush at a time, and keeps the log short by snapshots.
//!
//! *Which core*: metadata; one task owns the log's file.
//! *Invariants*: jobs are done in the order they came; raft is told of a record only after its flush; all that waits goes into
//! the next write, up to [`WRITE_BYTES_MAX`]. One snapshot is under way at most, and one only when something was applied
//! since the last (lesson 56).
//! *Not here*: what is written (machine, raft_log).
//! *Why* want of space is waited out: nothing was written, so nothing is in doubt; requests wait, and beyond a bound are
//! refused. Any other error ends the node: a failed flush may have lost writes that had completed.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use raft::eraftpb::Message;
use storage::disk::{DiskError, DiskErrorReason};

use super::stats::add;
use super::{Node, NodeFailure, NodeOptions};
use crate::metadata::image::Image;
use crate::metadata::raft_log::record::{LogRecord, LogStart, record_bytes};
use crate::metadata::raft_log::tail::SnapshotImage;
use crate::metadata::raft_log::wal::Wal;
use crate::metadata::raft_log::{Identity, snapshot};

/// Records are gathered into one write up to so many bytes; a larger one goes alone.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// How long a full disk is left alone before it is asked again.
const NO_SPACE_WAIT: Duration = Duration::from_millis(500);

/// Something to be done in the log.
pub(super) enum Job {
    /// One `Ready`: make it durable, then tell raft, then send what rests on it.
    Record {
        /// raft's number of it.
        number: u64,
        /// Its bytes; `None` where nothing has to be durable.
        payload: Option<Vec<u8>>,
        /// Messages that promise it.
        messages: Vec<Message>,
    },
    /// A leader's snapshot in place of the log.
    Install {
        /// raft's number of it.
        number: u64,
        /// The snapshot.
        snapshot: SnapshotImage,
        /// What the new log begins with.
        record: LogRecord,
        /// Messages that promise it.
        messages: Vec<Message>,
    },
    /// A new log, after a snapshot that is durable.
    Restart {
        /// The snapshot's last entry: index and term.
        truncated: (u64, u64),
        /// What the new log begins with.
        record: LogRecord,
    },
}

pub(super) struct Writer {
    node: Rc<Node>,
    wal: Wal,
    dir: PathBuf,
    identity: Identity,
    snapshot_bytes: u64,
    snapshot_entries: u64,
    /// Index of the last snapshot, or of the last attempt at one.
    snapshot_index: u64,
    /// The log's size above which a snapshot is due.
    snapshot_due_bytes: u64,
}

impl Writer {
    pub(super) fn new(node: Rc<Node>, wal: Wal, dir: &Path, options: &NodeOptions) -> Writer {
        node.stats.log_bytes.set(wal.bytes());
        Writer {
            snapshot_index: node.image().version(),
            node,
            wal,
            dir: dir.to_owned(),
            identity: options.identity.clone(),
            snapshot_bytes: options.snapshot_bytes,
            snapshot_entries: options.snapshot_entries,
            snapshot_due_bytes: options.snapshot_bytes,
        }
    }

    pub(super) async fn run(mut self) {
        while let Some(jobs) = self.next_jobs().await {
            if let Err(failure) = self.perform(jobs).await {
                self.node.fail(failure);
                break;
            }
        }
        self.node.end_task();
    }

    /// What is to be done next: records that fit into one write, or one job of another kind; nothing but a snapshot, if a
    /// follower needs one while nothing changes. `None`: the node stops, and everything that was proposed before is done.
    async fn next_jobs(&self) -> Option<Vec<Job>> {
        let node = &self.node;
        let taken = || {
            let jobs = take_jobs(&mut node.jobs.borrow_mut());
            let ended = node.failure.borrow().is_some() || (node.stopping.get() && node.machine.borrow().is_idle());
            match jobs.is_empty() && !node.needs_snapshot() {
                false => Some(Some(jobs)),
                true => ended.then_some(None),
            }
        };
        node.jobs_changed.until(taken).await
    }

    async fn perform(&mut self, jobs: Vec<Job>) -> Result<(), NodeFailure> {
        let mut payloads = Vec::new();
        let mut persisted = Vec::new();
        for job in jobs {
            match job {
                Job::Record { number, payload, messages } => {
                    payloads.extend(payload);
                    persisted.push((number, messages));
                }
                Job::Install { number, snapshot, record, messages } => {
                    self.install(number, snapshot, record, messages).await?;
                }
                Job::Restart { truncated, record } => self.restart(truncated, record).await?,
            }
        }
        if !payloads.is_empty() {
            if !self.reserve(payloads.iter().map(|payload| record_bytes(payload.len())).sum()).await? {
                return Ok(());
            }
            self.wal.append(&payloads).await?;
            add(&self.node.stats.flush_count, 1);
            add(&self.node.stats.record_count, payloads.len() as u64);
        }
        for (number, messages) in persisted {
            self.persisted(number, messages);
        }
        self.node.stats.log_bytes.set(self.wal.bytes());
        self.snapshot_if_due();
        if self.node.jobs.borrow().is_empty() {
            // Not yet needed: if there is no space now, there may be later.
            unless_full(self.wal.prewrite().await)?;
        }
        Ok(())
    }

    fn persisted(&self, number: u64, messages: Vec<Message>) {
        self.node.machine.borrow_mut().on_persisted(number);
        self.node.send(messages);
        self.node.work.raise();
    }

    /// Waits for space. False: the node stops, and there is none.
    async fn reserve(&mut self, bytes: u64) -> Result<bool, NodeFailure> {
        let mut told = false;
        while unless_full(self.wal.reserve(bytes).await)?.is_none() {
            if !told {
                tracing::warn!(dir = %self.dir.display(), "no space for the raft log: metadata changes wait");
                told = true;
            }
            if self.node.stopping.get() {
                self.node.machine.borrow_mut().refuse_all();
                self.node.jobs.borrow_mut().clear();
                return Ok(false);
            }
            self.node.rt.sleep(NO_SPACE_WAIT).await;
        }
        Ok(true)
    }

    fn snapshot_if_due(&mut self) {
        let applied = self.node.image().version();
        let due = self.wal.bytes() >= self.snapshot_due_bytes || applied - self.snapshot_index >= self.snapshot_entries;
        let wanted = self.node.machine.borrow_mut().take_snapshot_wanted();
        if !(due || wanted) || self.node.stopping.get() || self.node.snapshotting.get() {
            return;
        }
        let begun = self.node.machine.borrow_mut().begin_snapshot();
        if let Some((image, held)) = begun {
            self.snapshot_index = held.index;
            self.snapshot_due_bytes = self.wal.bytes() + self.snapshot_bytes;
            self.node.snapshotting.set(true);
            self.node.running_tasks.set(self.node.running_tasks.get() + 1);
            self.node.rt.spawn(take_snapshot(self.node.clone(), self.dir.clone(), image, held));
        }
    }

    /// Begins a new log after a snapshot. For want of space the old one goes on.
    async fn restart(&mut self, truncated: (u64, u64), record: LogRecord) -> Result<(), NodeFailure> {
        if let Some(mut wal) =
            unless_full(Wal::create(&self.node.disk, &self.dir, &self.first(truncated, record)).await)?
        {
            wal.take_place().await?;
            self.wal = wal;
            self.snapshot_due_bytes = self.wal.bytes() + self.snapshot_bytes;
            snapshot::remove_older(&self.node.disk, &self.dir, truncated.0).await?;
        }
        self.node.snapshotting.set(false);
        Ok(())
    }

    async fn install(
        &mut self,
        number: u64,
        held: SnapshotImage,
        record: LogRecord,
        messages: Vec<Message>,
    ) -> Result<(), NodeFailure> {
        let bytes = held.image.clone();
        let image = self.node.rt.unblock(move || Image::from_bytes(&bytes)).await;
        let image = image.map_err(|error| NodeFailure::Apply(format!("snapshot at {}: {error}", held.index)))?;
        if image.version() != held.index {
            return Err(NodeFailure::Apply(format!("snapshot at {} of an image at {}", held.index, image.version())));
        }
        snapshot::write(&self.node.disk, &self.dir, &held).await?;
        let mut wal = Wal::create(&self.node.disk, &self.dir, &self.first((held.index, held.term), record)).await?;
        wal.take_place().await?;
        self.wal = wal;
        (self.snapshot_index, self.snapshot_due_bytes) = (held.index, self.wal.bytes() + self.snapshot_bytes);
        snapshot::remove_older(&self.node.disk, &self.dir, held.index).await?;
        let publication = {
            let mut machine = self.node.machine.borrow_mut();
            machine.on_persisted(number);
            machine.on_installed(image)
        };
        tracing::info!("metadata: the leader's snapshot at {} is installed", held.index);
        self.node.stats.on_image(&publication.image, self.node.am_controller());
        self.node.publisher.publish(&publication);
        self.node.send(messages);
        self.node.work.raise();
        Ok(())
    }

    fn first(&self, truncated: (u64, u64), record: LogRecord) -> LogRecord {
        let raft_id = self.node.machine.borrow().voter().raft_id;
        LogRecord { start: Some(LogStart::new(&self.identity, raft_id, truncated)), ..record }
    }
}

/// Takes one job, or the records from the front that fit into one write.
fn take_jobs(queue: &mut std::collections::VecDeque<Job>) -> Vec<Job> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while let Some(job) = queue.pop_front() {
        let more = match &job {
            Job::Record { payload, .. } => payload.as_ref().map_or(0, Vec::len),
            Job::Install { .. } | Job::Restart { .. } => WRITE_BYTES_MAX,
        };
        if !taken.is_empty() && bytes + more > WRITE_BYTES_MAX {
            queue.push_front(job);
            break;
        }
        bytes += more;
        taken.push(job);
    }
    taken
}

/// Encodes and writes a snapshot; then a new log may begin.
async fn take_snapshot(node: Rc<Node>, dir: PathBuf, image: std::sync::Arc<Image>, mut held: SnapshotImage) {
    held.image = node.rt.unblock(move || image.to_bytes()).await.into();
    match unless_full(snapshot::write(&node.disk, &dir, &held).await) {
        Ok(written) => {
            let truncated = (held.index, held.term);
            let record = node.machine.borrow_mut().end_snapshot(written.map(|()| held));
            node.snapshotting.set(record.is_some());
            if let Some(record) = record {
                add(&node.stats.snapshot_count, 1);
                node.jobs.borrow_mut().push_back(Job::Restart { truncated, record });
                node.jobs_changed.raise();
            }
        }
        Err(error) => node.fail(error.into()),
    }
    node.end_task();
}

/// `None` for want of space.
fn unless_full<T>(result: Result<T, DiskError>) -> Result<Option<T>, DiskError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.reason == DiskErrorReason::NoSpace => Ok(None),
        Err(error) => Err(error),
    }
}
