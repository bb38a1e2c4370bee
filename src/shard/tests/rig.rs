//! A shard with one topic, on a simulated machine, called as a connection of its own would.

use std::cell::RefCell;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::stream::Net;
use net::stream::sim::{SimNet, SimNetOptions};
use storage::batch::{self, BatchBuilder, NewRecord};
use storage::checkpoints::{self, Checkpoints};
use storage::data_dir::DataDir;
use storage::data_dir::identity::Identity;
use storage::disk::{Disk, SimDisk, SimDiskOptions};
use storage::epoch_journal::{self, EpochJournal};
use storage::turn::Barrier;
use uuid::Uuid;

use crate::config::process::Machine;
use crate::config::{Config, Given, Origin, Sources};
use crate::limits;
use crate::local;
use crate::mesh::{self, Mesh};
use crate::message::{FetchOrder, FetchPart, Fetched, ProduceOrder, ProduceOutcome, ProducePart};
use crate::metadata::change::{Action, Change, CreateTopics, DeleteTopics, Id, PartitionRecord, TopicRecord};
use crate::metadata::image::{Configs, Image};
use crate::metadata::publish::Publication;
use crate::metrics::Metrics;
use crate::model::{BrokerId, PartitionId, ShardId, TopicId};
use crate::partition::Acks;
use crate::rt::Rt;
use crate::rt::sim::SimRuntime;
use crate::shard::{Parts, Shard, produce};

const DIR: &str = "/data";

/// The machine, and the shard on it.
pub(super) struct Rig {
    runtime: SimRuntime,
    rt: Rt,
    pub(super) disk: SimDisk,
    pub(super) shard: Rc<Shard>,
}

impl Rig {
    /// A shard that leads so many partitions of one topic.
    pub(super) fn new(partitions: i32) -> Rig {
        let rig = Rig::empty(1);
        rig.create_topic(1, partitions, 1 << 30);
        rig
    }
    /// A shard without partitions.
    pub(super) fn empty(seed: u64) -> Rig {
        let runtime = SimRuntime::new(seed);
        let (_, rt) = runtime.new_executor("shard");
        let sim = SimDisk::new(seed, SimDiskOptions::default());
        let net = SimNet::new(seed, SimNetOptions::default()).host(Ipv4Addr::LOCALHOST.into());
        let parts = run(&runtime, &rt, &sim, parts(rt.clone(), Disk::Sim(sim.clone()), net));
        let shard = Shard::start(parts);
        Rig { runtime, rt, disk: sim, shard }
    }
    /// Creates the topic, with this id.
    pub(super) fn create_topic(&self, low: u64, partitions: i32, segment_bytes: u64) {
        let records = (0..partitions).map(|partition| PartitionRecord {
            partition,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            elr: vec![],
        });
        let configs = Configs::from([("segment.bytes".to_owned(), segment_bytes.to_string())]);
        let topic =
            TopicRecord { id: Id { high: 1, low }, name: "topic".into(), partitions: records.collect(), configs };
        self.change(Action::CreateTopics(CreateTopics { topics: vec![topic] }));
    }
    /// Deletes the topic of this id.
    pub(super) fn delete_topic(&self, low: u64) {
        self.change(Action::DeleteTopics(DeleteTopics { ids: vec![Id { high: 1, low }] }));
    }
    fn change(&self, action: Action) {
        let before = self.shard.image();
        let (image, delta) = before.apply(before.version() + 1, &Change::new(action)).expect("it fits");
        let publication = Publication { image: Arc::new(image), delta: Arc::new(delta) };
        let shard = self.shard.clone();
        self.run(async move { shard.on_publication(publication).await });
    }
    /// Runs a future as a task of the shard's executor, and the world until it ends.
    pub(super) fn run<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        run(&self.runtime, &self.rt, &self.disk, future)
    }
    /// Lets the world go on for a while.
    pub(super) fn pass(&self, time: Duration) {
        let rt = self.rt.clone();
        self.run(async move { rt.sleep(time).await });
    }
    /// Time on the world's clock, in ns.
    pub(super) fn now_ns(&self) -> u64 {
        self.runtime.now_ns()
    }

    /// Appends a batch of one record of so many bytes, and waits until it is durable.
    pub(super) fn produce(&self, partition: i32, value_bytes: usize) {
        let outcomes = self.run(self.begin_produce(partition, value_bytes)).expect("it is answered");
        assert!(outcomes[0].is_ok(), "{outcomes:?}");
    }
    /// Appends a batch of one record of so many bytes.
    pub(super) fn begin_produce(
        &self,
        partition: i32,
        value_bytes: usize,
    ) -> local::OneshotReceiver<Vec<ProduceOutcome>> {
        let value = vec![partition as u8; value_bytes];
        let bytes = BatchBuilder::new(0).with(NewRecord::value(&value)).build();
        let header = batch::validate(&bytes).expect("a valid batch");
        let part = ProducePart { partition: id(partition), batch: Bytes::from(bytes), header };
        let (received, deadline) = (self.rt.now(), self.rt.now().after(Duration::from_secs(60)));
        let (sender, receiver) = local::oneshot();
        let order = ProduceOrder { acks: Acks::All, deadline, received, parts: vec![part] };
        self.shard.produce(order, produce::Client::Here(sender));
        receiver
    }
    /// Names of the files of a partition.
    pub(super) fn file_names(&self, partition: i32) -> Vec<String> {
        let path = self.shard.data_dir.partition_path("topic", partition);
        let disk = self.shard.disk.clone();
        let entries = self.run(async move { disk.list(&path).await }).expect("it has a directory");
        entries.into_iter().map(|entry| entry.name).collect()
    }
    /// Memory that each log takes.
    pub(super) fn memory_bytes(&self) -> Vec<usize> {
        self.shard.state.borrow().partitions.values().map(|hosted| hosted.log.memory_bytes()).collect()
    }
    /// Reads a partition as a consumer does.
    pub(super) fn fetch(&self, partition: i32, offset: i64, bytes_max: usize) -> Fetched {
        let part = FetchPart {
            partition: id(partition),
            offset,
            bytes_max,
            current_leader_epoch: None,
            last_fetched_epoch: None,
        };
        let order = FetchOrder { parts: vec![part], bytes_max, first_batch_always: true };
        let shard = self.shard.clone();
        let outcome = self.run(async move { shard.fetch(order).await }).pop().expect("one part, one outcome");
        outcome.expect("it can be read")
    }
}

pub(super) fn id(partition: i32) -> PartitionId {
    PartitionId { topic_id: TopicId(Uuid::from_u64_pair(1, 1)), partition }
}

async fn parts(rt: Rt, disk: Disk, net: Net) -> Parts {
    let dir = Path::new(DIR);
    let identity = Identity { cluster_id: None, node_id: 1, directory_id: Uuid::from_u64_pair(2, 2) };
    let data_dir = DataDir::open(&disk, dir, &identity).await.expect("a new directory opens");
    let bytes = limits::EPOCH_JOURNAL_BYTES;
    let loaded = checkpoints::load(&disk, dir).await.expect("the disk works");
    let replayed = epoch_journal::replay(&disk, dir).await.expect("the disk works");
    // Nobody calls it, and nobody is at the other end.
    let ends = mesh::full_mesh(1).pop().expect("the shard's");
    let mesh = Mesh::start(&rt, ends, |_, _, _| {});
    Parts {
        id: ShardId(0),
        shards: 1,
        me: BrokerId(1),
        rt,
        barrier: Barrier::open(&disk, dir).await.expect("the disk works"),
        checkpoints: Checkpoints::new(&disk, dir, loaded.generation, 0, loaded.checkpoints),
        epoch_journal: EpochJournal::new(&disk, dir, replayed.generation, 0, bytes, replayed.changes.clone()),
        epochs: replayed.changes,
        disk,
        net,
        mesh,
        data_dir,
        config: Arc::new(config()),
        metrics: Metrics::new(1).shard(0).clone(),
        image: Arc::new(Image::empty("cluster", [])),
    }
}

pub(super) fn config() -> Config {
    let flag = |name: &str, text: &str| Given { name: name.into(), text: text.into(), origin: Origin::Default };
    let flags = vec![flag("data-dir", DIR), flag("pin", "false"), flag("shards", "1")];
    let machine = Machine { cpus: vec![0], processors: 1 };
    Config::load(&Sources { flags, ..Sources::default() }, &machine).unwrap_or_else(|errors| panic!("{errors}"))
}

fn run<T: 'static>(runtime: &SimRuntime, rt: &Rt, disk: &SimDisk, future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let place = result.clone();
    rt.spawn(async move {
        let value = future.await;
        place.borrow_mut().replace(value);
    });
    loop {
        runtime.run_ready();
        if let Some(value) = result.borrow_mut().take() {
            return value;
        }
        let due = [runtime.next_due(), disk.next_due()].into_iter().flatten().min();
        let due_ns = due.expect("the future waits for something that never comes");
        disk.run_due(due_ns);
        runtime.run_due(due_ns);
    }
}
