//! Opening: bootstrap of an empty directory, recovery of one that is in use, refusal of anything in between.
//!
//! *Which core*: metadata, before the node runs.
//! *Invariants*: a node that has voted or acknowledged an entry never forgets it: whatever is missing or contradicts itself is
//! refused (lesson 50). Bootstrap is one rename: before it there was no log, hence no vote and no entry, and it begins anew.
//! *Why* so strict: a voter that comes back without its memory may elect two leaders in one term.

use std::path::Path;

use raft::eraftpb::{ConfState, HardState};
use storage::disk::{Disk, OpenMode};

use super::record::{HardStateRecord, LogRecord, LogStart};
use super::scan::{LogEnd, Scan};
use super::tail::{SnapshotImage, Tail};
use super::wal::{Wal, log_path, new_log_path};
use super::{Identity, OpenError, snapshot};
use crate::metadata::image::{Image, Voter};

/// Index and term that a group begins with: those of a snapshot that nobody proposed.
pub const BOOTSTRAP: (u64, u64) = (1, 1);

/// A log that is ready for its node.
pub struct Opened {
    /// The file, to append to.
    pub wal: Wal,
    /// What raft reads.
    pub tail: Tail,
    /// The image as of the last snapshot.
    pub image: Image,
    /// Who this node is in the group.
    pub voter: Voter,
}

/// Opens the raft state in `dir`. If there is none: begins with `initial_voters` (of whom this node is one), if given.
///
/// # Errors
/// See [`OpenError`]; nothing is changed on disk unless it succeeds, but for files that were never part of the state.
pub async fn open(
    disk: &Disk,
    dir: &Path,
    identity: &Identity,
    initial_voters: Option<&[Voter]>,
) -> Result<Opened, OpenError> {
    disk.create_dir_all(dir).await?;
    let entries = disk.list(dir).await?;
    let has = |path: &Path| entries.iter().any(|entry| path.ends_with(&entry.name));
    let (has_log, has_new_log) = (has(&log_path(dir)), has(&new_log_path(dir)));
    let newest = entries.iter().filter_map(|entry| snapshot::index_in_name(&entry.name)).max();
    match (has_log, newest) {
        (true, Some(newest)) => recover(disk, dir, identity, newest).await,
        (true, None) => Err(OpenError::inconsistent(dir, "a log, but no snapshot")),
        // Bootstrap writes its log aside, then the snapshot, then renames the log: it was interrupted.
        (false, Some(index)) if has_new_log && index == BOOTSTRAP.0 => {
            bootstrap(disk, dir, identity, initial_voters).await
        }
        (false, Some(_)) => Err(OpenError::inconsistent(dir, "a snapshot, but no log: votes and entries are missing")),
        (false, None) => bootstrap(disk, dir, identity, initial_voters).await,
    }
}

/// Does `dir` hold a voter's memory? If not, [`open`] begins anew.
pub async fn has_state(disk: &Disk, dir: &Path) -> Result<bool, OpenError> {
    Ok(disk.exists(&log_path(dir)).await?)
}

async fn bootstrap(
    disk: &Disk,
    dir: &Path,
    identity: &Identity,
    initial_voters: Option<&[Voter]>,
) -> Result<Opened, OpenError> {
    let voters = initial_voters.ok_or_else(|| OpenError::Empty { dir: dir.to_owned() })?;
    let Some(voter) = voters.iter().find(|voter| is(voter, identity)).copied() else {
        return Err(OpenError::inconsistent(dir, format!("the initial voters {voters:?} are without {identity:?}")));
    };
    let voter = Voter { directory_id: Some(identity.directory_id), ..voter };
    let conf_state = ConfState::from((voters.iter().map(|voter| voter.raft_id).collect::<Vec<_>>(), Vec::new()));
    let image = Image::empty(&identity.cluster_id, voters.iter().copied()).skip(BOOTSTRAP.0);
    let mut hard_state = HardState::default();
    (hard_state.term, hard_state.commit) = (BOOTSTRAP.1, BOOTSTRAP.0);
    let first =
        LogRecord { start: Some(LogStart::new(identity, voter.raft_id, BOOTSTRAP)), ..LogRecord::of(&hard_state, &[]) };
    let mut wal = Wal::create(disk, dir, &first).await?;
    let (index, term) = BOOTSTRAP;
    let held = SnapshotImage { index, term, conf_state: conf_state.clone(), image: image.to_bytes().into() };
    snapshot::write(disk, dir, &held).await?;
    wal.take_place().await?;
    let mut tail = Tail::new(hard_state, conf_state, BOOTSTRAP);
    tail.set_snapshot(held);
    Ok(Opened { wal, tail, image, voter })
}

async fn recover(disk: &Disk, dir: &Path, identity: &Identity, newest: u64) -> Result<Opened, OpenError> {
    let held = snapshot::read(disk, dir, newest).await?;
    let path = snapshot::snapshot_path(dir, newest);
    let image = Image::from_bytes(&held.image).map_err(|source| OpenError::Image { path, source })?;
    let log = read_log(disk, dir).await?;
    let voter = check_identity(dir, identity, &log.start, &image)?;
    check(dir, &log, &held, &image)?;
    let mut tail = Tail::new(hard_state(&log, &held), held.conf_state.clone(), (held.index, held.term));
    let stale = log.tail.term_of(held.index) != Some(held.term);
    if !stale {
        let above = log.tail.entries_above(held.index);
        tail.append(above).map_err(|reason| OpenError::inconsistent(dir, reason))?;
    }
    tail.set_snapshot(held);
    let path = log_path(dir);
    let file = disk.open(&path, OpenMode::Write).await?;
    let mut wal = Wal::resume(disk, dir, file, log.end).await?;
    if stale {
        // A leader's snapshot came, and the log was not begun anew before the end: now it is. What it holds above the snapshot
        // follows another entry than the snapshot's last, and was never committed.
        let start = LogStart::new(identity, voter.raft_id, (tail.last_index(), tail.last_term()));
        let first = LogRecord { start: Some(start), ..LogRecord::of(tail.hard_state(), &[]) };
        wal = Wal::create(disk, dir, &first).await?;
        wal.take_place().await?;
    } else if disk.exists(&new_log_path(dir)).await? {
        disk.remove(&new_log_path(dir)).await?;
    }
    snapshot::remove_unfinished(disk, dir).await?;
    snapshot::remove_older(disk, dir, newest).await?;
    Ok(Opened { wal, tail, image, voter })
}

/// What a log file says.
struct Log {
    start: LogStart,
    /// All its entries.
    tail: Tail,
    end: LogEnd,
}

async fn read_log(disk: &Disk, dir: &Path) -> Result<Log, OpenError> {
    let path = log_path(dir);
    let file = disk.open(&path, OpenMode::TakeOver).await?;
    let mut scan = Scan::new(&path, &file).await?;
    let mut log: Option<(LogStart, Tail)> = None;
    while let Some((position, payload)) = scan.next().await? {
        let corrupt = |reason: String| OpenError::corrupt(&path, position, reason);
        let mut record = LogRecord::read(&payload).map_err(corrupt)?;
        let (_, tail) = match (&mut log, record.start.take()) {
            (Some(log), None) => log,
            (log @ None, Some(start)) if start.is_readable() => {
                let truncated = (start.truncated_index, start.truncated_term);
                log.insert((start, Tail::new(HardState::default(), ConfState::default(), truncated)))
            }
            (None, Some(start)) => return Err(corrupt(format!("format {}, newer than this build's", start.format))),
            (None, None) => return Err(corrupt("the first record does not say whose log it is".to_owned())),
            (Some(_), Some(_)) => return Err(corrupt("a log begins within a log".to_owned())),
        };
        if !record.entries.is_empty() && record.first_index <= tail.hard_state().commit {
            let committed = tail.hard_state().commit;
            return Err(corrupt(format!("entry {} again, though {committed} are committed", record.first_index)));
        }
        if let Some(hard_state) = record.hard_state {
            check_terms(tail.hard_state(), hard_state).map_err(corrupt)?;
            tail.set_hard_state(hard_state.into());
        }
        tail.append(record.raft_entries()).map_err(corrupt)?;
    }
    let end = scan.end().await?;
    let (start, tail) = log.ok_or_else(|| OpenError::corrupt(&path, 0, "no record"))?;
    Ok(Log { start, tail, end })
}

fn check_terms(before: &HardState, after: HardStateRecord) -> Result<(), String> {
    let other_vote = after.term == before.term && before.vote != 0 && after.vote != before.vote;
    if after.term < before.term || after.commit < before.commit || other_vote {
        return Err(format!("hard state {after:?} after {before:?}"));
    }
    Ok(())
}

fn check_identity(dir: &Path, identity: &Identity, start: &LogStart, image: &Image) -> Result<Voter, OpenError> {
    let found = start.identity();
    if found != *identity || image.cluster_id() != identity.cluster_id {
        let (found, expected) = (Box::new(found), Box::new(identity.clone()));
        return Err(OpenError::Foreign { dir: dir.to_owned(), found, expected });
    }
    let (node_id, directory_id) = (identity.node_id, Some(identity.directory_id));
    let voter = Voter { raft_id: start.raft_id, node_id, directory_id };
    match image.voters().get(&voter.raft_id) {
        Some(known) if !is(known, identity) => {
            Err(OpenError::inconsistent(dir, format!("the log is of {voter:?}, the snapshot knows it as {known:?}")))
        }
        Some(_) | None if voter.raft_id != 0 => Ok(voter),
        Some(_) | None => Err(OpenError::inconsistent(dir, "raft id 0")),
    }
}

/// Is a voter, as far as it is known, this one?
fn is(voter: &Voter, identity: &Identity) -> bool {
    voter.node_id == identity.node_id && voter.directory_id.is_none_or(|known| known == identity.directory_id)
}

fn check(dir: &Path, log: &Log, held: &SnapshotImage, image: &Image) -> Result<(), OpenError> {
    let tail = &log.tail;
    let (state, start) = (tail.hard_state(), &log.start);
    let last = tail.last_index().max(held.index);
    let fault = if image.version() != held.index {
        format!("the snapshot at {} holds an image at {}", held.index, image.version())
    } else if held.conf_state.voters.is_empty() {
        "the snapshot knows no voters".to_owned()
    } else if start.truncated_index > held.index {
        format!("the log begins after entry {}, the snapshot ends with entry {}", start.truncated_index, held.index)
    } else if tail.term_of(held.index).is_some_and(|term| term > held.term)
        || (state.commit >= held.index && tail.term_of(held.index) != Some(held.term))
    {
        format!("entry {} has term {} in the snapshot, another in the log", held.index, held.term)
    } else if state.commit > last {
        format!("entry {} was committed, the log ends with entry {last}", state.commit)
    } else if state.term < tail.last_term() {
        format!("the term is {}, the last entry's {}", state.term, tail.last_term())
    } else {
        return Ok(());
    };
    Err(OpenError::inconsistent(dir, fault))
}

/// The hard state, brought up to the snapshot. If that is of a later term, this node cannot have voted in it.
fn hard_state(log: &Log, held: &SnapshotImage) -> HardState {
    let mut state = log.tail.hard_state().clone();
    state.commit = state.commit.max(held.index);
    if state.term < held.term {
        (state.term, state.vote) = (held.term, 0);
    }
    state
}
