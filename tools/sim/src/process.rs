//! A broker's process in the simulated world: the executors, the mesh and the settings that `chronik-server` would give it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use chronik::config::process::Machine;
use chronik::config::{Config, Given, Origin, Sources};
use chronik::mesh;
use chronik::metrics::Metrics;
use chronik::model::ShardId;
use chronik::rt::stop_pair;
use chronik::server::{self, Setup, metadata_core, shard_core};

use crate::bugs::Bugs;
use crate::world::{Boot, Process};

/// Where clients connect.
pub const KAFKA_PORT: u16 = 9092;
const PEER_PORT: u16 = 9192;

/// The counters of the process that a machine runs, or ran last.
pub type Running = Rc<RefCell<Option<Arc<Metrics>>>>;

/// A broker.
#[derive(Clone, Default)]
pub struct Broker {
    /// Its number; the machines of brokers are the first ones of their world, in this order, from 1.
    pub number: usize,
    /// How many the cluster has; 1: it is by itself.
    pub count: usize,
    /// How it is to be wrong.
    pub bugs: Bugs,
    /// Its counters.
    pub running: Running,
}

impl Broker {
    /// One that is by itself.
    pub fn alone(bugs: Bugs) -> Broker {
        Broker { number: 1, count: 1, bugs, running: Running::default() }
    }

    /// Starts it on the first executor for the metadata core, and each other for a shard.
    pub fn boot(self) -> Boot {
        Rc::new(move |process: Process| {
            let Process { executors, net, disk } = process;
            let shards = executors.len() - 1;
            let metrics = Arc::new(Metrics::new(shards));
            self.running.replace(Some(metrics.clone()));
            let (_, stop) = stop_pair();
            let setup = Setup { config: Arc::new(self.config(shards)), metrics, stop, shards };
            for (executor, (rt, ends)) in executors.into_iter().zip(mesh::full_mesh(shards)).enumerate() {
                let world = server::World { rt: rt.clone(), disk: disk.clone(), net: net.clone() };
                match executor.checked_sub(1) {
                    None => rt.spawn(metadata_core::run(world, setup.clone(), ends)),
                    Some(shard) => rt.spawn(shard_core::run(world, setup.clone(), ShardId(shard), ends)),
                }
            }
        })
    }

    fn config(&self, shards: usize) -> Config {
        let given = |name: &str, text: &str| Given { name: name.into(), text: text.into(), origin: Origin::Default };
        let mut flags = vec![
            given("data-dir", "/data"),
            given("bind-addr", "0.0.0.0"),
            given("pin", "false"),
            given("shards", &shards.to_string()),
            given("log.segment.bytes", "1048576"),
        ];
        if self.count > 1 {
            flags.extend([
                given("node-id", &self.number.to_string()),
                given("advertised-addr", &format!("10.0.0.{}", self.number)),
                given("raft-addr", &format!("0.0.0.0:{PEER_PORT}")),
                given("peers", &self.peers()),
                given("bootstrap", "true"),
                given("replica.lag.time.max.ms", "3000"),
            ]);
        }
        let machine = Machine { cpus: vec![0], processors: 1 };
        let loaded = Config::load(&Sources { flags, ..Sources::default() }, &machine);
        let mut config = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        config.bugs = self.bugs.log;
        config
    }

    fn peers(&self) -> String {
        let others = (1..=self.count).filter(|other| *other != self.number);
        others.map(|other| format!("{other}@10.0.0.{other}:{PEER_PORT}")).collect::<Vec<_>>().join(",")
    }
}
