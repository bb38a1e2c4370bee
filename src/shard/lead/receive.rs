//! What followers say on a stream: openings, acks, farewells.
//!
//! *Invariants*: what a frame says is taken in in one go, and what follows from it (acknowledgements, proposals) happens after.

use std::rc::Rc;

use net::peer_frame::{PeerFrameError, PeerFrameReader};

use crate::model::PartitionId;
use crate::partition::Effects;
use crate::partition::leader::AckBeyondLogEnd;
use crate::partition::replication::{OpeningAnswer, OpeningRequest, ReplicaAck};
use crate::peer::replica::{BadEntry, Entries, Entry, Word};
use crate::shard::hosted::Role;
use crate::shard::lead::Feed;
use crate::shard::lead::feed::Place;
use crate::shard::{Shard, State};

/// Why a stream is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Frame(#[from] PeerFrameError),
    #[error(transparent)]
    Entry(#[from] BadEntry),
    #[error("a follower says what only a leader can")]
    NoFollower,
    #[error("{0:?}: {1}")]
    Ack(PartitionId, AckBeyondLogEnd),
}

/// Hears for as long as the stream lives.
pub(super) async fn run(shard: &Rc<Shard>, feed: &Rc<Feed>, mut reader: PeerFrameReader) -> Result<(), Fault> {
    while let Some(body) = reader.next().await? {
        if feed.is_over.get() {
            return Ok(());
        }
        shard.on_follower_frame(feed, Entries::of(body))?;
        while feed.has_many_answers() {
            feed.answered.notified().await;
        }
    }
    Ok(())
}

impl Shard {
    fn on_follower_frame(&self, feed: &Rc<Feed>, mut entries: Entries) -> Result<(), Fault> {
        let state = &mut *self.state.borrow_mut();
        let mut effects = std::mem::take(&mut state.effects);
        let heard = entries.try_for_each(|entry| self.on_follower_entry(state, feed, entry?, &mut effects));
        self.run_effects(state, &mut effects);
        state.effects = effects;
        heard
    }

    fn on_follower_entry(
        &self,
        state: &mut State,
        feed: &Rc<Feed>,
        entry: Entry,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let Entry { partition: id, word } = entry;
        match word {
            Word::Open(request) => on_open(state, feed, id, &request),
            Word::Ack(ack) => self.on_ack(state, feed, id, &ack, effects)?,
            Word::Leave => {
                feed.forget(id);
                self.leave(state, feed, id, effects);
            }
            Word::Answer { .. } | Word::Data(_) | Word::Closed { .. } => return Err(Fault::NoFollower),
        }
        Ok(())
    }

    fn on_ack(
        &self,
        state: &mut State,
        feed: &Feed,
        id: PartitionId,
        ack: &ReplicaAck,
        effects: &mut Effects,
    ) -> Result<(), Fault> {
        let Some(Role::Leader(leading)) = state.partitions.get_mut(&id).map(|hosted| &mut hosted.role) else {
            return Ok(());
        };
        let heard = leading.leader.on_replica_ack(feed.broker, feed.broker_epoch, ack, self.rt.now(), effects);
        heard.map_err(|fault| Fault::Ack(id, fault))?;
        let log_end = leading.leader.ladder().log_end().0;
        feed.on_ack(id, ack.opening, ack.flushed_end_offset, log_end);
        leading.on_moved(id);
        Ok(())
    }

    /// A follower hears no more of a partition on this stream.
    fn leave(&self, state: &mut State, feed: &Feed, id: PartitionId, effects: &mut Effects) {
        let Some(Role::Leader(leading)) = state.partitions.get_mut(&id).map(|hosted| &mut hosted.role) else { return };
        if let Some(index) = leading.feeds.iter().position(|other| std::ptr::eq(&**other, feed)) {
            leading.feeds.remove(index);
            leading.leader.on_disconnected(feed.broker, self.rt.now(), effects);
            leading.on_moved(id);
            self.waiting.notify();
        }
    }

    /// A follower hears no more of a partition on this stream.
    pub(super) fn on_feed_left(&self, feed: &Feed, id: PartitionId) {
        let state = &mut *self.state.borrow_mut();
        let mut effects = std::mem::take(&mut state.effects);
        self.leave(state, feed, id, &mut effects);
        self.run_effects(state, &mut effects);
        state.effects = effects;
    }
}

fn on_open(state: &mut State, feed: &Rc<Feed>, id: PartitionId, request: &OpeningRequest) {
    let hosted = state.partitions.get_mut(&id).filter(|hosted| hosted.log.is_offline().is_none());
    let Some((Role::Leader(leading), log)) = hosted.map(|hosted| (&mut hosted.role, &hosted.log)) else {
        return feed.on_answer(id, None, request.opening, OpeningAnswer::NotYet);
    };
    let answer = leading.leader.on_opening(feed.broker, feed.broker_epoch, request, log.epochs());
    // An older stream of the same follower is over, whether its end was seen or not; a late word of one changes nothing.
    if answer != OpeningAnswer::Fenced && answer != OpeningAnswer::NotYet {
        leading.feeds.retain(|other| {
            let stays = other.broker != feed.broker;
            if !stays && !Rc::ptr_eq(other, feed) {
                other.forget(id);
            }
            stays
        });
    }
    let begin = (answer == OpeningAnswer::Agreed).then(|| {
        leading.feeds.push(feed.clone());
        let OpeningRequest { leader_epoch, opening, end_offset, .. } = *request;
        Place { opening, leader_epoch, next_offset: end_offset, under_way: 0 }
    });
    feed.on_answer(id, begin, request.opening, answer);
}
