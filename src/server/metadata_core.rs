//! The metadata executor's life: the data directory, the metadata group, publication to the shards, the acceptor, the stop.
//!
//! *Invariants*: peers are heard before the group is there, clients after: nobody of them is accepted before this broker has
//! caught up with its group, is registered and counted on, and every partition of the first image is open. The stop goes acceptor, shards,
//! node, after others lead what this broker led; one that comes while the broker still waits for its group ends it at once.

mod door;
mod group;
mod session;
mod shards;

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use futures_util::future::join_all;
use storage::data_dir::DataDir;
use storage::data_dir::identity::Identity;
use uuid::Uuid;

use crate::limits;
use crate::mesh::{Mesh, MeshEnds, Responder};
use crate::message::{Core, Reply, Request};
use crate::metadata::controller::BrokerRegistration;
use crate::metadata::image::{Endpoint, PeerAddress};
use crate::metadata::node::Node;
use crate::metadata::quorum::Control;
use crate::model::{BrokerId, ShardId};
use crate::rt::Rt;
use crate::server::{Setup, World, accept, end_with_a_failed_flush};

use group::Group;
use session::Session;

/// Runs the metadata core until the broker shall stop.
pub async fn run(world: World, setup: Setup, ends: MeshEnds) {
    let rt = world.rt.clone();
    rt.spawn(end_with_a_failed_flush(world.clone()));
    let control = Rc::new(std::cell::OnceCell::new());
    let mesh = {
        let (rt, control) = (rt.clone(), control.clone());
        Mesh::start(&world.rt, ends, move |_, request, responder| serve(&rt, &control, request, responder))
    };
    let starting = async { Some(start(&world, &setup, &mesh, &control).await) };
    let stopped = async {
        setup.stop.raised().await;
        None
    };
    let running = match or(starting, stopped).await {
        Some(Ok(running)) => running,
        Some(Err(reason)) => rt.die(&reason),
        None => return stop_shards(&mesh, setup.shards).await,
    };
    setup.metrics.process.set_ready(true);
    setup.stop.raised().await;
    setup.metrics.process.set_ready(false);
    if let Some(session) = &running.session {
        session.leave().await;
    }
    stop_shards(&mesh, setup.shards).await;
    running.node.stop().await;
}

struct Running {
    node: Rc<Node>,
    /// None: this broker is by itself, and nobody asks whether it lives.
    session: Option<Rc<Session>>,
    _data_dir: DataDir,
}

async fn stop_shards(mesh: &Mesh, shards: usize) {
    join_all((0..shards).map(|shard| mesh.call(Core::Shard(ShardId(shard)), Request::Stop))).await;
}

async fn start(
    world: &World,
    setup: &Setup,
    mesh: &Mesh,
    control: &std::cell::OnceCell<Rc<Control>>,
) -> Result<Running, String> {
    // First of all: a second broker on this port must fail before it touches anything.
    let address = setup.config.process.kafka_bind;
    let listener = world
        .net
        .listen(address, limits::LISTEN_BACKLOG)
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let mut data_dir = open_data_dir(world, setup).await?;
    let Group { node, control: forwarding, door } = group::form(world, setup, &mut data_dir).await?;
    world.rt.spawn(end_with(node.clone(), world.rt.clone()));
    let identity = data_dir.identity().clone();
    setup.metrics.process.health.set_cluster_id(identity.cluster_id.clone().unwrap_or_default());
    if !node.caught_up().await {
        return Err("the metadata node stopped while it caught up".into());
    }
    let me = registration(setup, &identity, listener.local_address().port());
    let interval = Duration::from_millis(setup.config.broker.broker_heartbeat_interval_ms);
    let session = Session::begin(&world.rt, node.clone(), forwarding.clone(), me, interval).await?;
    assert!(control.set(forwarding).is_ok(), "the core starts once");
    let image = shards::begin(world, setup, mesh, &data_dir, &node).await?;
    let session = door.map(|door| {
        door.open_shards(mesh.clone());
        session
    });
    if let Some(session) = &session {
        world.rt.spawn(session.clone().keep());
        session.unfenced().await;
    }
    tracing::info!(
        topics = image.topic_count(),
        partitions = image.partition_count(),
        "broker {} serves Kafka clients on {}",
        identity.node_id,
        listener.local_address()
    );
    world.rt.spawn(accept::run(world.clone(), setup.clone(), mesh.clone(), listener));
    Ok(Running { node, session, _data_dir: data_dir })
}

async fn open_data_dir(world: &World, setup: &Setup) -> Result<DataDir, String> {
    let process = &setup.config.process;
    let directory_id = Uuid::from_u64_pair(world.rt.random_u64(), world.rt.random_u64());
    let wanted = Identity { cluster_id: None, node_id: process.node_id.0, directory_id };
    DataDir::open(&world.disk, &process.data_dir, &wanted).await.map_err(|error| error.to_string())
}

/// Shards ask only once they have begun, and they begin after the control is there.
fn serve(rt: &Rt, control: &std::cell::OnceCell<Rc<Control>>, request: Request, responder: Responder) {
    let Request::Metadata(request) = request else { unreachable!("only metadata is asked of the metadata core") };
    let control = control.get().expect("the shards begin after it is there").clone();
    rt.spawn(async move { responder.answer(Reply::Metadata(control.ask(request).await)) });
}

/// A metadata node that fails takes the process with it.
async fn end_with(node: Rc<Node>, rt: Rt) {
    let failure = node.failed().await;
    rt.die(&failure.to_string());
}

fn registration(setup: &Setup, identity: &Identity, port: u16) -> BrokerRegistration {
    let process = &setup.config.process;
    let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: process.advertised.host.clone(), port };
    BrokerRegistration {
        broker: BrokerId(identity.node_id),
        directory_id: identity.directory_id,
        endpoints: vec![endpoint],
        rack: setup.config.broker.broker_rack.clone(),
        peer: process
            .cluster
            .as_ref()
            .map(|cluster| PeerAddress { host: process.advertised.host.clone(), port: cluster.raft_bind.port() }),
        shards: u32::try_from(setup.shards).unwrap_or(u32::MAX),
    }
}
