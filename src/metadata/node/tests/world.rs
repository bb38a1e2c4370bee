//! A simulated machine with one node on it, and words for what tests ask of it.

use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use storage::disk::{Disk, SimDisk, SimDiskOptions};
use uuid::Uuid;

use crate::metadata::controller::{BrokerRegistration, NewTopic, ProducerIdBlock, Rules};
use crate::metadata::image::{BrokerEpoch, Endpoint, Image};
use crate::metadata::node::{Node, NodeOptions};
use crate::metadata::raft_log::{Identity, OpenError};
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::BrokerId;
use crate::rt::Rt;
use crate::rt::sim::{SimExecutor, SimRuntime};

pub(super) fn dir() -> &'static Path {
    Path::new("/data/metadata")
}

pub(super) fn identity() -> Identity {
    Identity { cluster_id: "cluster".into(), node_id: BrokerId(0), directory_id: Uuid::from_u64_pair(1, 2) }
}

pub(super) fn rules() -> Rules {
    Rules {
        partitions_default: 1,
        replication_factor_default: 1,
        min_insync_replicas_default: 1,
        session: Duration::from_secs(2),
        balance_interval: None,
        check_topic_config: |_, _| Ok(()),
        check_topic_configs: |_| Ok(()),
        check_broker_config: |_, _| Ok(()),
        list_default: |_| None,
    }
}

pub(super) fn options() -> NodeOptions {
    NodeOptions::standalone(identity(), rules())
}

pub(super) struct World {
    pub(super) runtime: SimRuntime,
    pub(super) executor: SimExecutor,
    pub(super) rt: Rt,
    pub(super) disk: SimDisk,
}

impl World {
    pub(super) fn new(seed: u64) -> World {
        let runtime = SimRuntime::new(seed);
        let (executor, rt) = runtime.new_executor("metadata");
        World { runtime, executor, rt, disk: SimDisk::new(seed, SimDiskOptions::default()) }
    }

    /// Moves the world on by one event; false: nothing is to come.
    pub(super) fn step(&self) -> bool {
        self.runtime.run_ready();
        let due = [self.runtime.next_due(), self.disk.next_due()].into_iter().flatten().min();
        let Some(due_ns) = due else { return false };
        self.disk.run_due(due_ns);
        self.runtime.run_due(due_ns);
        self.runtime.run_ready();
        true
    }

    /// Runs a future as a task until it ends.
    pub(super) fn run<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let result = self.spawn(future);
        for _ in 0..2_000_000 {
            self.runtime.run_ready();
            if let Some(value) = result.borrow_mut().take() {
                return value;
            }
            assert!(self.step(), "the future waits for something that never comes");
        }
        panic!("too many events");
    }

    pub(super) fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let place = result.clone();
        self.rt.spawn(async move {
            let value = future.await;
            place.borrow_mut().replace(value);
        });
        result
    }

    pub(super) fn try_open(&self, options: NodeOptions) -> Result<Rc<Node>, OpenError> {
        let (rt, disk) = (self.rt.clone(), Disk::Sim(self.disk.clone()));
        self.run(async move { Node::open(rt, disk, dir(), options).await })
    }

    /// Opens a node and waits until it leads.
    pub(super) fn open(&self, options: NodeOptions) -> Rc<Node> {
        let node = self.try_open(options).unwrap();
        let waiting = node.clone();
        assert!(self.run(async move { waiting.caught_up().await }));
        node
    }

    /// Ends the process and its node; with `power_loss`, the machine.
    pub(super) fn end(&mut self, power_loss: bool, seed: u64) {
        if power_loss {
            self.disk.crash(seed)
        } else {
            self.disk.kill(seed)
        }
        self.runtime.kill_executor(self.executor);
        (self.executor, self.rt) = self.runtime.new_executor("metadata");
    }

    pub(super) fn submit(&self, node: &Rc<Node>, request: Request) -> Result<Reply, SubmitError> {
        let node = node.clone();
        self.run(async move { node.submit(request).await })
    }

    /// Registers broker 0; gives its epoch.
    pub(super) fn register(&self, node: &Rc<Node>) -> BrokerEpoch {
        match self.submit(node, registration(0)).unwrap() {
            Reply::RegisterBroker(Ok(epoch)) => epoch,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn create(&self, node: &Rc<Node>, names: impl IntoIterator<Item = String>) {
        assert_eq!(created(&self.submit(node, create(names)).unwrap()), Ok(()));
    }

    pub(super) fn producer_ids(&self, node: &Rc<Node>, epoch: BrokerEpoch) -> ProducerIdBlock {
        match self.submit(node, Request::AllocateProducerIds { broker: BrokerId(0), epoch }).unwrap() {
            Reply::AllocateProducerIds(Ok(block)) => block,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn registration(broker: i32) -> Request {
    Request::RegisterBroker(BrokerRegistration {
        broker: BrokerId(broker),
        directory_id: identity().directory_id,
        endpoints: vec![Endpoint { listener: "PLAINTEXT".into(), host: "localhost".into(), port: 9092 }],
        rack: None,
        peer: None,
        shards: 1,
    })
}

/// A broker that has seen its registration.
pub(super) fn heartbeat(broker: i32, epoch: BrokerEpoch) -> Request {
    Request::Heartbeat { broker: BrokerId(broker), epoch, wants_to_leave: false, applied: u64::MAX >> 1 }
}

pub(super) fn create(names: impl IntoIterator<Item = String>) -> Request {
    let topic = |name| NewTopic { name, partitions: -1, replication_factor: -1, ..NewTopic::default() };
    Request::CreateTopics { topics: names.into_iter().map(topic).collect(), validate_only: false }
}

/// Were all topics created? If not, the first that was not.
pub(super) fn created(reply: &Reply) -> Result<(), String> {
    let Reply::CreateTopics(topics) = reply else { panic!("{reply:?}") };
    topics.iter().try_for_each(|(name, result)| match result {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{name}: {error}")),
    })
}

/// An image without what differs between starts: who leads, and the entries that say nothing.
pub(super) fn content(image: &Image) -> Vec<u8> {
    let plain = image.with_controller(None);
    let level = Image::skip(&plain, 1_000_000);
    level.to_bytes()
}
