//! What leaders say on a stream: answers to openings, batches, offsets.
//!
//! *Invariants*: every batch's CRC is checked before it is appended, whatever the frame's says: what a leader's memory has damaged
//! goes no further. An epoch that came with a batch is queued for the journal before the batch is in the log.

use std::rc::Rc;
use std::time::Duration;

use net::peer_frame::{PeerFrameError, PeerFrameReader};
use smallvec::SmallVec;
use storage::batch::{self, BatchError};
use storage::epoch_journal::EpochChange;
use storage::log::{AppendError, FollowError};

use crate::limits;
use crate::model::PartitionId;
use crate::partition::follower::{Effect, LeaderFault};
use crate::partition::ladder::LogEndOffset;
use crate::partition::replication::{BatchSpan, Data};
use crate::peer::replica::{BadEntry, DataEntry, Entries, Entry, Word};
use crate::rt::Monotonic;
use crate::shard::follow::send::follower_on;
use crate::shard::follow::{Link, Wanted};
use crate::shard::{Shard, State};

type Spans = SmallVec<[BatchSpan; 8]>;
/// Cuts that follow from a frame.
type Cuts = Vec<(PartitionId, Wanted)>;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Frame(#[from] PeerFrameError),
    #[error(transparent)]
    Entry(#[from] BadEntry),
    #[error("a leader says what only a follower can")]
    NoLeader,
    #[error("{0:?}: {1}")]
    Leader(PartitionId, LeaderFault),
    #[error("{0:?}: {1}")]
    Batch(PartitionId, BatchError),
    #[error("{0:?}: {1}")]
    Log(PartitionId, FollowError),
}

/// Hears for as long as the connection is to be used.
pub(super) async fn run(shard: &Rc<Shard>, link: &Rc<Link>, mut reader: PeerFrameReader) -> Result<(), Fault> {
    while let Some(body) = reader.next().await? {
        if !link.is_connected() {
            return Ok(());
        }
        shard.on_leader_frame(link, Entries::of(body))?;
    }
    Ok(())
}

impl Shard {
    fn on_leader_frame(self: &Rc<Self>, link: &Rc<Link>, mut entries: Entries) -> Result<(), Fault> {
        let mut cuts = Cuts::new();
        let heard = {
            let state = &mut *self.state.borrow_mut();
            let heard = entries.try_for_each(|entry| self.on_leader_entry(state, link, entry?, &mut cuts));
            if !state.dirty.is_empty() {
                self.dirty.notify();
            }
            heard
        };
        cuts.into_iter().for_each(|(id, wanted)| self.cut(id, wanted));
        heard
    }

    fn on_leader_entry(&self, state: &mut State, link: &Rc<Link>, entry: Entry, cuts: &mut Cuts) -> Result<(), Fault> {
        let Entry { partition: id, word } = entry;
        match word {
            Word::Answer { opening, answer } => {
                let Some(hosted) = state.partitions.get_mut(&id) else { return Ok(()) };
                let Some(following) = follower_on(&mut hosted.role, link) else { return Ok(()) };
                let effect = following.follower.on_answer(opening, answer, hosted.log.epochs());
                match effect.map_err(|fault| Fault::Leader(id, fault))? {
                    Some(Effect::Follow) => following.tell_flushed(id),
                    Some(Effect::Cut(to)) => cuts.push((id, Wanted::Cut(to))),
                    Some(Effect::BeginAt(at)) => cuts.push((id, Wanted::BeginAt(at))),
                    Some(Effect::TryLater) => link.open_later(id, self.reopen_due()),
                    Some(Effect::Ask(_)) | None => {}
                }
                Ok(())
            }
            Word::Data(data) => self.on_data(state, link, id, &data),
            Word::Closed { opening } => {
                let hosted = state.partitions.get_mut(&id);
                if let Some(following) = hosted.and_then(|hosted| follower_on(&mut hosted.role, link))
                    && following.follower.ack().is_some_and(|ack| ack.opening == opening)
                {
                    following.follower.on_disconnected();
                    link.open_later(id, self.reopen_due());
                }
                Ok(())
            }
            Word::Open(_) | Word::Ack(_) | Word::Leave => Err(Fault::NoLeader),
        }
    }

    fn reopen_due(&self) -> Monotonic {
        self.rt.now().after(Duration::from_millis(limits::REPLICA_REOPEN_MS))
    }

    fn on_data(&self, state: &mut State, link: &Rc<Link>, id: PartitionId, entry: &DataEntry) -> Result<(), Fault> {
        let Some(hosted) = state.partitions.get_mut(&id) else { return Ok(()) };
        let Some(following) = follower_on(&mut hosted.role, link) else { return Ok(()) };
        let batches = spans(&entry.records).map_err(|error| Fault::Batch(id, error))?;
        let DataEntry { leader_epoch, opening, high_watermark, log_start_offset, .. } = *entry;
        let data = Data { leader_epoch, opening, high_watermark, log_start_offset, batches: &batches };
        if following.follower.on_data(&data).map_err(|fault| Fault::Leader(id, fault))? {
            let mut latest = hosted.log.epochs().latest();
            for span in batches.iter().filter(|span| Some(span.leader_epoch) > latest.replace(span.leader_epoch)) {
                let begin = EpochChange::Begin { epoch: span.leader_epoch, start_offset: span.base_offset };
                self.epochs_queued.set(Some(self.epoch_journal.queue([(id, begin)])));
            }
            let appended = hosted.log.append_as_follower(&entry.records, self.rt.wall_ms());
            following.follower.on_appended(LogEndOffset(hosted.log.offsets().log_end_offset));
            if !std::mem::replace(&mut hosted.is_dirty, true) {
                state.dirty.push(id);
            }
            match appended {
                Ok(_) => self.metrics.replicated_in(entry.records.len()),
                Err(FollowError::Append(AppendError::Offline)) => following.leave(id),
                Err(FollowError::Append(AppendError::NoSpace)) => {
                    following.follower.on_disconnected();
                    link.open_later(id, self.reopen_due());
                }
                Err(error) => return Err(Fault::Log(id, error)),
            }
        }
        if let Some(to) = following.follower.trim() {
            hosted.log.trim(to.0);
            following.follower.on_trimmed(to);
        }
        Ok(())
    }
}

/// Where the batches begin and end; each is whole.
fn spans(records: &[u8]) -> Result<Spans, BatchError> {
    let (mut spans, mut rest) = (Spans::new(), records);
    while !rest.is_empty() {
        let header = batch::validate(rest)?;
        spans.push(BatchSpan {
            base_offset: header.base_offset,
            end_offset: header.end_offset(),
            leader_epoch: header.leader_epoch,
        });
        rest = &rest[header.batch_bytes..];
    }
    Ok(spans)
}
