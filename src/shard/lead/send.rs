//! Frames to a follower's shard: answers, batches, offsets, of as many partitions as there are news of.
//!
//! *Invariants*: one write a frame; its memory is used again. What is read is read when there is room for it: within the frame, and
//! within what may be under way.

use std::rc::Rc;

use net::peer_frame;
use net::stream::WriteHalf;
use storage::log::Log;

use crate::limits;
use crate::model::PartitionId;
use crate::peer::replica::{DataHead, EntryWriter};
use crate::shard::hosted::{Hosted, Leading, Role};
use crate::shard::lead::Feed;
use crate::shard::lead::feed::{Answer, Place, State as FeedState};
use crate::shard::{Map, Shard};

/// Sends for as long as the stream lives.
pub(super) async fn run(shard: Rc<Shard>, feed: Rc<Feed>, mut stream: WriteHalf) {
    let mut frame = EntryWriter::default();
    while !feed.is_over.get() {
        feed.news.notified().await;
        // What others append before this task runs again goes into the same write.
        shard.rt.yield_now().await;
        while !feed.is_over.get() {
            shard.fill_frame(&feed, &mut frame);
            if frame.is_empty() {
                break;
            }
            if let Err(error) = peer_frame::write(&mut stream, &[frame.body()]).await {
                tracing::info!("the stream of broker {}: {error}", feed.broker.0);
                feed.end();
            }
            shard.metrics.replicated_out(frame.body().len());
            frame.clear(limits::REPLICA_FRAME_BYTES);
        }
    }
    stream.shutdown();
}

impl Shard {
    /// Puts into `frame` what there is to say now, as far as it goes.
    fn fill_frame(&self, feed: &Feed, frame: &mut EntryWriter) {
        let partitions = &mut self.state.borrow_mut().partitions;
        let state = &mut *feed.state.borrow_mut();
        answers(state, frame);
        if state.answers.is_empty() {
            feed.answered.notify();
        }
        caught(feed, state, partitions, frame);
        while frame.body().len() < limits::REPLICA_FRAME_BYTES
            && state.under_way < limits::REPLICA_STREAM_WINDOW_BYTES
            && let Some((id, place)) = state.next_ready()
        {
            match led(partitions, id, &place).map(|(log, leading)| batches(id, &place, leading, log, frame)) {
                Some(Fed::Some { next_offset, bytes, is_all }) => {
                    state.on_sent(id, next_offset, bytes);
                    if !is_all {
                        state.make_ready(id);
                    }
                }
                Some(Fed::Nothing) | None => {}
                Some(Fed::FromDisk) => {
                    state.read_from_disk(id);
                    feed.behind.notify();
                }
            }
        }
        while frame.body().len() < limits::REPLICA_FRAME_BYTES
            && let Some((id, place)) = state.next_quiet()
        {
            if let Some((_, leading)) = led(partitions, id, &place) {
                frame.data(id, &head(&place, leading), |_| {});
            }
        }
    }
}

/// What became of a partition's turn.
enum Fed {
    /// Its follower has all, or as much under way as it may have.
    Nothing,
    /// Batches are in the frame.
    Some {
        /// Where it goes on.
        next_offset: i64,
        bytes: usize,
        is_all: bool,
    },
    /// Memory does not have what comes next.
    FromDisk,
}

fn answers(state: &mut FeedState, frame: &mut EntryWriter) {
    while frame.body().len() < limits::REPLICA_FRAME_BYTES
        && let Some((id, answer)) = state.answers.pop_front()
    {
        match answer {
            Answer::To(opening, answer) => frame.answer(id, opening, answer),
            Answer::Closed(opening) => frame.closed(id, opening),
        }
    }
}

/// What was read from the disk for a follower that is far behind.
fn caught(feed: &Feed, state: &mut FeedState, partitions: &mut Map<PartitionId, Hosted>, frame: &mut EntryWriter) {
    let Some((id, opening, done)) = state.caught.take() else { return };
    feed.behind.notify();
    // Opened again in the meantime: it begins anew, elsewhere.
    let Some(position) = state.at(id, opening) else { return };
    position.is_reading = false;
    let place = position.place;
    let Some((_, leading)) = led(partitions, id, &place) else { return };
    let is_all = done.next_offset == leading.leader.ladder().log_end().0;
    frame.data(id, &head(&place, leading), |out| out.extend_from_slice(&done.records));
    state.on_sent(id, done.next_offset, done.records.len());
    if !is_all {
        state.make_ready(id);
    }
}

/// The partition, if it is led here in the reign that the position is of.
fn led<'a>(
    partitions: &'a mut Map<PartitionId, Hosted>,
    id: PartitionId,
    place: &Place,
) -> Option<(&'a Log, &'a Leading)> {
    let Hosted { role, log, .. } = partitions.get_mut(&id)?;
    match role {
        Role::Leader(leading) if leading.leader.leader_epoch() == place.leader_epoch => Some((log, leading)),
        Role::Leader(_) | Role::Follower(_) => None,
    }
}

fn head(place: &Place, leading: &Leading) -> DataHead {
    let ladder = leading.leader.ladder();
    DataHead {
        leader_epoch: place.leader_epoch,
        opening: place.opening,
        high_watermark: ladder.high_watermark().0,
        log_start_offset: ladder.log_start().0,
    }
}

fn batches(id: PartitionId, place: &Place, leading: &Leading, log: &Log, frame: &mut EntryWriter) -> Fed {
    let log_end = leading.leader.ladder().log_end().0;
    if place.next_offset >= log_end || place.under_way >= limits::REPLICA_PARTITION_WINDOW_BYTES {
        return Fed::Nothing;
    }
    if !log.holds_in_memory(place.next_offset) {
        return Fed::FromDisk;
    }
    let before = frame.body().len();
    let room = limits::REPLICA_FRAME_BYTES - before;
    let bytes_max = room.min(limits::REPLICA_READ_BYTES);
    let next_offset = frame.data(id, &head(place, leading), |out| log.read_memory(place.next_offset, bytes_max, out));
    let bytes = frame.body().len() - before;
    Fed::Some { next_offset, bytes, is_all: next_offset == log_end }
}
