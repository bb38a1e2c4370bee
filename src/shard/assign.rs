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
use storage::epoch_journal::{self, EpochChange};
use storage::log::{KnownPoints, Log, LogConfig, OpenError};

use crate::config::topic::TopicConfig;
use crate::limits;
use crate::metadata::image::{Delta, Image, Partition, Topic};
use crate::metadata::publish::Publication;
use crate::metrics::PartitionMetrics;
use crate::model::{LeaderEpoch, PartitionId};
use crate::partition::isr::{AssignedReplica, Assignment};
use crate::partition::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogEndOffset, LogStartOffset};
use crate::partition::leader::Reign;
use crate::partition::replica::LagLimits;
use crate::partition::{Effects, Follower, Leader};
use crate::shard::hosted::{Following, Hosted, Leading, Role};
use crate::shard::{Shard, placement};

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
        if !delta.brokers.is_empty() {
            self.on_brokers_changed(&image, &delta);
        }
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
                    if let Role::Leader(leading) = &mut hosted.role {
                        leading.leader.on_min_insync_replicas(config.min_insync_replicas, &mut effects);
                        leading.on_moved(id);
                    }
                }
            }
            state.topic_configs.insert(topic.id, config);
        }
        self.run_effects(state, &mut effects);
        state.effects = effects;
    }

    /// Makes true what the metadata says of one partition.
    async fn assign(self: Rc<Self>, topic: Arc<Topic>, id: PartitionId) {
        let Some(partition) = topic.partition(id.partition) else { return };
        if !partition.replicas.contains(&self.me) {
            return self.close(&topic, id, SetAside::Stray).await;
        }
        if self.follows_in(id, partition) {
            // Only others' standing has changed. A cut that waits goes on: nobody would ask for it again.
            return self.follow(id, partition);
        }
        self.uncut(id).await;
        let is_open = self.state.borrow().partitions.contains_key(&id);
        if !is_open && !self.open(&topic, id, partition.leader_epoch).await {
            return;
        }
        if partition.leader == Some(self.me) {
            if let Err(error) = self.lead(id, partition).await {
                self.on_not_opened(&topic, id, &error);
            }
        } else {
            self.follow(id, partition);
        }
    }

    /// A replica does not do what it should. For want of space it is tried again.
    fn on_not_opened(&self, topic: &Topic, id: PartitionId, error: &NotOpened) {
        let state = &mut *self.state.borrow_mut();
        if state.broken.insert(id) {
            tracing::error!("{}-{} is offline: {error}", topic.name, id.partition);
            self.metrics.log_offline();
        }
        if matches!(error, NotOpened::NoSpace) {
            state.unopened.push(id);
        }
    }

    /// Opens a replica that leads and follows nobody yet. Says whether there is one now.
    async fn open(&self, topic: &Topic, id: PartitionId, leader_epoch: LeaderEpoch) -> bool {
        match self.open_log(&topic.name, id, leader_epoch).await {
            Ok((log, ladder)) => {
                let metrics = Arc::new(PartitionMetrics::new(topic.name.clone(), id.partition));
                let role = Role::Follower(Following::new(Follower::new(leader_epoch, ladder)));
                let state = &mut *self.state.borrow_mut();
                state.partitions.insert(id, Hosted::new(role, log, metrics));
                self.on_partitions_changed(state);
                true
            }
            Err(error) => {
                self.on_not_opened(topic, id, &error);
                false
            }
        }
    }

    /// Opens a log, with what the last checkpoint and the epoch journal know of it.
    pub(crate) async fn open_log(
        &self,
        topic: &str,
        id: PartitionId,
        leader_epoch: LeaderEpoch,
    ) -> Result<(Log, Ladder), NotOpened> {
        let dir = self.data_dir.create_partition(topic, id).await?;
        let config = self.topic_config(id.topic_id).ok_or_else(|| NotOpened::Failed("its topic is gone".into()))?;
        let checkpoint = self.checkpoints.get(id).unwrap_or_default();
        let Checkpoint { recovery_point, high_watermark, log_start_offset } = checkpoint;
        let newest_epoch = Some(leader_epoch);
        let epoch_changes = self.epochs.borrow().get(&id).cloned().unwrap_or_default();
        let known = KnownPoints { recovery_point, high_watermark, log_start_offset, newest_epoch, epoch_changes };
        let opened =
            Log::open(&self.disk, &self.read_cache, &dir, self.log_config(&config), known, self.rt.wall_ms()).await?;
        self.metrics.recovered(opened.report.scanned_bytes, opened.report.torn.is_some());
        if let Some(torn) = &opened.report.torn {
            tracing::info!("{topic}-{}: a torn tail was cut: {torn}", id.partition);
        }
        let undone = {
            let carried = self.epochs.borrow();
            epoch_journal::undone(carried.get(&id).map_or(&[], Vec::as_slice), opened.log.epochs())
        };
        if !undone.is_empty() {
            let mark = self.epoch_journal.queue(undone.into_iter().map(|change| (id, change)));
            self.epoch_journal.durable(mark).await?;
        }
        self.epochs.borrow_mut().remove(&id);
        let offsets = opened.log.offsets();
        let ladder = Ladder::new(
            LogStartOffset(offsets.log_start_offset),
            HighWatermark(high_watermark),
            FlushedEndOffset(offsets.flushed_end_offset),
            LogEndOffset(offsets.log_end_offset),
        );
        Ok((opened.log, ladder))
    }

    /// Leads, or goes on leading with what has changed.
    async fn lead(&self, id: PartitionId, partition: &Partition) -> Result<(), NotOpened> {
        let leader_epoch = partition.leader_epoch;
        let assignment = assignment(partition, &self.image());
        let goes_on = self.with_role(id, |role, effects| match role {
            Role::Leader(leading) if leading.leader.leader_epoch() == leader_epoch => {
                leading.leader.on_assignment(&assignment, self.rt.now(), effects);
                leading.on_moved(id);
                true
            }
            role => {
                // Nothing is appended from now on until the new reign begins.
                role.resign(id, effects);
                *role = Role::Follower(Following::new(Follower::new(leader_epoch, *role.ladder())));
                false
            }
        });
        self.waiting.notify();
        if goes_on != Some(false) {
            return Ok(());
        }
        // Where the reign begins is durable before it does.
        let begin = {
            let state = self.state.borrow();
            let log = state.partitions.get(&id).map(|hosted| &hosted.log);
            let log = log.filter(|log| log.epochs().latest().is_none_or(|latest| latest < leader_epoch));
            log.map(|log| log.offsets().log_end_offset)
        };
        if let Some(start_offset) = begin {
            let mark = self.epoch_journal.queue([(id, EpochChange::Begin { epoch: leader_epoch, start_offset })]);
            self.epoch_journal.durable(mark).await?;
        }
        self.begin_reign(id, partition, begin);
        Ok(())
    }

    fn begin_reign(&self, id: PartitionId, partition: &Partition, epoch_starts_at: Option<i64>) {
        let Some(config) = self.topic_config(id.topic_id) else { return };
        let assignment = assignment(partition, &self.image());
        let state = &mut *self.state.borrow_mut();
        let Some(hosted) = state.partitions.get_mut(&id) else { return };
        if let Some(start_offset) = epoch_starts_at {
            hosted.log.assign_epoch(partition.leader_epoch, start_offset);
        }
        let time = Duration::from_millis(self.config.broker.replica_lag_time_max_ms);
        let reign = Reign {
            partition: id,
            broker: self.me,
            leader_epoch: partition.leader_epoch,
            lag_limits: LagLimits { time, records: self.config.broker.lag_records_max() },
        };
        let ladder = *hosted.role.ladder();
        let leader = Leader::new(reign, ladder, &assignment, config.min_insync_replicas, self.rt.now());
        hosted.role = Role::Leader(Leading::new(leader));
        state.broken.remove(&id);
        hosted.show();
    }

    /// Is the partition followed here already, in the epoch that the metadata has?
    fn follows_in(&self, id: PartitionId, partition: &Partition) -> bool {
        let state = self.state.borrow();
        let role = state.partitions.get(&id).map(|hosted| &hosted.role);
        let follows = matches!(role, Some(Role::Follower(following))
            if following.follower.leader_epoch() == partition.leader_epoch);
        follows && partition.leader != Some(self.me)
    }

    /// Follows whoever leads now, in its epoch.
    fn follow(self: &Rc<Self>, id: PartitionId, partition: &Partition) {
        let leader_epoch = partition.leader_epoch;
        self.with_role(id, |role, effects| {
            let goes_on =
                matches!(role, Role::Follower(following) if following.follower.leader_epoch() == leader_epoch);
            if !goes_on {
                role.resign(id, effects);
                *role = Role::Follower(Following::new(Follower::new(leader_epoch, *role.ladder())));
            }
        });
        self.state.borrow_mut().broken.remove(&id);
        self.follow_on_link(&self.image(), partition.leader, id);
    }

    /// Does something with a replica's role, and what follows from it.
    fn with_role<T>(&self, id: PartitionId, act: impl FnOnce(&mut Role, &mut Effects) -> T) -> Option<T> {
        let state = &mut *self.state.borrow_mut();
        let mut effects = std::mem::take(&mut state.effects);
        let done = state.partitions.get_mut(&id).map(|hosted| {
            let done = act(&mut hosted.role, &mut effects);
            hosted.show();
            done
        });
        self.run_effects(state, &mut effects);
        state.effects = effects;
        done
    }

    /// Brokers have come, gone or restarted: leaders learn who of their replicas is alive, followers where their leaders are.
    fn on_brokers_changed(self: &Rc<Self>, image: &Image, delta: &Delta) {
        for broker in delta.brokers.iter().filter_map(|id| image.brokers().get(id)) {
            self.end_feeds_before(broker.id, broker.epoch);
        }
        let concerned: Vec<PartitionId> = {
            let state = self.state.borrow();
            let led = state.partitions.iter().filter(|(_, hosted)| hosted.role.leader().is_some());
            let has_changed = |id: &PartitionId| {
                let replicas = image.partition(*id).map(|partition| &partition.replicas);
                replicas.is_some_and(|replicas| replicas.iter().any(|broker| delta.brokers.contains(broker)))
            };
            led.map(|(id, _)| *id).filter(has_changed).collect()
        };
        for id in concerned {
            let Some(partition) = image.partition(id) else { continue };
            self.with_role(id, |role, effects| {
                if let Role::Leader(leading) = role
                    && leading.leader.leader_epoch() == partition.leader_epoch
                {
                    leading.leader.on_assignment(&assignment(partition, image), self.rt.now(), effects);
                    leading.on_moved(id);
                }
            });
        }
        self.waiting.notify();
        self.on_brokers(image, |broker| delta.brokers.contains(&broker));
    }

    async fn close_topic(&self, topic: &Topic) {
        for (index, _) in topic.partitions.iter() {
            let id = PartitionId { topic_id: topic.id, partition: *index };
            if placement::shard_of(id, self.shards) == self.id {
                self.close(topic, id, SetAside::Delete).await;
            }
        }
        self.state.borrow_mut().topic_configs.remove(&topic.id);
    }

    /// Holds the partition no longer, and sets its files aside.
    async fn close(&self, topic: &Topic, id: PartitionId, why: SetAside) {
        self.uncut(id).await;
        let at_work = {
            let state = &mut *self.state.borrow_mut();
            state.broken.remove(&id);
            self.checkpoints.forget(id);
            self.epoch_journal.forget(id);
            let mut effects = std::mem::take(&mut state.effects);
            let removed = state.partitions.remove(&id).map(|mut hosted| {
                state.tails.forget(&hosted);
                hosted.role.resign(id, &mut effects);
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
        if let Err(error) = self.data_dir.set_aside(&path, why, now, random).await {
            tracing::warn!(
                "the files of {}-{}, which is not held here any more, stay: {error}",
                topic.name,
                id.partition
            );
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
pub(crate) enum NotOpened {
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
        live_as: image.brokers().get(broker).filter(|broker| broker.is_live()).map(|broker| broker.epoch),
    });
    Assignment { partition_epoch: partition.partition_epoch, replicas: replicas.collect() }
}
