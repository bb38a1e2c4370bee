//! The whole broker: executors, the mesh between them, the start and the stop.
//!
//! *Which core*: the main thread, which then only waits for a signal.
//! *Invariants*: a broker is ready only once every partition it leads is open; it stops by finishing what is in flight.
//! *Not here*: what the executors do ([`metadata_core`], [`shard_core`]).
//!
//! ```text
//! main thread   config, executors, signals          admin thread   /metrics /live /ready
//! core 0        data directory, raft node, publication to shards, the acceptor
//! core 1..n     a shard each: connections, partitions, logs
//! ```

pub mod accept;
pub mod metadata_core;
pub mod shard_core;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use net::stream::Net;
use storage::disk::Disk;

use crate::admin;
use crate::config::Config;
use crate::mesh::{self, MeshEnds};
use crate::metrics::Metrics;
use crate::model::ShardId;
use crate::rt::{self, ExecutorSpec, Rt, StopFlag};

/// The outside of one executor: real, or simulated.
#[derive(Clone)]
pub struct World {
    /// Tasks, clock, randomness.
    pub rt: Rt,
    /// Files.
    pub disk: Disk,
    /// Sockets.
    pub net: Net,
}

/// What every executor of a broker is given.
#[derive(Clone)]
pub struct Setup {
    /// The settings.
    pub config: Arc<Config>,
    /// The counters.
    pub metrics: Arc<Metrics>,
    /// Raised when the broker shall stop.
    pub stop: StopFlag,
    /// How many shards there are.
    pub shards: usize,
}

/// How long a stop may take before the process ends all the same: supervisors kill after 10 s.
const STOP_TIME_MAX: Duration = Duration::from_millis(9_500);

/// Runs a broker until it is told to stop.
pub fn run(mut config: Config) -> ExitCode {
    config.process.data_dir = match std::path::absolute(&config.process.data_dir) {
        Ok(path) => path,
        Err(error) => return fail(&format!("{}: {error}", config.process.data_dir.display())),
    };
    let shards = config.process.shards;
    let (stop, stop_flag) = rt::stop_pair();
    let setup =
        Setup { metrics: Arc::new(Metrics::new(shards)), stop: stop_flag.clone(), shards, config: Arc::new(config) };
    // The executors listen on it later; who is in the way is told before anything else fails for the same reason.
    let address = setup.config.process.kafka_bind;
    if let Err(error) = wait_until_free(address) {
        return fail(&format!("cannot listen on {address}: {error}"));
    }
    let admin = match admin::start(&setup.config, setup.metrics.clone()) {
        Ok(admin) => admin,
        Err(error) => return fail(&format!("the admin listener: {error}")),
    };
    let executors = match rt::start(executors(&setup), &setup.config.executor_options()) {
        Ok(executors) => executors,
        Err(error) => return fail(&error.to_string()),
    };
    let signal = rt::wait_for_stop_signal();
    tracing::info!("{signal:?}: stopping");
    stop.raise();
    std::thread::spawn(|| {
        std::thread::sleep(STOP_TIME_MAX);
        eprintln!("FATAL: the stop took too long; what was not flushed was not acknowledged");
        std::process::exit(1);
    });
    executors.join();
    admin.stop();
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// Waits a little for an address to be free: the kernel lets go of a killed broker's sockets only after its rings are gone.
fn wait_until_free(address: SocketAddr) -> std::io::Result<()> {
    const TRIES: u32 = 40;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 1..TRIES {
        match std::net::TcpListener::bind(address) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => std::thread::sleep(PAUSE),
            bound => return bound.map(drop),
        }
    }
    std::net::TcpListener::bind(address).map(drop)
}

fn fail(message: &str) -> ExitCode {
    eprintln!("FATAL: {message}");
    ExitCode::FAILURE
}

fn executors(setup: &Setup) -> Vec<ExecutorSpec> {
    let mut ends = mesh::full_mesh(setup.shards).into_iter();
    let placement = &setup.config.process.placement;
    let mut specs = Vec::with_capacity(setup.shards + 1);
    let metadata_ends = ends.next().expect("the mesh has the metadata core's ends");
    specs.push(ExecutorSpec {
        name: "metadata".into(),
        placement: placement.metadata,
        main: metadata_main(setup.clone(), metadata_ends),
    });
    for (index, ends) in ends.enumerate() {
        specs.push(ExecutorSpec {
            name: format!("shard-{index}"),
            placement: placement.shards.get(index).copied().flatten(),
            main: shard_main(setup.clone(), ShardId(index), ends),
        });
    }
    specs
}

fn world(rt: Rt) -> World {
    World { rt, disk: Disk::Ring, net: Net::Ring }
}

/// A flush that fails ends the process at once, whoever asked for it and whether or not anybody ever flushes again.
async fn end_with_a_failed_flush(world: World) {
    let what = world.disk.flush_failed().await;
    world.rt.die(&format!("a flush failed, nothing after it can be believed: {what}"));
}

fn metadata_main(setup: Setup, ends: MeshEnds) -> rt::Main {
    Box::new(move |rt| Box::pin(metadata_core::run(world(rt), setup, ends)))
}

fn shard_main(setup: Setup, id: ShardId, ends: MeshEnds) -> rt::Main {
    Box::new(move |rt| Box::pin(shard_core::run(world(rt), setup, id, ends)))
}
