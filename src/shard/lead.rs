//! Feeding followers: what this shard's leaders send on replication streams, and what they hear.
//!
//! *Invariants*: what is sent is read from the log at each follower's own position: nothing is queued that could be dropped
//! (lesson 23), and a slow follower costs a place in a list. What is under way, and not acknowledged as flushed, is bounded, by
//! stream and by partition. A follower far behind is fed from the disk by a task of its own, and delays nobody.
//! *Not here*: what an opening or an ack means (`partition::Leader`), the frames (`peer::replica`).
//!
//! ```text
//! append -> Feed::on_grown  -> send: batches from memory, many partitions in a frame, one write a wake
//! ack    -> Leader::on_replica_ack -> high watermark -> Feed::on_moved -> with the next data, or alone a little later
//! ```

mod catch_up;
mod feed;
mod isr;
mod receive;
mod send;

use std::rc::Rc;
use std::time::Duration;

use net::peer_frame::PeerFrameReader;
use net::stream::Accepted;

use crate::limits;
use crate::metadata::image::BrokerEpoch;
use crate::model::BrokerId;
use crate::peer::hello::{Hello, Purpose};
use crate::shard::Shard;
use crate::shard::hosted::Role;

pub(crate) use feed::Feed;
pub(crate) use isr::propose;

impl Shard {
    /// Feeds a follower's shard until its stream ends.
    pub(crate) async fn feed(self: &Rc<Self>, connection: Accepted, hello: Hello) {
        let (Some(broker_epoch), Purpose::Replication { to_shard, .. }) = (hello.broker_epoch, hello.purpose) else {
            return tracing::warn!("broker {} opened a stream without saying what for", hello.node.0);
        };
        if to_shard as usize != self.id.0 {
            return tracing::warn!(
                "broker {} opened a stream to shard {to_shard}, this is {:?}",
                hello.node.0,
                self.id
            );
        }
        let (read, write) = match connection.bind() {
            Ok(halves) => halves,
            Err(error) => return tracing::warn!("a stream of broker {}: {error}", hello.node.0),
        };
        let feed = Rc::new(Feed::new(hello.node, broker_epoch, self.offsets_moved.clone()));
        self.state.borrow_mut().feeds.push(feed.clone());
        self.rt.spawn(send::run(self.clone(), feed.clone(), write));
        self.rt.spawn(catch_up::run(self.clone(), feed.clone()));
        let reader = PeerFrameReader::new(read, limits::FOLLOWER_FRAME_BYTES_MAX);
        if let Err(reason) = receive::run(self, &feed, reader).await {
            tracing::info!("the stream of broker {}: {reason}", hello.node.0);
        }
        self.on_feed_over(&feed);
    }

    fn on_feed_over(&self, feed: &Rc<Feed>) {
        feed.end();
        let now = self.rt.now();
        let state = &mut *self.state.borrow_mut();
        state.feeds.retain(|other| !Rc::ptr_eq(other, feed));
        let mut effects = std::mem::take(&mut state.effects);
        for id in feed.open_partitions() {
            if let Some(Role::Leader(leading)) = state.partitions.get_mut(&id).map(|hosted| &mut hosted.role)
                && let Some(index) = leading.feeds.iter().position(|other| Rc::ptr_eq(other, feed))
            {
                leading.feeds.remove(index);
                leading.leader.on_disconnected(feed.broker, now, &mut effects);
                leading.on_moved(id);
            }
        }
        self.run_effects(state, &mut effects);
        state.effects = effects;
        self.waiting.notify();
    }

    /// Ends the streams of a broker's earlier incarnations.
    pub(crate) fn end_feeds_before(&self, broker: BrokerId, broker_epoch: BrokerEpoch) {
        for feed in &self.state.borrow().feeds {
            if feed.broker == broker && feed.broker_epoch < broker_epoch {
                feed.end();
            }
        }
    }
}

/// Sends offsets that moved, and that no data has taken along since. Sleeps while none has.
pub(crate) async fn tell_offsets(shard: Rc<Shard>) {
    loop {
        shard.offsets_moved.notified().await;
        shard.rt.sleep(Duration::from_millis(limits::REPLICA_QUIET_MS)).await;
        shard.state.borrow().feeds.iter().for_each(|feed| feed.tell_offsets());
    }
}
