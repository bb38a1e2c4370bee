//! Frames to a leader's shard: farewells, openings, acks, of all partitions that there is something to say of.

use std::rc::Rc;

use futures_lite::future::or;
use net::peer_frame;
use net::stream::WriteHalf;

use crate::limits;
use crate::local;
use crate::partition::follower::Effect;
use crate::peer::replica::EntryWriter;
use crate::shard::Shard;
use crate::shard::follow::link::Words;
use crate::shard::follow::{Link, Wanted};
use crate::shard::hosted::{Following, Role};

/// Sends for as long as the connection is to be used; what is returned waits for the end of that.
pub(super) fn spawn(shard: Rc<Shard>, link: Rc<Link>, stream: WriteHalf) -> impl Future<Output = ()> {
    let (ended, end) = local::oneshot();
    shard.rt.clone().spawn(async move {
        run(&shard, &link, stream).await;
        ended.send(());
    });
    async move { end.await.unwrap_or_default() }
}

async fn run(shard: &Rc<Shard>, link: &Rc<Link>, mut stream: WriteHalf) {
    let mut frame = EntryWriter::default();
    while link.is_connected() {
        shard.fill_words(link, link.take_words(), &mut frame);
        if !frame.is_empty() {
            if let Err(error) = peer_frame::write(&mut stream, &[frame.body()]).await {
                tracing::info!("{:?}: {error}", link.key);
                break;
            }
            frame.clear(limits::REPLICA_FRAME_BYTES);
        }
        wait(shard, link).await;
    }
    // The reader hears the end.
    stream.shutdown();
}

/// Waits for something to say.
async fn wait(shard: &Shard, link: &Link) {
    match link.later_due() {
        None => link.news.notified().await,
        Some(due) => or(link.news.notified(), shard.rt.sleep_until(due)).await,
    }
    link.open_those_due(shard.rt.now());
}

impl Shard {
    fn fill_words(self: &Rc<Self>, link: &Rc<Link>, words: Words, frame: &mut EntryWriter) {
        let mut to_cut = Vec::new();
        {
            let state = &mut *self.state.borrow_mut();
            words.to_leave.into_iter().for_each(|id| frame.leave(id));
            for id in words.to_open {
                let Some(hosted) = state.partitions.get_mut(&id) else { continue };
                let is_ours = !state.cutting.contains_key(&id) && hosted.log.is_offline().is_none();
                if let Some(following) = follower_on(&mut hosted.role, link).filter(|_| is_ours) {
                    match following.follower.open(hosted.log.epochs()) {
                        Effect::Ask(request) => frame.open(id, &request),
                        Effect::Cut(to) => to_cut.push((id, Wanted::Cut(to))),
                        effect => unreachable!("to open is to ask or to cut, not {effect:?}"),
                    }
                }
            }
            for id in words.flushed {
                let Some(hosted) = state.partitions.get_mut(&id) else { continue };
                if let Some(following) = follower_on(&mut hosted.role, link) {
                    following.ack_is_due = false;
                    following.follower.ack().into_iter().for_each(|ack| frame.ack(id, &ack));
                }
            }
        }
        to_cut.into_iter().for_each(|(id, wanted)| self.cut(id, wanted));
    }
}

/// The follower, if it follows on this link.
pub(super) fn follower_on<'a>(role: &'a mut Role, link: &Rc<Link>) -> Option<&'a mut Following> {
    match role {
        Role::Follower(following) if following.link.as_ref().is_some_and(|on| Rc::ptr_eq(on, link)) => Some(following),
        Role::Follower(_) | Role::Leader(_) => None,
    }
}
