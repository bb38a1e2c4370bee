//! Fetches that wait for more: woken by the high watermark, or answered at their deadline. Never polled (lesson 86).

use std::rc::Rc;

use futures_lite::future::or;

use crate::local::Notify;
use crate::message::WatchOrder;
use crate::partition::FetchTicket;
use crate::shard::Shard;

/// Takes the watch's places back when the watch ends, however it ends.
struct Parked<'a> {
    shard: &'a Shard,
    order: &'a WatchOrder,
    ticket: FetchTicket,
    moved: Rc<Notify>,
}

impl Shard {
    /// Resolves once the order's bytes can be read, something happened that a client must hear of, or its deadline has come.
    pub async fn watch(&self, order: WatchOrder) {
        let parked = self.park(&order);
        loop {
            if parked.is_ready() {
                return;
            }
            let now = self.rt.now();
            if now >= order.deadline {
                return;
            }
            or(parked.moved.notified(), self.rt.sleep(order.deadline.since(now))).await;
        }
    }

    fn park<'a>(&'a self, order: &'a WatchOrder) -> Parked<'a> {
        let state = &mut *self.state.borrow_mut();
        let moved = Rc::new(Notify::default());
        let ticket = FetchTicket(state.watches.insert(moved.clone()) as u64);
        for (partition, offset) in &order.parts {
            if let Some(leader) = state.partitions.get_mut(partition).and_then(|hosted| hosted.role.leader_mut()) {
                leader.on_fetch_parked(ticket, *offset);
            }
        }
        Parked { shard: self, order, ticket, moved }
    }
}

impl Parked<'_> {
    fn is_ready(&self) -> bool {
        let state = &mut *self.shard.state.borrow_mut();
        let mut bytes = 0;
        for (partition, offset) in &self.order.parts {
            let led = state.partitions.get(partition).and_then(|hosted| Some((hosted, hosted.role.leader()?.ladder())));
            let Some((hosted, ladder)) = led else { return true };
            if *offset < ladder.log_start().0 || hosted.log.is_offline().is_some() {
                return true;
            }
            if *offset < ladder.high_watermark().0 {
                bytes += hosted.log.readable_bytes(*offset, ladder.high_watermark().0);
            }
        }
        bytes >= self.order.bytes_min.max(1)
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        let state = &mut *self.shard.state.borrow_mut();
        state.watches.remove(self.ticket.0 as usize);
        for (partition, _) in &self.order.parts {
            if let Some(leader) = state.partitions.get_mut(partition).and_then(|hosted| hosted.role.leader_mut()) {
                leader.on_fetch_left(self.ticket);
            }
        }
    }
}
