//! Acting on metadata: which partitions this shard opens, closes, and leads in which epoch.
//!
//! *Invariants*: publications are acted on one after the other; what is deleted is closed before what is new is opened, for a
//! new topic may have the old one's name; a publication is answered once the shard acts on it.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use storage::checkpoints::Checkpoint;
use storage::data_dir::DataDirError;
use storage::data_dir::partitions::SetAside;
use storage::disk::{DiskError, DiskErrorReason};
use storage::epoch_journal::EpochChange;
use storage::log::{KnownPoints, Log, LogConfig, OpenError};

use crate::config::topic::TopicConfig;
use crate::limits;
use crate::local::Gate;
use crate::metadata::image::{Image, Partition, Topic};
use crate::metadata::publish::Publication;
use crate::metrics::PartitionMetrics;
use crate::model::PartitionId;
use crate::partition::isr::{AssignedReplica, Assignment};
use crate::partition::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogEndOffset, LogStartOffset};
use crate::partition::leader::Reign;
use crate::partition::replica::LagLimits;
use crate::partition::{AckError, Leader};
use crate::shard::{Hosted, Shard, placement};

impl Shard {
    /// Makes the publication true here.
    pub(crate) async fn on_publication(self: &Rc<Self>, publication: Publication) {
        let _one_at_a_time = self.assigning.lock().await;
        let Publication { image, delta } = publication;
        for topic in delta.topics_deleted.values() {
            self.close_topic(topic).await;
        }
        let created = delta.topics_created.iter().filter_map(|id| image.topic(*id));
        let of_created = created.flat_map(|topic| topic.partitions.iter().map(|(index, _)| (topic.clone(), *index)));
        let of_others =
            delta.partitions.iter().filter_map(|id| Some((image.topic(id.topic_id)?.clone(), id.partition)));
        let mine: Vec<(Arc<Topic>, PartitionId)> = of_created
            .chain(of_others)
            .map(|(topic, partition)| (topic.clone(), PartitionId { topic_id: topic.id, partition }))
            .filter(|(_, id)| placement::shard_of(*id, self.shards) == self.id)
            .collect();
        self.adopt(&image, delta.topics_created.iter().chain(&delta.topic_configs));
        self.assign_all(mine).await;
    }

    /// Opens what there was no space for.
    pub(crate) async fn assign_again(self: &Rc<Self>) {
        let _one_at_a_time = self.assigning.lock().await;
        let (image, ids) = {
            let state = &mut *self.state.borrow_mut();
            (state.image.clone(), std::mem::take(&mut state.unopened))
        };
        let known = ids.into_iter().filter_map(|id| Some((image.topic(id.topic_id)?.clone(), id)));
        self.assign_all(known.collect()).await;
    }

    async fn assign_all(self: &Rc<Self>, partitions: Vec<(Arc<Topic>, PartitionId)>) {
        let assigned = partitions.into_iter().map(|(topic, id)| self.clone().assign(topic, id));
        stream::iter(assigned).buffer_unordered(limits::PARTITIONS_OPENING_MAX).collect::<Vec<()>>().await;
    }

    /// From now on this image holds.
    fn adopt<'a>(&self, image: &Arc<Image>, topics: impl Iterator<Item = &'a crate::model::TopicId>) {
        let state = &mut *self.state.borrow_mut();
        state.image = image.clone();
        let mut effects = std::mem::take(&mut state.effects);
        for topic in topics.filter_map(|id| image.topic(*id)) {
            let config = Rc::new(crate::config::topic::effective(&topic.configs, &self.config.broker));
            for (index, _) in topic.partitions.iter() {
                let id = PartitionId { topic_id: topic.id, partition: *index };
                if let Some(hosted) = state.partitions.get_mut(&id) {
                    hosted.log.set_config(self.log_config(&config));
                    hosted.leader.on_min_insync_replicas(config.min_insync_replicas, &mut effects);
                }
            }
            state.topic_configs.insert(topic.id, config);
        }
        self.run_effects(state, &mut effects);
        state.effects = effects;
    }

    async fn assign(self: Rc<Self>, topic: Arc<Topic>, id: PartitionId) {
        let Some(partition) = topic.partition(id.partition) else { return };
        let leads = partition.leader == Some(self.me);
        let is_open = self.state.borrow().partitions.contains_key(&id);
        if !leads || is_open {
            return;
        }
        match self.open(&topic, id, partition).await {
            Ok(hosted) => {
                let state = &mut *self.state.borrow_mut();
                state.broken.remove(&id);
                hosted.show();
                state.partitions.insert(id, hosted);
                self.on_partitions_changed(state);
            }
            Err(error) => {
                let state = &mut *self.state.borrow_mut();
                if state.broken.insert(id) {
                    tracing::error!("{}-{} is offline: {error}", topic.name, id.partition);
                    self.metrics.log_offline();
                }
                if matches!(error, NotOpened::NoSpace) {
                    state.unopened.push(id);
                }
            }
        }
    }

    async fn open(&self, topic: &Topic, id: PartitionId, partition: &Partition) -> Result<Hosted, NotOpened> {
        let dir = self.data_dir.create_partition(&topic.name, id).await?;
        let config = self.topic_config(id.topic_id).ok_or_else(|| NotOpened::Failed("its topic is gone".into()))?;
        let checkpoint = self.checkpoints.get(id).unwrap_or_default();
        let Checkpoint { recovery_point, high_watermark, log_start_offset } = checkpoint;
        let newest_epoch = Some(partition.leader_epoch);
        let epoch_changes = self.epochs.borrow().get(&id).cloned().unwrap_or_default();
        let known = KnownPoints { recovery_point, high_watermark, log_start_offset, newest_epoch, epoch_changes };
        let opened =
            Log::open(&self.disk, &self.read_cache, &dir, self.log_config(&config), known, self.rt.wall_ms()).await?;
        self.metrics.recovered(opened.report.scanned_bytes, opened.report.torn.is_some());
        if let Some(torn) = &opened.report.torn {
            tracing::info!("{}-{}: a torn tail was cut: {torn}", topic.name, id.partition);
        }
        let mut log = opened.log;
        if log.epochs().latest().is_none_or(|latest| latest < partition.leader_epoch) {
            let (epoch, start_offset) = (partition.leader_epoch, log.offsets().log_end_offset);
            let mark = self.epoch_journal.queue([(id, EpochChange::Begin { epoch, start_offset })]);
            self.epoch_journal.durable(mark).await?;
            log.assign_epoch(epoch, start_offset);
        }
        self.epochs.borrow_mut().remove(&id);
        let offsets = log.offsets();
        let ladder = Ladder::new(
            LogStartOffset(offsets.log_start_offset),
            HighWatermark(high_watermark),
            FlushedEndOffset(offsets.flushed_end_offset),
            LogEndOffset(offsets.log_end_offset),
        );
        let time = Duration::from_millis(self.config.broker.replica_lag_time_max_ms);
        let reign = Reign {
            partition: id,
            broker: self.me,
            leader_epoch: partition.leader_epoch,
            lag_limits: LagLimits { time, records: None },
        };
        let assignment = assignment(partition, &self.image());
        let leader = Leader::new(reign, ladder, &assignment, config.min_insync_replicas, self.rt.now());
        let metrics = Arc::new(PartitionMetrics::new(topic.name.clone(), id.partition));
        let at_work = Gate::default();
        Ok(Hosted { leader, log, metrics, is_dirty: false, tail_bytes: 0, at_work, in_maintenance: false })
    }

    async fn close_topic(&self, topic: &Topic) {
        for (index, _) in topic.partitions.iter() {
            let id = PartitionId { topic_id: topic.id, partition: *index };
            if placement::shard_of(id, self.shards) == self.id {
                self.close_deleted(topic, id).await;
            }
        }
        self.state.borrow_mut().topic_configs.remove(&topic.id);
    }

    async fn close_deleted(&self, topic: &Topic, id: PartitionId) {
        let at_work = {
            let state = &mut *self.state.borrow_mut();
            state.broken.remove(&id);
            self.checkpoints.forget(id);
            self.epoch_journal.forget(id);
            let mut effects = std::mem::take(&mut state.effects);
            let removed = state.partitions.remove(&id).map(|mut hosted| {
                state.tails.forget(&hosted);
                hosted.leader.on_resigned(AckError::NotLeader, &mut effects);
                self.on_partitions_changed(state);
                hosted.at_work
            });
            self.run_effects(state, &mut effects);
            state.effects = effects;
            removed
        };
        if let Some(at_work) = at_work {
            at_work.emptied().await;
        }
        let path = self.data_dir.partition_path(&topic.name, id.partition);
        let (now, random) = (self.rt.wall_ms(), self.rt.random_u64());
        if let Err(error) = self.data_dir.set_aside(&path, SetAside::Delete, now, random).await {
            tracing::warn!("the files of deleted {}-{} stay: {error}", topic.name, id.partition);
        }
    }

    /// A topic's settings, as the last publication had them.
    pub(crate) fn topic_config(&self, topic: crate::model::TopicId) -> Option<Rc<TopicConfig>> {
        self.state.borrow().topic_configs.get(&topic).cloned()
    }

    fn log_config(&self, topic: &TopicConfig) -> LogConfig {
        LogConfig {
            segment_bytes: topic.segment_bytes,
            segment_ms: topic.segment_ms,
            index_interval_bytes: topic.index_interval_bytes as u64,
            retention_ms: topic.retention_ms,
            retention_bytes: topic.retention_bytes,
            producer_expiration_ms: self.config.broker.producer_id_expiration_ms,
            max_batch_bytes: topic.max_message_bytes,
            bugs: self.config.bugs,
            ..LogConfig::default()
        }
    }
}

/// Why a partition is not open.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    /// The disk is full; it is tried again.
    #[error("no space left")]
    NoSpace,
    /// It is damaged, or the disk is.
    #[error("{0}")]
    Failed(String),
}

impl From<DiskError> for NotOpened {
    fn from(error: DiskError) -> NotOpened {
        match error.reason {
            DiskErrorReason::NoSpace => NotOpened::NoSpace,
            DiskErrorReason::NotFound | DiskErrorReason::Io(_) => NotOpened::Failed(error.to_string()),
        }
    }
}

impl From<DataDirError> for NotOpened {
    fn from(error: DataDirError) -> NotOpened {
        match error {
            DataDirError::Disk(error) => error.into(),
            error => NotOpened::Failed(error.to_string()),
        }
    }
}

impl From<OpenError> for NotOpened {
    fn from(error: OpenError) -> NotOpened {
        match error {
            OpenError::Disk(error) => error.into(),
            error @ OpenError::Corrupt { .. } => NotOpened::Failed(error.to_string()),
        }
    }
}

/// What a partition's leader must know of its replicas.
fn assignment(partition: &Partition, image: &Image) -> Assignment {
    let replicas = partition.replicas.iter().map(|broker| AssignedReplica {
        broker: *broker,
        in_sync: partition.isr.contains(broker),
        live_as: image.brokers().get(broker).filter(|broker| !broker.fenced).map(|broker| broker.epoch),
    });
    Assignment { partition_epoch: partition.partition_epoch, replicas: replicas.collect() }
}
