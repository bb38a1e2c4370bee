//! The shards' beginning: what they find on the disk, and the images they are handed from then on.
//!
//! *Which core*: metadata.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use storage::checkpoints::{self, Checkpoint};
use storage::data_dir::DataDir;
use storage::data_dir::partitions::SetAside;
use storage::epoch_journal::{self, EpochChanges};

use crate::mesh::Mesh;
use crate::message::{Beginning, Core, Request};
use crate::metadata::image::Image;
use crate::metadata::node::Node;
use crate::metadata::publish::Subscription;
use crate::model::{PartitionId, ShardId};
use crate::server::{Setup, World};
use crate::shard::placement;

/// Begins every shard with the node's image, hands it its first publication, and from then on all others.
pub(super) async fn begin(
    world: &World,
    setup: &Setup,
    mesh: &Mesh,
    data_dir: &DataDir,
    node: &Node,
) -> Result<Arc<Image>, String> {
    let image = node.image();
    set_aside_unknown(world, data_dir, &image).await?;
    begin_shards(world, setup, mesh, data_dir, &image).await?;
    let first = (0..setup.shards).map(|shard| publish_to(node.subscribe(), mesh.clone(), ShardId(shard)));
    for publishing in join_all(first).await {
        world.rt.spawn(publishing);
    }
    Ok(image)
}

/// Partitions' directories that the metadata does not know are renamed, not removed (lesson 40).
async fn set_aside_unknown(world: &World, data_dir: &DataDir, image: &Image) -> Result<(), String> {
    let dirs = data_dir.partition_dirs().await.map_err(|error| error.to_string())?;
    for dir in dirs {
        let known = dir
            .topic_id
            .and_then(|id| image.topic(id))
            .is_some_and(|topic| *topic.name == *dir.topic && topic.partition(dir.partition).is_some());
        if !known {
            tracing::warn!("{} is of no topic that the metadata knows: set aside", dir.path.display());
            let (now, random) = (world.rt.wall_ms(), world.rt.random_u64());
            data_dir.set_aside(&dir.path, SetAside::Stray, now, random).await.map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

async fn begin_shards(
    world: &World,
    setup: &Setup,
    mesh: &Mesh,
    data_dir: &DataDir,
    image: &Arc<Image>,
) -> Result<(), String> {
    let facts = world.disk.fs_facts(data_dir.path()).await.map_err(|error| error.to_string())?;
    tracing::info!("{}", facts.reason);
    let text = |error: storage::disk::DiskError| error.to_string();
    let loaded = checkpoints::load(&world.disk, data_dir.path()).await.map_err(text)?;
    let replayed = epoch_journal::replay(&world.disk, data_dir.path()).await.map_err(text)?;
    for damage in loaded.damage.iter().chain(&replayed.damage) {
        tracing::warn!("{damage}");
    }
    let mut by_shard: Vec<(BTreeMap<PartitionId, Checkpoint>, EpochChanges)> = vec![Default::default(); setup.shards];
    for (partition, checkpoint) in loaded.checkpoints {
        by_shard[placement::shard_of(partition, setup.shards).0].0.insert(partition, checkpoint);
    }
    for (partition, changes) in replayed.changes {
        by_shard[placement::shard_of(partition, setup.shards).0].1.insert(partition, changes);
    }
    let begins = by_shard.into_iter().enumerate().map(|(shard, (known, changes))| {
        let beginning = Beginning {
            identity: data_dir.identity().clone(),
            facts: facts.clone(),
            checkpoints: (loaded.generation, known),
            epochs: (replayed.generation, changes),
            image: image.clone(),
        };
        mesh.call(Core::Shard(ShardId(shard)), Request::Begin(Box::new(beginning)))
    });
    if !join_all(begins).await.into_iter().all(|reply| reply.is_some()) {
        return Err("a shard did not begin".into());
    }
    let generations = (loaded.generation, replayed.generation);
    world.rt.spawn(take_over(world.clone(), data_dir.path().to_owned(), mesh.clone(), setup.shards, generations));
    Ok(())
}

/// Removes the files of earlier starts (before these generations of checkpoints and epoch journals), once every shard has its own.
async fn take_over(world: World, data_dir: PathBuf, mesh: Mesh, shards: usize, generations: (u64, u64)) {
    let takes = (0..shards).map(|shard| mesh.call(Core::Shard(ShardId(shard)), Request::TakeOver));
    if !join_all(takes).await.into_iter().all(|reply| reply.is_some()) {
        return;
    }
    let removed = async {
        checkpoints::remove_loaded(&world.disk, &data_dir, generations.0).await?;
        epoch_journal::remove_replayed(&world.disk, &data_dir, generations.1).await
    };
    if let Err(error) = removed.await {
        world.rt.die(&error.to_string());
    }
}

/// Hands a shard its first publication, and returns what hands it all others.
async fn publish_to(subscription: Subscription, mesh: Mesh, shard: ShardId) -> impl Future<Output = ()> + 'static {
    async fn hand_over(subscription: &Subscription, mesh: &Mesh, shard: ShardId) -> bool {
        let Some(publication) = subscription.next().await else { return false };
        let version = publication.image.version();
        let done = mesh.call(Core::Shard(shard), Request::Publish(publication)).await;
        subscription.acknowledge(version);
        done.is_some()
    }
    hand_over(&subscription, &mesh, shard).await;
    async move { while hand_over(&subscription, &mesh, shard).await {} }
}
