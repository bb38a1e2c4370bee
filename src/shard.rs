//! A shard: one core, the partitions it owns, and every loop over them.
//!
//! *Which core*: its own executor; nothing here is shared with another.
//! *Invariants*: a partition is touched only in short borrows of `State` that never live across an await; offsets are given
//! only in [`produce`], acknowledgements only come out of the partition's core.
//! *Not here*: Kafka's wire structs (`api`), sockets (`connection`), files (`storage`).
//!
//! ```text
//! produce -> partition::Leader::admit -> Log::append -> dirty -> flush turn -> Leader::on_flushed -> effects -> answers
//! fetch   -> Log::read_plan -> execute -> records            watch -> parked at the high watermark -> woken once
//! ```

pub mod assign;
pub mod checkpoint;
pub mod effects;
pub mod fetch;
pub mod flush;
mod follow;
mod hosted;
pub mod housekeeping;
mod lead;
pub mod offsets;
pub mod placement;
pub mod produce;
pub mod serve;
mod show;
mod tails;
#[cfg(test)]
mod tests;
mod turns;
pub mod watch;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use futures_util::lock::Mutex;
use hashbrown::HashMap;
use net::stream::Net;
use slab::Slab;
use storage::batch::ProducedLimits;
use storage::checkpoints::Checkpoints;
use storage::data_dir::DataDir;
use storage::disk::Disk;
use storage::epoch_journal::{EpochChanges, EpochJournal, Mark};
use storage::log::ReadCache;
use storage::turn::Barrier;

use crate::config::Config;
use crate::config::topic::TopicConfig;
use crate::limits;
use crate::local::{Budget, Notify, Pulse};
use crate::mesh::Mesh;
use crate::message::{FetchError, Reply, SharedImage};
use crate::metrics::ShardMetrics;
use crate::model::{BrokerId, LeaderEpoch, PartitionId, ShardId, TopicId};
use crate::partition::{Effects, IsrProposal};
use crate::rt::Rt;

use follow::{Cutting, Link};
use hosted::Hosted;
use lead::Feed;
pub use serve::Caller;
use turns::Turns;

/// A map that iterates in the same order in every run: the simulator replays by it.
pub(crate) type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// One shard of the broker.
pub struct Shard {
    pub(crate) id: ShardId,
    pub(crate) shards: usize,
    pub(crate) me: BrokerId,
    pub(crate) rt: Rt,
    pub(crate) disk: Disk,
    pub(crate) net: Net,
    pub(crate) mesh: Mesh,
    pub(crate) data_dir: DataDir,
    pub(crate) barrier: Barrier,
    /// What was read from disk, for all its logs.
    pub(crate) read_cache: ReadCache,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<ShardMetrics>,
    pub(crate) state: RefCell<State>,
    /// Some log has something to flush.
    pub(crate) dirty: Notify,
    /// Some produce waits, so deadlines matter.
    pub(crate) waiting: Notify,
    /// All is flushed, and the flush loop has ended.
    pub(crate) flushed: Notify,
    pub(crate) turns: Turns,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) epoch_journal: EpochJournal,
    /// What earlier journals held of partitions that are not open yet.
    pub(crate) epochs: RefCell<EpochChanges>,
    /// Held by the one that opens and closes partitions.
    pub(crate) assigning: Mutex<()>,
    /// Epochs that came with followers' batches: the next turn makes them durable.
    pub(crate) epochs_queued: Cell<Option<Mark>>,
    /// Changes of in-sync replicas are to be proposed.
    pub(crate) proposing: Notify,
    /// Some feed has offsets to tell, though not at once.
    pub(crate) offsets_moved: Rc<Notify>,
    /// Cuts that are under way at once.
    pub(crate) cut_slots: Budget,
    pub(crate) next_cut: Cell<u64>,
    pub(crate) cut_over: Pulse,
    /// Logs that a maintenance task has in hand.
    pub(crate) maintained: Cell<usize>,
    /// Reads ahead of consumers that are under way.
    pub(crate) reading_ahead: Cell<usize>,
    /// Something moved since the last checkpoint.
    pub(crate) moved: Cell<bool>,
    /// Partitions were opened or closed since operators were shown which there are.
    pub(crate) partitions_changed: Cell<bool>,
    pub(crate) stopping: Cell<bool>,
}

/// What the shard owns. Borrowed shortly, by one task at a time.
pub(crate) struct State {
    pub(crate) image: SharedImage,
    pub(crate) partitions: Map<PartitionId, Hosted>,
    /// Logs with something to flush, in the order in which they got it; each at most once.
    pub(crate) dirty: Vec<PartitionId>,
    pub(crate) produces: Slab<produce::PendingProduce>,
    pub(crate) watches: Slab<Rc<Notify>>,
    /// Settings of every topic, whoever owns its partitions: batches are checked on the connection's shard.
    pub(crate) topic_configs: Map<TopicId, Rc<TopicConfig>>,
    /// Partitions that could not be opened: corrupt, or the disk failed.
    pub(crate) broken: BTreeSet<PartitionId>,
    /// Those of them for which there was only no space.
    pub(crate) unopened: Vec<PartitionId>,
    /// Streams on which followers elsewhere are fed.
    pub(crate) feeds: Vec<Rc<Feed>>,
    /// Streams on which leaders elsewhere are followed.
    pub(crate) links: Vec<Rc<Link>>,
    /// Followers' logs that are being cut.
    pub(crate) cutting: BTreeMap<PartitionId, Cutting>,
    /// In-sync replicas that leaders want, at most one wish for each partition.
    pub(crate) proposals: Vec<IsrProposal>,
    /// What the logs' tails take.
    pub(crate) tails: tails::Tails,
    /// Logs whose disk is full.
    pub(crate) without_space: Vec<PartitionId>,
    /// Reused, so that a produce allocates nothing here.
    pub(crate) effects: Effects,
}

/// What a shard is made of.
pub struct Parts {
    /// Its number.
    pub id: ShardId,
    /// How many there are.
    pub shards: usize,
    /// This broker.
    pub me: BrokerId,
    /// Its executor.
    pub rt: Rt,
    /// The disk.
    pub disk: Disk,
    /// The network, to dial leaders of other brokers.
    pub net: Net,
    /// The way to the other cores.
    pub mesh: Mesh,
    /// The data directory.
    pub data_dir: DataDir,
    /// How a turn is made durable.
    pub barrier: Barrier,
    /// The settings.
    pub config: Arc<Config>,
    /// Its counters.
    pub metrics: Arc<ShardMetrics>,
    /// The metadata to begin with: no partition of it is open yet.
    pub image: SharedImage,
    /// Where its partitions stand, on disk.
    pub checkpoints: Checkpoints,
    /// Leader epochs that are durable before they are used.
    pub epoch_journal: EpochJournal,
    /// What earlier journals held.
    pub epochs: EpochChanges,
}

impl Shard {
    /// Makes a shard without partitions and starts its loops.
    pub fn start(parts: Parts) -> Rc<Shard> {
        let state = State {
            image: parts.image,
            partitions: Map::default(),
            dirty: Vec::new(),
            produces: Slab::new(),
            watches: Slab::new(),
            topic_configs: Map::default(),
            broken: BTreeSet::new(),
            unopened: Vec::new(),
            feeds: Vec::new(),
            links: Vec::new(),
            cutting: BTreeMap::new(),
            proposals: Vec::new(),
            tails: tails::Tails::default(),
            without_space: Vec::new(),
            effects: Effects::new(),
        };
        let shard = Rc::new(Shard {
            id: parts.id,
            shards: parts.shards,
            me: parts.me,
            rt: parts.rt,
            disk: parts.disk,
            net: parts.net,
            mesh: parts.mesh,
            data_dir: parts.data_dir,
            barrier: parts.barrier,
            read_cache: ReadCache::new(limits::READ_CACHE_BYTES_PER_SHARD),
            config: parts.config,
            metrics: parts.metrics,
            state: RefCell::new(state),
            dirty: Notify::default(),
            waiting: Notify::default(),
            flushed: Notify::default(),
            turns: Turns::default(),
            checkpoints: parts.checkpoints,
            epoch_journal: parts.epoch_journal,
            epochs: RefCell::new(parts.epochs),
            assigning: Mutex::default(),
            epochs_queued: Cell::new(None),
            proposing: Notify::default(),
            offsets_moved: Rc::default(),
            cut_slots: Budget::new(limits::PARTITIONS_OPENING_MAX),
            next_cut: Cell::new(0),
            cut_over: Pulse::default(),
            maintained: Cell::new(0),
            reading_ahead: Cell::new(0),
            moved: Cell::new(false),
            partitions_changed: Cell::new(false),
            stopping: Cell::new(false),
        });
        shard.rt.spawn(flush::run(shard.clone()));
        shard.rt.spawn(produce::time_out(shard.clone()));
        shard.rt.spawn(housekeeping::run(shard.clone()));
        shard.rt.spawn(lead::propose(shard.clone()));
        shard.rt.spawn(lead::tell_offsets(shard.clone()));
        shard
    }

    /// Its number.
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The metadata that it acts on.
    pub fn image(&self) -> SharedImage {
        self.state.borrow().image.clone()
    }

    /// This broker.
    pub fn me(&self) -> BrokerId {
        self.me
    }

    /// Waits for the end of the turn that is in flight, if one is.
    pub async fn turn_ended(&self) {
        self.turns.ended().await;
    }

    /// What a producer's batch for a topic must keep to, now; `None`: there is no such topic any more.
    pub fn batch_limits(&self, topic: TopicId, wall_ms: i64) -> Option<ProducedLimits> {
        let state = self.state.borrow();
        let config = state.topic_configs.get(&topic)?;
        Some(ProducedLimits {
            batch_bytes_max: config.max_message_bytes,
            timestamp_min: wall_ms.saturating_sub(config.message_timestamp_before_max_ms),
            timestamp_max: wall_ms.saturating_add(config.message_timestamp_after_max_ms),
        })
    }
}

impl State {
    /// The partition, if it is led here in the epoch that the client believes in (KIP-320).
    pub(crate) fn led(
        &mut self,
        partition: PartitionId,
        believed: Option<LeaderEpoch>,
    ) -> Result<&mut Hosted, FetchError> {
        let Some(hosted) = self.partitions.get_mut(&partition) else {
            let known = self.image.partition(partition).is_some();
            return Err(match known {
                true if self.broken.contains(&partition) => FetchError::Storage,
                true => FetchError::NotLeader,
                false => FetchError::UnknownPartition,
            });
        };
        match believed {
            Some(epoch) if epoch < hosted.role.leader_epoch() => Err(FetchError::FencedLeaderEpoch),
            Some(epoch) if epoch > hosted.role.leader_epoch() => Err(FetchError::UnknownLeaderEpoch),
            Some(_) | None if hosted.role.leader().is_some() => Ok(hosted),
            Some(_) | None if self.broken.contains(&partition) => Err(FetchError::Storage),
            Some(_) | None => Err(FetchError::NotLeader),
        }
    }
}

/// A reply to whoever called.
pub(crate) fn answer(caller: Caller, reply: Reply) {
    match caller {
        Caller::Here(sender) => sender.send(reply),
        Caller::There(responder) => responder.answer(reply),
    }
}
