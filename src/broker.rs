//! What an API handler may ask of the broker, wherever the answer lives: on this shard without a hop, or on another core.
//!
//! *Which core*: one per shard executor.
//! *Invariants*: one message per (request, shard).
//! *Not here*: Kafka's wire structs above, partitions below.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;

use crate::config::Config;
use crate::limits;
use crate::local::{self, Budget};
use crate::mesh::Mesh;
use crate::message::{Core, FetchOrder, FetchOutcome, ProduceOrder, ProduceOutcome, Reply, Request, SharedImage};
use crate::metadata::request as metadata_request;
use crate::metrics::ShardMetrics;
use crate::model::{PartitionId, ProducerId, ShardId};
use crate::rt::Rt;
use crate::shard::{Shard, placement};

/// How long a change of metadata waits for a controller where the client does not say.
pub const UNTIMED_WAIT: Duration = Duration::from_millis(limits::METADATA_WAIT_MS);

/// A request's own time-out.
pub fn timeout(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

/// The broker, seen from one shard.
pub struct Broker {
    /// The runtime of this shard.
    pub rt: Rt,
    /// This shard.
    pub shard: Rc<Shard>,
    /// The way to the other cores.
    pub mesh: Mesh,
    /// The settings.
    pub config: Arc<Config>,
    /// This shard's counters.
    pub metrics: Arc<ShardMetrics>,
    /// How many shards there are.
    pub shards: usize,
    /// Producer ids to give out.
    pub producer_ids: ProducerIds,
    /// Bytes of small requests other than produces: these get through while produces wait for a slow disk, and large ones for
    /// each other.
    pub small_bytes: Budget,
    /// Bytes of responses that are not written yet.
    pub response_bytes: Budget,
}

/// Producer ids of this shard: blocks of them come from the metadata core, so no two shards or starts give out the same.
#[derive(Default)]
pub struct ProducerIds {
    block: Cell<Option<(i64, i64)>>,
}

impl ProducerIds {
    /// A producer id that nobody else has or will have.
    pub async fn next(&self, broker: &Broker) -> Result<ProducerId, metadata_request::SubmitError> {
        loop {
            if let Some((next, end)) = self.block.get().filter(|(next, end)| next < end) {
                self.block.set(Some((next + 1, end)));
                return Ok(ProducerId(next));
            }
            let me = broker.shard.me();
            let registered = broker.image().brokers().get(&me).map(|registered| registered.epoch);
            let Some(epoch) = registered else { return Err(metadata_request::SubmitError::Unknown) };
            let wish = metadata_request::Request::AllocateProducerIds { broker: me, epoch };
            match broker.change_metadata(wish, UNTIMED_WAIT).await? {
                metadata_request::Reply::AllocateProducerIds(Ok(block)) => {
                    self.block.set(Some((block.first.0, block.first.0 + block.count)));
                }
                _ => return Err(metadata_request::SubmitError::Unknown),
            }
        }
    }
}

/// The other core is gone: the broker is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is stopping")]
pub struct Stopping;

impl Broker {
    /// The cluster as this shard knows it.
    pub fn image(&self) -> SharedImage {
        self.shard.image()
    }

    /// The shard that owns a partition.
    pub fn shard_of(&self, partition: PartitionId) -> ShardId {
        placement::shard_of(partition, self.shards)
    }

    /// Appends to partitions of one shard. Their offsets are fixed, or the message is on its way, when this returns.
    pub fn produce(&self, shard: ShardId, order: ProduceOrder) -> ProduceCall {
        if shard == self.shard.id() {
            let (sender, receiver) = local::oneshot();
            self.shard.produce(order, crate::shard::produce::Client::Here(sender));
            ProduceCall::Here(receiver)
        } else {
            ProduceCall::There(Box::pin(self.mesh.call(Core::Shard(shard), Request::Produce(order))))
        }
    }

    /// Reads partitions of one shard.
    pub async fn fetch(&self, shard: ShardId, order: FetchOrder) -> Result<Vec<FetchOutcome>, Stopping> {
        if shard == self.shard.id() {
            return Ok(self.shard.fetch(order).await);
        }
        match self.mesh.call(Core::Shard(shard), Request::Fetch(order)).await {
            Some(Reply::Fetch(outcomes)) => Ok(outcomes),
            _ => Err(Stopping),
        }
    }

    /// Asks a shard what is not hot: here or there.
    pub async fn ask(&self, shard: ShardId, request: Request) -> Result<Reply, Stopping> {
        if shard == self.shard.id() {
            let (sender, receiver) = local::oneshot();
            self.shard.serve(request, crate::shard::Caller::Here(sender));
            return receiver.await.ok_or(Stopping);
        }
        self.mesh.call(Core::Shard(shard), request).await.ok_or(Stopping)
    }

    /// Asks each shard for its parts, one message each, and puts the outcomes back in the parts' order.
    /// `request` makes a shard's message of its parts, `outcomes` takes the reply apart.
    pub async fn ask_each<P, O>(
        &self,
        parts: Vec<(PartitionId, P)>,
        request: impl Fn(Vec<P>) -> Request,
        outcomes: impl Fn(Reply) -> Option<Vec<O>>,
    ) -> Result<Vec<O>, Stopping> {
        let mut slots: Vec<Option<O>> = Vec::new();
        slots.resize_with(parts.len(), || None);
        let mut by_shard: Vec<(Vec<usize>, Vec<P>)> = Vec::new();
        by_shard.resize_with(self.shards, Default::default);
        for (slot, (partition, part)) in parts.into_iter().enumerate() {
            let (indices, of_shard) = &mut by_shard[self.shard_of(partition).0];
            indices.push(slot);
            of_shard.push(part);
        }
        let (indices, calls): (Vec<_>, Vec<_>) = by_shard
            .into_iter()
            .enumerate()
            .filter(|(_, (indices, _))| !indices.is_empty())
            .map(|(shard, (indices, parts))| (indices, self.ask(ShardId(shard), request(parts))))
            .unzip();
        for (indices, reply) in indices.into_iter().zip(join_all(calls).await) {
            let found = outcomes(reply?).ok_or(Stopping)?;
            for (slot, outcome) in indices.into_iter().zip(found) {
                slots[slot] = Some(outcome);
            }
        }
        slots.into_iter().collect::<Option<Vec<O>>>().ok_or(Stopping)
    }

    /// Changes the metadata; resolves once the change is committed and every shard of this broker acts on it. While there is no
    /// controller, it is asked for again for up to `wait`.
    pub async fn change_metadata(
        &self,
        request: metadata_request::Request,
        wait: Duration,
    ) -> Result<metadata_request::Reply, metadata_request::SubmitError> {
        let deadline = self.rt.now().after(wait.min(Duration::from_millis(limits::METADATA_WAIT_MS_MAX)));
        loop {
            let outcome = match self.mesh.call(Core::Metadata, Request::Metadata(request.clone())).await {
                Some(Reply::Metadata(outcome)) => outcome,
                _ => Err(metadata_request::SubmitError::Stopping),
            };
            match outcome {
                // Nothing was changed: an election will pass.
                Err(metadata_request::SubmitError::NotController { .. }) if self.rt.now() < deadline => {
                    self.rt.sleep(Duration::from_millis(limits::METADATA_RETRY_MS)).await;
                }
                outcome => return outcome,
            }
        }
    }
}

/// A produce under way on one shard.
pub enum ProduceCall {
    /// This one.
    Here(local::OneshotReceiver<Vec<ProduceOutcome>>),
    /// Another.
    There(Pin<Box<dyn Future<Output = Option<Reply>>>>),
}

impl Future for ProduceCall {
    type Output = Result<Vec<ProduceOutcome>, Stopping>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            ProduceCall::Here(receiver) => Pin::new(receiver).poll(context).map(|outcomes| outcomes.ok_or(Stopping)),
            ProduceCall::There(reply) => reply.as_mut().poll(context).map(|reply| match reply {
                Some(Reply::Produce(outcomes)) => Ok(outcomes),
                _ => Err(Stopping),
            }),
        }
    }
}
