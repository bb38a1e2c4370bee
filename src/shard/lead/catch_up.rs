//! Followers that are far behind: what they want is read from the disk, one partition after the other.
//!
//! *Invariants*: one read at a time for each stream, and the next one when its bytes are on their way: a follower that returns after
//! a day costs no memory. Its pace is bounded, so that it takes the disk and the network from nobody who produces.
//! *Not here*: sending (`send`).

use std::rc::Rc;
use std::time::Duration;

use storage::log::{ReadDone, ReadError};

use crate::limits;
use crate::model::PartitionId;
use crate::shard::Shard;
use crate::shard::hosted::Role;
use crate::shard::lead::Feed;
use crate::shard::lead::feed::Place;

/// Reads for as long as the stream lives.
pub(super) async fn run(shard: Rc<Shard>, feed: Rc<Feed>) {
    let bytes_per_second = shard.config.broker.replica_catch_up_bytes_per_second_max;
    while !feed.is_over.get() {
        let next = {
            let state = &mut *feed.state.borrow_mut();
            if state.caught.is_none() { state.to_read.pop_front() } else { None }
        };
        let Some(id) = next else {
            feed.behind.notified().await;
            continue;
        };
        let begun = shard.rt.now();
        if let Some((opening, done)) = shard.read_for(&feed, id).await {
            let bytes = done.records.len() as u64;
            feed.state.borrow_mut().caught = Some((id, opening, done));
            feed.news.notify();
            let due = begun.after(Duration::from_micros(bytes.saturating_mul(1_000_000) / bytes_per_second));
            shard.rt.sleep_until(due).await;
        }
    }
}

impl Shard {
    /// What a partition's follower wants next, and the opening that it is for; `None`: it wants nothing, or there is none to have.
    async fn read_for(self: &Rc<Self>, feed: &Feed, id: PartitionId) -> Option<(u32, ReadDone)> {
        let (opening, offset, leader_epoch) = {
            let state = feed.state.borrow();
            let Place { opening, next_offset, leader_epoch, .. } =
                state.open.get(&id).filter(|position| position.is_reading)?.place;
            (opening, next_offset, leader_epoch)
        };
        let planned = {
            let state = &mut *self.state.borrow_mut();
            let hosted = state.partitions.get_mut(&id)?;
            match &hosted.role {
                Role::Leader(leading) if leading.leader.leader_epoch() == leader_epoch => {}
                Role::Leader(_) | Role::Follower(_) => return None,
            }
            let log_end = hosted.role.ladder().log_end().0;
            let plan = hosted.log.read_plan(offset, log_end, limits::REPLICA_READ_BYTES, true);
            plan.map(|plan| (plan, hosted.at_work.enter()))
        };
        let done = match planned {
            Ok((plan, pass)) => {
                let done = plan.execute().await;
                drop(pass);
                done
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => {
                if let Some(hosted) = self.state.borrow_mut().partitions.get_mut(&id) {
                    hosted.log.apply_read(&done);
                }
                if let Some(ahead) = done.ahead.clone() {
                    self.read_ahead(ahead);
                }
                Some((opening, done))
            }
            Err(error) => {
                // Given up by retention in the meantime: the follower asks again, and hears where the log begins.
                if error != ReadError::OutOfRange {
                    tracing::error!("read of {id:?} at {offset} for broker {}: {error}", feed.broker.0);
                }
                self.close_feed_of(feed, id);
                None
            }
        }
    }

    /// Sends this follower no more of a partition; it may open it again.
    fn close_feed_of(&self, feed: &Feed, id: PartitionId) {
        feed.close(id);
        self.on_feed_left(feed, id);
    }
}
