//! The metadata executor's life: the data directory, the raft node, publication to the shards, the acceptor, the stop.
//!
//! *Invariants*: nobody is accepted before every partition of the first image is open; the stop goes acceptor, shards, node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use futures_util::future::join_all;
use storage::checkpoints::{self, Checkpoint};
use storage::data_dir::identity::Identity;
use storage::data_dir::partitions::SetAside;
use storage::data_dir::{DataDir, kafka_id};
use storage::epoch_journal::{self, EpochChanges};
use uuid::Uuid;

use crate::mesh::{Mesh, MeshEnds, Responder};
use crate::message::{Beginning, Core, Reply, Request};
use crate::metadata::controller::{BrokerRegistration, Rules};
use crate::metadata::image::{Endpoint, Image};
use crate::metadata::node::{Node, NodeOptions};
use crate::metadata::publish::Subscription;
use crate::metadata::raft_log;
use crate::metadata::request as metadata_request;
use crate::model::{BrokerId, PartitionId, ShardId};
use crate::server::{Setup, World, accept};
use crate::shard::placement;

/// Runs the metadata core until the broker shall stop.
pub async fn run(world: World, setup: Setup, ends: MeshEnds) {
    let rt = world.rt.clone();
    match start(&world, &setup, ends).await {
        Ok(running) => {
            setup.metrics.process.set_ready(true);
            setup.stop.raised().await;
            setup.metrics.process.set_ready(false);
            running.stop(setup.shards).await;
        }
        Err(reason) => rt.die(&reason),
    }
}

struct Running {
    node: Rc<Node>,
    mesh: Mesh,
    _data_dir: DataDir,
}

impl Running {
    async fn stop(self, shards: usize) {
        let stops = (0..shards).map(|shard| self.mesh.call(Core::Shard(ShardId(shard)), Request::Stop));
        join_all(stops).await;
        self.node.stop().await;
    }
}

async fn start(world: &World, setup: &Setup, ends: MeshEnds) -> Result<Running, String> {
    let config = &setup.config;
    // First of all: a second broker on this port must fail before it touches anything.
    let address = config.process.kafka_bind;
    let listener = world
        .net
        .listen(address, crate::limits::LISTEN_BACKLOG)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let data_dir = open_data_dir(world, setup).await?;
    let identity = data_dir.identity().clone();
    setup.metrics.process.health.set_cluster_id(identity.cluster_id.clone().unwrap_or_default());
    let rules = rules(setup);
    let raft_identity = raft_log::Identity {
        cluster_id: identity.cluster_id.clone().unwrap_or_default(),
        node_id: BrokerId(identity.node_id),
        directory_id: identity.directory_id,
    };
    let mut options = NodeOptions::standalone(raft_identity, rules);
    options.metrics = setup.metrics.metadata.clone();
    let dir = data_dir.path().join("metadata");
    let node =
        Node::open(world.rt.clone(), world.disk.clone(), &dir, options).await.map_err(|error| error.to_string())?;
    if !node.caught_up().await {
        return Err("the metadata node stopped while it caught up".into());
    }
    world.rt.spawn(end_with(node.clone(), world.rt.clone()));
    let mesh = {
        let (node, rt) = (node.clone(), world.rt.clone());
        Mesh::start(&world.rt, ends, move |_, request, responder| serve(&node, &rt, request, responder))
    };
    register(&node, setup, &identity, listener.local_address().port()).await?;
    let image = node.image();
    set_aside_unknown(world, &data_dir, &image).await?;
    begin_shards(world, setup, &mesh, &data_dir, &image).await?;
    let first = (0..setup.shards).map(|shard| publish_to(node.subscribe(), mesh.clone(), ShardId(shard)));
    for publishing in join_all(first).await {
        world.rt.spawn(publishing);
    }
    tracing::info!(
        topics = image.topic_count(),
        partitions = image.partition_count(),
        "broker {} serves Kafka clients on {}",
        identity.node_id,
        listener.local_address()
    );
    world.rt.spawn(accept::run(world.clone(), setup.clone(), mesh.clone(), listener));
    Ok(Running { node, mesh, _data_dir: data_dir })
}

async fn open_data_dir(world: &World, setup: &Setup) -> Result<DataDir, String> {
    let config = &setup.config;
    let random = || Uuid::from_u64_pair(world.rt.random_u64(), world.rt.random_u64());
    let wanted = Identity { cluster_id: None, node_id: config.process.node_id.0, directory_id: random() };
    let mut data_dir =
        DataDir::open(&world.disk, &config.process.data_dir, &wanted).await.map_err(|error| error.to_string())?;
    if data_dir.identity().cluster_id.is_none() {
        let cluster_id = kafka_id::to_text(random());
        data_dir.join_cluster(&cluster_id).await.map_err(|error| error.to_string())?;
    }
    Ok(data_dir)
}

fn rules(setup: &Setup) -> Rules {
    let broker = &setup.config.broker;
    Rules {
        partitions_default: broker.num_partitions,
        replication_factor_default: broker.default_replication_factor,
        check_topic_config: crate::config::topic::validate,
        check_topic_configs: crate::config::topic::validate_all,
        check_broker_config: |name, _| {
            Err(format!("{name} cannot be changed while the broker runs: set it in the configuration file"))
        },
        list_default: |name| (name == "cleanup.policy").then_some("delete"),
    }
}

fn serve(node: &Rc<Node>, rt: &crate::rt::Rt, request: Request, responder: Responder) {
    let Request::Metadata(request) = request else { unreachable!("only metadata is asked of the metadata core") };
    let node = node.clone();
    rt.spawn(async move { responder.answer(Reply::Metadata(node.submit(request).await)) });
}

/// A metadata node that fails takes the process with it.
async fn end_with(node: Rc<Node>, rt: crate::rt::Rt) {
    let failure = node.failed().await;
    rt.die(&failure.to_string());
}

async fn register(node: &Rc<Node>, setup: &Setup, identity: &Identity, port: u16) -> Result<(), String> {
    let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: setup.config.process.advertised.host.clone(), port };
    let registration = BrokerRegistration {
        broker: BrokerId(identity.node_id),
        directory_id: identity.directory_id,
        endpoints: vec![endpoint],
        rack: None,
    };
    match node.submit(metadata_request::Request::RegisterBroker(registration)).await {
        Ok(metadata_request::Reply::RegisterBroker(Ok(_))) => Ok(()),
        Ok(metadata_request::Reply::RegisterBroker(Err(error))) => Err(error.to_string()),
        Ok(_) => Err("the broker was not registered".into()),
        Err(error) => Err(error.to_string()),
    }
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
    image: &std::sync::Arc<Image>,
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
