//! Following: what this shard's followers hear from their leaders, and what they say.
//!
//! *Invariants*: one stream for each pair of shards, for all partitions that they share; nothing is acknowledged before it is flushed
//! here and the epochs that it came with are durable.
//! *Not here*: what is believed of a leader (`partition::Follower`), the frames (`peer::replica`).
//!
//! ```text
//! dial -> open all that the pair shares -> agreed, or cut and open again
//! data -> Follower::on_data -> Log::append_as_follower -> dirty -> the shard's turn -> one frame of acks for all that moved
//! ```

mod cut;
mod link;
mod receive;
mod send;

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;

use crate::limits;
use crate::metadata::image::Image;
use crate::model::{BrokerId, PartitionId};
use crate::peer::hello::{Hello, PEER_FORMAT, Purpose};
use crate::peer::{self, Connection};
use crate::rt::Rt;
use crate::shard::hosted::Role;
use crate::shard::{Shard, placement};

pub(crate) use cut::{Cutting, Wanted};
pub(crate) use link::Link;
use link::LinkKey;

impl Shard {
    /// The stream on which `leader` feeds a partition; `None`: nobody knows where it is.
    fn link_to(self: &Rc<Self>, image: &Image, leader: BrokerId, id: PartitionId) -> Option<Rc<Link>> {
        let broker = image.brokers().get(&leader)?;
        broker.peer.as_ref()?;
        let leader_shard = placement::shard_of(id, broker.shards as usize);
        let key = LinkKey { leader, leader_shard: leader_shard.0 as u32 };
        let mut state = self.state.borrow_mut();
        if let Some(link) = state.links.iter().find(|link| link.key == key) {
            return Some(link.clone());
        }
        let link = Rc::new(Link::new(key));
        state.links.push(link.clone());
        self.rt.spawn(run(self.clone(), link.clone()));
        Some(link)
    }

    /// A follower's leader has come, changed or moved: opens the partition there.
    pub(crate) fn follow_on_link(self: &Rc<Self>, image: &Image, leader: Option<BrokerId>, id: PartitionId) {
        let link = leader.and_then(|leader| self.link_to(image, leader, id));
        let state = &mut *self.state.borrow_mut();
        let Some(hosted) = state.partitions.get_mut(&id) else { return };
        let Role::Follower(following) = &mut hosted.role else { return };
        let is_same = match (&following.link, &link) {
            (Some(before), Some(after)) => Rc::ptr_eq(before, after),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        following.leave(id);
        if let Some(link) = link.filter(|_| hosted.log.is_offline().is_none()) {
            link.add(id);
            following.link = Some(link);
        }
    }

    /// Brokers have come, moved or restarted: streams to them begin anew where they must.
    pub(crate) fn on_brokers(self: &Rc<Self>, image: &Image, is_changed: impl Fn(BrokerId) -> bool) {
        let links = self.state.borrow().links.clone();
        for link in links.iter().filter(|link| is_changed(link.key.leader) || is_changed(self.me)) {
            let epochs = [link.key.leader, self.me].map(|id| image.brokers().get(&id).map(|broker| broker.epoch));
            link.on_brokers(epochs);
        }
        let followed: Vec<(PartitionId, BrokerId)> = {
            let state = self.state.borrow();
            let followers = state.partitions.iter().filter(|(_, hosted)| hosted.role.leader().is_none());
            let leaders = followers.filter_map(|(id, _)| Some((*id, image.partition(*id)?.leader?)));
            leaders.filter(|(_, leader)| *leader != self.me && is_changed(*leader)).collect()
        };
        for (id, leader) in followed {
            self.follow_on_link(image, Some(leader), id);
        }
    }
}

/// Keeps a link's stream up for as long as something is followed on it.
async fn run(shard: Rc<Shard>, link: Rc<Link>) {
    let mut pause_ms = limits::REPLICA_BACKOFF_MS_MIN;
    while !link.is_over() {
        match dial(&shard, &link).await {
            Ok(connection) => {
                pause_ms = limits::REPLICA_BACKOFF_MS_MIN;
                session(&shard, &link, connection).await;
            }
            Err(reason) => tracing::debug!("{:?}: {reason}", link.key),
        }
        if !link.is_over() {
            rest(&shard.rt, &link, pause_ms).await;
            pause_ms = (2 * pause_ms).min(limits::REPLICA_BACKOFF_MS_MAX);
        }
    }
    shard.state.borrow_mut().links.retain(|other| !Rc::ptr_eq(other, &link));
}

/// Waits before the next attempt; not when there is news of a broker.
async fn rest(rt: &Rt, link: &Link, pause_ms: u64) {
    or(link.retry.notified(), rt.sleep(Duration::from_millis(pause_ms))).await;
}

async fn dial(shard: &Shard, link: &Link) -> Result<Connection, String> {
    let LinkKey { leader, leader_shard } = link.key;
    let image = shard.image();
    let me = image.brokers().get(&shard.me).ok_or("this broker is not registered")?;
    let peer = image.brokers().get(&leader).ok_or("its broker is not registered")?;
    let address = peer.peer.as_ref().ok_or("its broker has no address for peers")?;
    link.begin([Some(peer.epoch), Some(me.epoch)]);
    let hello = Hello {
        format: PEER_FORMAT,
        cluster_id: Some(image.cluster_id().to_owned()),
        node: shard.me,
        directory_id: me.directory_id,
        broker_epoch: Some(me.epoch),
        to: leader,
        purpose: Purpose::Replication { from_shard: shard.id.0 as u32, to_shard: leader_shard },
    };
    let frame_bytes_max = limits::REPLICA_FRAME_BYTES + shard.config.broker.socket_request_max_bytes;
    let dialed = peer::dial(&shard.rt, &shard.net, (&address.host, address.port), &hello, frame_bytes_max).await;
    dialed.map_err(|error| error.to_string())
}

/// One connection, to its end.
async fn session(shard: &Rc<Shard>, link: &Rc<Link>, connection: Connection) {
    let Connection { reader, writer, .. } = connection;
    link.on_connected();
    tracing::debug!("{:?}: connected", link.key);
    let sending = send::spawn(shard.clone(), link.clone(), writer);
    if let Err(reason) = receive::run(shard, link, reader).await {
        tracing::info!("{:?}: {reason}", link.key);
    }
    link.on_disconnected();
    sending.await;
    let state = &mut *shard.state.borrow_mut();
    for id in link.partitions() {
        if let Some(Role::Follower(following)) = state.partitions.get_mut(&id).map(|hosted| &mut hosted.role) {
            following.follower.on_disconnected();
            following.ack_is_due = false;
        }
    }
}
