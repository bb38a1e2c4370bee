//! A leader's end of one replication stream: where each partition's follower stands.
//!
//! *Which core*: the leaders' shard.
//! *Invariants*: a partition is in a list at most once; what is under way is what was sent and not acknowledged since the
//! partition's newest opening; every list is bounded by the partitions that are open, but for answers, which wait for room.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use storage::log::ReadDone;

use crate::limits;
use crate::local::Notify;
use crate::metadata::image::BrokerEpoch;
use crate::model::{BrokerId, LeaderEpoch, PartitionId};
use crate::partition::replication::OpeningAnswer;
use crate::shard::Map;

/// See the module.
pub(crate) struct Feed {
    pub(crate) broker: BrokerId,
    /// The incarnation that the stream's hello named.
    pub(crate) broker_epoch: BrokerEpoch,
    pub(super) state: RefCell<State>,
    /// There is something to send, or it is over.
    pub(super) news: Notify,
    /// Somebody is to be fed from the disk, or what was read is sent, or it is over.
    pub(super) behind: Notify,
    /// There is room for answers.
    pub(super) answered: Notify,
    pub(super) is_over: Cell<bool>,
    /// The shard's, to be nudged when something becomes quiet news.
    offsets_moved: Rc<Notify>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) open: Map<PartitionId, Position>,
    pub(super) answers: VecDeque<(PartitionId, Answer)>,
    /// Their logs have more than was sent.
    pub(super) ready: VecDeque<PartitionId>,
    /// Their offsets have moved.
    pub(super) quiet: Vec<PartitionId>,
    /// They want what only the disk has.
    pub(super) to_read: VecDeque<PartitionId>,
    /// What the disk gave for one of them.
    pub(super) caught: Option<(PartitionId, u32, ReadDone)>,
    /// Bytes under way.
    pub(super) under_way: usize,
}

/// An answer to an opening, or a word that there is no more.
pub(super) enum Answer {
    To(u32, OpeningAnswer),
    Closed(u32),
}

/// Where a partition's follower stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) opening: u32,
    pub(super) leader_epoch: LeaderEpoch,
    /// What is sent next.
    pub(super) next_offset: i64,
    /// Bytes under way.
    pub(super) under_way: usize,
}

/// A partition that is open.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) place: Place,
    /// End offset and bytes of what is under way.
    sent: VecDeque<(i64, usize)>,
    is_ready: bool,
    is_quiet: bool,
    pub(super) is_reading: bool,
}

impl Feed {
    pub(super) fn new(broker: BrokerId, broker_epoch: BrokerEpoch, offsets_moved: Rc<Notify>) -> Feed {
        Feed {
            broker,
            broker_epoch,
            state: RefCell::default(),
            news: Notify::default(),
            behind: Notify::default(),
            answered: Notify::default(),
            is_over: Cell::new(false),
            offsets_moved,
        }
    }

    /// A partition's log has grown.
    pub(crate) fn on_grown(&self, id: PartitionId) {
        if self.state.borrow_mut().make_ready(id) {
            self.news.notify();
        }
    }

    /// A partition's high watermark or log start has moved.
    pub(crate) fn on_moved(&self, id: PartitionId) {
        let state = &mut *self.state.borrow_mut();
        if let Some(position) = state.open.get_mut(&id)
            && !std::mem::replace(&mut position.is_quiet, true)
        {
            state.quiet.push(id);
            self.offsets_moved.notify();
        }
    }

    /// Moved offsets have waited for data for long enough.
    pub(super) fn tell_offsets(&self) {
        if !self.state.borrow().quiet.is_empty() {
            self.news.notify();
        }
    }

    /// The partition is fed on this stream no more, and its follower is told so.
    pub(crate) fn close(&self, id: PartitionId) {
        let state = &mut *self.state.borrow_mut();
        if let Some(position) = state.forget(id) {
            state.answers.push_back((id, Answer::Closed(position.place.opening)));
            self.news.notify();
        }
    }

    /// Its follower has gone to another stream, or left.
    pub(super) fn forget(&self, id: PartitionId) {
        self.state.borrow_mut().forget(id);
        self.news.notify();
    }

    /// An opening was answered; with `Agreed` the partition is fed from `next_offset` on.
    pub(super) fn on_answer(&self, id: PartitionId, begin: Option<Place>, opening: u32, answer: OpeningAnswer) {
        let state = &mut *self.state.borrow_mut();
        state.forget(id);
        state.answers.push_back((id, Answer::To(opening, answer)));
        if let Some(place) = begin {
            // It shall know the high watermark, even if there is nothing else to say.
            let (is_ready, is_quiet, is_reading) = (true, true, false);
            state.open.insert(id, Position { place, sent: VecDeque::new(), is_ready, is_quiet, is_reading });
            state.ready.push_back(id);
            state.quiet.push(id);
        }
        self.news.notify();
    }

    /// What was sent up to `flushed_end_offset` has arrived; its log ends at `log_end`.
    pub(super) fn on_ack(&self, id: PartitionId, opening: u32, flushed_end_offset: i64, log_end: i64) {
        let state = &mut *self.state.borrow_mut();
        let Some(position) = state.at(id, opening) else { return };
        let is_behind = position.place.next_offset < log_end;
        let bytes = position.on_ack(flushed_end_offset);
        let was_full = state.under_way >= limits::REPLICA_STREAM_WINDOW_BYTES;
        state.under_way -= bytes;
        if is_behind && state.make_ready(id) || was_full {
            self.news.notify();
        }
    }

    /// Partitions that are open on it.
    pub(super) fn open_partitions(&self) -> Vec<PartitionId> {
        self.state.borrow().open.keys().copied().collect()
    }

    /// Is a reader of openings to wait?
    pub(super) fn has_many_answers(&self) -> bool {
        self.state.borrow().answers.len() > limits::REPLICA_ANSWERS_MAX && !self.is_over.get()
    }

    /// The stream ends.
    pub(crate) fn end(&self) {
        self.is_over.set(true);
        self.news.notify();
        self.behind.notify();
        self.answered.notify();
    }
}

impl State {
    /// Says whether it was not ready before.
    pub(super) fn make_ready(&mut self, id: PartitionId) -> bool {
        let Some(position) = self.open.get_mut(&id) else { return false };
        if position.is_reading || std::mem::replace(&mut position.is_ready, true) {
            return false;
        }
        self.ready.push_back(id);
        true
    }

    /// The partition, if this is its newest opening.
    pub(super) fn at(&mut self, id: PartitionId, opening: u32) -> Option<&mut Position> {
        self.open.get_mut(&id).filter(|position| position.place.opening == opening)
    }

    /// The next partition to look at: it is ready no more.
    pub(super) fn next_ready(&mut self) -> Option<(PartitionId, Place)> {
        while let Some(id) = self.ready.pop_front() {
            // It may have been closed since; who opened it again is in the list again.
            if let Some(position) = self.open.get_mut(&id)
                && std::mem::replace(&mut position.is_ready, false)
            {
                return Some((id, position.place));
            }
        }
        None
    }

    /// The next partition whose offsets have moved.
    pub(super) fn next_quiet(&mut self) -> Option<(PartitionId, Place)> {
        while let Some(id) = self.quiet.pop() {
            if let Some(position) = self.open.get_mut(&id)
                && std::mem::replace(&mut position.is_quiet, false)
            {
                return Some((id, position.place));
            }
        }
        None
    }

    /// Memory does not have what a partition's follower wants.
    pub(super) fn read_from_disk(&mut self, id: PartitionId) {
        if let Some(position) = self.open.get_mut(&id)
            && !std::mem::replace(&mut position.is_reading, true)
        {
            self.to_read.push_back(id);
        }
    }

    /// Bytes of a partition are on their way, up to `next_offset`, and its offsets with them.
    pub(super) fn on_sent(&mut self, id: PartitionId, next_offset: i64, bytes: usize) {
        let Some(position) = self.open.get_mut(&id) else { return };
        position.place.next_offset = next_offset;
        position.place.under_way += bytes;
        position.is_quiet = false;
        position.sent.push_back((next_offset, bytes));
        self.under_way += bytes;
    }

    fn forget(&mut self, id: PartitionId) -> Option<Position> {
        let position = self.open.remove(&id)?;
        self.under_way -= position.place.under_way;
        Some(position)
    }
}

impl Position {
    /// Bytes that are under way no more.
    fn on_ack(&mut self, flushed_end_offset: i64) -> usize {
        let mut bytes = 0;
        while let Some((_, sent)) = self.sent.front().filter(|(end, _)| *end <= flushed_end_offset) {
            bytes += sent;
            self.sent.pop_front();
        }
        self.place.under_way -= bytes;
        bytes
    }
}
