//! Calls to this shard, from its own connections or from other cores.
//!
//! *Invariants*: what must keep its order (appends, publications) is begun before [`Shard::serve`] returns.

use std::rc::Rc;

use crate::local;
use crate::mesh::Responder;
use crate::message::{Reply, Request};
use crate::shard::{Shard, answer, produce};

/// Who called.
pub enum Caller {
    /// A task of this executor.
    Here(local::OneshotSender<Reply>),
    /// Another executor.
    There(Responder),
}

impl Shard {
    /// Serves a call.
    pub fn serve(self: &Rc<Self>, request: Request, caller: Caller) {
        match request {
            Request::Produce(order) => {
                let Caller::There(responder) = caller else { unreachable!("a shard's own connections call produce") };
                self.produce(order, produce::Client::There(responder));
            }
            Request::Fetch(order) => {
                self.reply_later(caller, |shard| async move { Reply::Fetch(shard.fetch(order).await) })
            }
            Request::Watch(order) => self.reply_later(caller, |shard| async move {
                shard.watch(order).await;
                Reply::Watch
            }),
            Request::ListOffsets(parts) => {
                self.reply_later(caller, |shard| async move { Reply::ListOffsets(shard.list_offsets(parts).await) });
            }
            Request::EpochEnds(parts) => answer(caller, Reply::EpochEnds(self.epoch_ends(&parts))),
            Request::DeleteRecords(parts) => {
                self.reply_later(
                    caller,
                    |shard| async move { Reply::DeleteRecords(shard.delete_records(parts).await) },
                );
            }
            Request::Publish(publication) => self.reply_later(caller, |shard| async move {
                shard.on_publication(publication).await;
                Reply::Done
            }),
            Request::TakeOver => self.reply_later(caller, |shard| async move {
                shard.take_over().await;
                Reply::Done
            }),
            Request::Stop => self.reply_later(caller, |shard| async move {
                shard.stop().await;
                Reply::Done
            }),
            Request::ReplicaStream { connection, hello } => self.reply_later(caller, |shard| async move {
                shard.feed(connection, hello).await;
                Reply::Done
            }),
            Request::Begin(_) | Request::Connection(_) | Request::Metadata(_) => {
                unreachable!("beginnings, connections and metadata are not a shard's state")
            }
        }
    }

    fn reply_later<F: Future<Output = Reply> + 'static>(
        self: &Rc<Self>,
        caller: Caller,
        work: impl FnOnce(Rc<Shard>) -> F,
    ) {
        let work = work(self.clone());
        self.rt.spawn(async move { answer(caller, work.await) });
    }
}
