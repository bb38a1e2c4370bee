//! A shard executor's life: wait for the metadata core's word, serve, stop.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::Duration;

use storage::checkpoints::Checkpoints;
use storage::data_dir::DataDir;
use storage::epoch_journal::EpochJournal;
use storage::turn::Barrier;

use crate::broker::{Broker, ProducerIds};
use crate::connection::{self, Connections};
use crate::limits;
use crate::local::{Budget, Notify};
use crate::mesh::{Mesh, MeshEnds, Responder};
use crate::message::{Beginning, Core, Reply, Request};
use crate::model::{BrokerId, ShardId};
use crate::server::{Setup, World, end_with_a_failed_flush};
use crate::shard::{Caller, Parts, Shard};

struct ShardCore {
    world: World,
    setup: Setup,
    id: ShardId,
    mesh: OnceCell<Mesh>,
    broker: OnceCell<Rc<Broker>>,
    connections: Rc<Connections>,
    stopped: Notify,
}

/// Runs a shard until it is told to stop.
pub async fn run(world: World, setup: Setup, id: ShardId, ends: MeshEnds) {
    let rt = world.rt.clone();
    rt.spawn(end_with_a_failed_flush(world.clone()));
    let core = Rc::new(ShardCore {
        world,
        setup,
        id,
        mesh: OnceCell::new(),
        broker: OnceCell::new(),
        connections: Rc::default(),
        stopped: Notify::default(),
    });
    let serving = core.clone();
    let mesh = Mesh::start(&rt, ends, move |from, request, responder| serving.clone().serve(from, request, responder));
    assert!(core.mesh.set(mesh).is_ok(), "the mesh is started once");
    core.stopped.notified().await;
    // The answer to Stop must reach the metadata core before this executor's tasks are gone.
    rt.sleep(Duration::from_millis(limits::FAREWELL_MS)).await;
}

impl ShardCore {
    fn serve(self: Rc<Self>, _from: Core, request: Request, responder: Responder) {
        let rt = self.world.rt.clone();
        match request {
            Request::Begin(beginning) => rt.spawn(async move {
                self.begin(*beginning).await;
                responder.answer(Reply::Done);
            }),
            Request::Connection(accepted) => {
                let (broker, connections) = (self.broker().clone(), self.connections.clone());
                rt.spawn(async move {
                    connection::serve(broker, connections, accepted).await;
                    responder.answer(Reply::Done);
                });
            }
            Request::Stop => rt.spawn(async move {
                self.stop().await;
                responder.answer(Reply::Done);
                self.stopped.notify();
            }),
            request => self.broker().shard.serve(request, Caller::There(responder)),
        }
    }

    fn broker(&self) -> &Rc<Broker> {
        self.broker.get().expect("the metadata core begins every shard before anything else")
    }

    async fn begin(&self, beginning: Beginning) {
        let World { rt, disk, net } = self.world.clone();
        let Setup { config, metrics, shards, .. } = self.setup.clone();
        let data_dir = DataDir::attach(&disk, &config.process.data_dir, &beginning.identity);
        let dir = &config.process.data_dir;
        let barrier = match Barrier::open(&disk, dir).await {
            Ok(barrier) => barrier,
            Err(error) => rt.die(&error.to_string()),
        };
        let number = self.id.0 as u32;
        let (generation, known) = beginning.checkpoints;
        let checkpoints = Checkpoints::new(&disk, dir, generation, number, known);
        let (generation, changes) = beginning.epochs;
        let bytes = limits::EPOCH_JOURNAL_BYTES;
        let epoch_journal = EpochJournal::new(&disk, dir, generation, number, bytes, changes.clone());
        let metrics = metrics.shard(self.id.0).clone();
        metrics.set_barrier(beginning.facts.barrier_holds);
        let mesh = self.mesh.get().expect("calls arrive only over the mesh").clone();
        let shard = Shard::start(Parts {
            id: self.id,
            shards,
            me: BrokerId(beginning.identity.node_id),
            rt: rt.clone(),
            disk,
            net,
            mesh: mesh.clone(),
            data_dir,
            barrier,
            checkpoints,
            epoch_journal,
            epochs: changes,
            config: config.clone(),
            metrics: metrics.clone(),
            image: beginning.image,
        });
        let producer_ids = ProducerIds::default();
        let small_bytes = Budget::new(limits::SMALL_BYTES_PER_SHARD_MAX);
        let response_bytes = Budget::new(limits::RESPONSE_BYTES_PER_SHARD_MAX);
        let broker = Broker { rt, shard, mesh, config, metrics, shards, producer_ids, small_bytes, response_bytes };
        assert!(self.broker.set(Rc::new(broker)).is_ok(), "a shard begins once");
        self.world.rt.spawn(sweep(self.broker().clone(), self.connections.clone()));
    }

    /// Answers what is in flight, then flushes and closes all logs.
    async fn stop(&self) {
        let Some(broker) = self.broker.get() else { return };
        let rt = &self.world.rt;
        self.connections.stop_reading();
        let deadline = rt.now().after(Duration::from_millis(limits::DRAIN_MS_MAX));
        while self.connections.count() > 0 && rt.now() < deadline {
            rt.sleep(Duration::from_millis(limits::DRAIN_POLL_MS)).await;
        }
        self.connections.end_all();
        broker.shard.stop().await;
    }
}

/// Ends connections that have been idle for too long, half requests and slow readers among them; shows what requests hold.
async fn sweep(broker: Rc<Broker>, connections: Rc<Connections>) {
    let idle_max = u64::try_from(broker.config.broker.connections_max_idle_ms).map(Duration::from_millis);
    let shown_every = Duration::from_millis(limits::HOUSEKEEPING_MS);
    let pause = idle_max.map_or(shown_every, |idle| (idle / 4).clamp(Duration::from_millis(100), shown_every));
    loop {
        broker.rt.sleep(pause).await;
        let (bytes, bytes_max) = connections.request_bytes(&broker);
        broker.metrics.set_request_memory(bytes, bytes_max);
        let Ok(idle_max) = idle_max else { continue };
        let now = broker.rt.now();
        if now.0 > idle_max.as_nanos() as u64 {
            let before = crate::rt::Monotonic(now.0 - idle_max.as_nanos() as u64);
            let ended = connections.end_idle(before);
            broker.metrics.connections_idle_ended(ended);
        }
    }
}
