//! Brokers whose shards replicate over a simulated network, and a controller that does what a test says.
//!
//! Each broker has its disk, a metadata core that hands on publications, streams and proposals, and shards, as in the server.

use std::cell::{OnceCell, RefCell};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use net::stream::sim::{SimNet, SimNetOptions};
use net::stream::{Accepted, Listener, Net};
use storage::batch::{self, BatchBuilder, NewRecord};
use storage::checkpoints::{self, Checkpoints};
use storage::data_dir::DataDir;
use storage::data_dir::identity::Identity;
use storage::disk::{Disk, SimDisk, SimDiskOptions};
use storage::epoch_journal::{self, EpochJournal};
use storage::turn::Barrier;
use uuid::Uuid;

use super::rig::{config, id};
use crate::limits;
use crate::local::{self, Queue};
use crate::mesh::{self, Mesh, Responder};
use crate::message::{Core, ProduceOrder, ProduceOutcome, ProducePart, Reply, Request};
use crate::metadata::change::{
    Action, Change, ChangePartitions, CreateTopics, EndpointRecord, FenceBrokers, Id, PartitionChange, PartitionRecord,
    RegisterBroker, TopicRecord,
};
use crate::metadata::image::{Configs, Delta, Image, Partition};
use crate::metadata::publish::Publication;
use crate::metadata::request as metadata_request;
use crate::metrics::Metrics;
use crate::model::{BrokerId, LeaderEpoch, ShardId};
use crate::partition::isr::IsrAnswer;
use crate::partition::{Acks, IsrProposal};
use crate::peer::{self, Local};
use crate::rt::Rt;
use crate::rt::sim::{SimExecutor, SimRuntime};
use crate::shard::hosted::Role;
use crate::shard::{Caller, Parts, Shard, placement, produce};

const DIR: &str = "/data";
const PEER_PORT: u16 = 9192;
const CLUSTER: &str = "cluster";
const TOPIC: Id = Id { high: 1, low: 1 };

/// The world.
pub(super) struct Cluster {
    runtime: SimRuntime,
    pub(super) net: SimNet,
    driver: Rt,
    controller: Rc<RefCell<Controller>>,
    pub(super) brokers: Vec<Broker>,
}

/// A machine, and the process on it.
pub(super) struct Broker {
    pub(super) id: i32,
    pub(super) disk: SimDisk,
    shards_count: usize,
    process: Option<Process>,
}

struct Process {
    executors: Vec<SimExecutor>,
    shards: Vec<Rc<Shard>>,
}

/// The metadata, and to whom it goes.
struct Controller {
    image: Arc<Image>,
    subscribers: Vec<(i32, Queue<Publication>)>,
    /// Does it answer proposals?
    answers: bool,
    /// In-sync replicas that it has committed for leaders, oldest first.
    committed: Vec<Vec<i32>>,
}

impl Cluster {
    /// Brokers 1, 2, ..., each with so many shards, registered and up.
    pub(super) fn new(seed: u64, shards: &[usize]) -> Cluster {
        Cluster::on(seed, shards, SimNetOptions { refused_one_in: 0, ..SimNetOptions::default() })
    }

    pub(super) fn on(seed: u64, shards: &[usize], options: SimNetOptions) -> Cluster {
        let runtime = SimRuntime::new(seed);
        let (_, driver) = runtime.new_executor("driver");
        let controller = Controller {
            image: Arc::new(Image::empty(CLUSTER, [])),
            subscribers: Vec::new(),
            answers: true,
            committed: Vec::new(),
        };
        let brokers = (1..).zip(shards).map(|(id, shards_count)| Broker {
            id,
            disk: SimDisk::new(seed + id as u64, SimDiskOptions::default()),
            shards_count: *shards_count,
            process: None,
        });
        let mut cluster = Cluster {
            runtime,
            net: SimNet::new(seed, options),
            driver,
            controller: Rc::new(RefCell::new(controller)),
            brokers: brokers.collect(),
        };
        (1..=shards.len() as i32).for_each(|id| cluster.start(id));
        cluster
    }

    /// A broker's address.
    pub(super) fn ip(&self, broker: i32) -> IpAddr {
        ip(broker)
    }

    fn broker(&self, id: i32) -> &Broker {
        &self.brokers[id as usize - 1]
    }

    // The controller.

    fn apply(&self, action: Action) {
        self.controller.borrow_mut().apply(action);
    }

    /// A topic of so many partitions, each on all brokers, led by `leader`.
    pub(super) fn create_topic(&self, partitions: i32, leader: i32, configs: &[(&str, &str)]) {
        let mut replicas: Vec<i32> = self.brokers.iter().map(|broker| broker.id).collect();
        replicas.sort_by_key(|id| *id != leader);
        let partitions = (0..partitions).map(|partition| PartitionRecord {
            partition,
            replicas: replicas.clone(),
            isr: replicas.clone(),
            leader,
            leader_epoch: 0,
            partition_epoch: 0,
            elr: Vec::new(),
        });
        let configs: Configs = configs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let topic = TopicRecord { id: TOPIC, name: "topic".into(), partitions: partitions.collect(), configs };
        self.apply(Action::CreateTopics(CreateTopics { topics: vec![topic] }));
    }

    /// What the metadata says of a partition.
    pub(super) fn partition(&self, partition: i32) -> Partition {
        self.controller.borrow().image.partition(id(partition)).expect("it is there").clone()
    }

    pub(super) fn isr(&self, partition: i32) -> Vec<i32> {
        let mut isr: Vec<i32> = self.partition(partition).isr.iter().map(|id| id.0).collect();
        isr.sort_unstable();
        isr
    }

    /// In-sync replicas that were committed for leaders, in order.
    pub(super) fn committed(&self) -> Vec<Vec<i32>> {
        self.controller.borrow().committed.clone()
    }

    /// Does it answer leaders that want other in-sync replicas?
    pub(super) fn set_answers(&self, answers: bool) {
        self.controller.borrow_mut().answers = answers;
    }

    fn change(&self, partition: i32, change: impl FnOnce(&mut PartitionRecord)) {
        let mut record = PartitionRecord::of(partition, &self.partition(partition));
        record.partition_epoch += 1;
        change(&mut record);
        self.apply(Action::ChangePartitions(ChangePartitions {
            partitions: vec![PartitionChange { topic_id: TOPIC, partition: record }],
            ..ChangePartitions::default()
        }));
    }

    /// Another leader, in another reign.
    pub(super) fn elect(&self, partition: i32, leader: i32) {
        self.change(partition, |record| {
            record.leader = leader;
            record.leader_epoch += 1;
        });
    }

    /// Fences a broker; it leaves the in-sync replicas of these partitions.
    pub(super) fn fence(&self, broker: i32, partitions: i32) {
        self.apply(Action::FenceBrokers(FenceBrokers { brokers: vec![broker], fenced: true, partitions: Vec::new() }));
        for partition in 0..partitions {
            if self.isr(partition).contains(&broker) {
                self.change(partition, |record| record.isr.retain(|member| *member != broker));
            }
        }
    }

    // Processes.

    /// Starts a broker's process, as a new incarnation.
    pub(super) fn start(&mut self, broker: i32) {
        let (shards, ip) = (self.broker(broker).shards_count, ip(broker));
        self.apply(Action::RegisterBroker(RegisterBroker {
            broker,
            directory_id: Id { high: 2, low: broker as u64 },
            endpoints: vec![EndpointRecord { listener: "PLAINTEXT".into(), host: ip.to_string(), port: 9092 }],
            rack: None,
            fenced: false,
            peer: Some(EndpointRecord { listener: "PEER".into(), host: ip.to_string(), port: PEER_PORT.into() }),
            shards: shards as u32,
            partitions: Vec::new(),
        }));
        let net = self.net.host(ip);
        let disk = Disk::Sim(self.broker(broker).disk.clone());
        let mut ends = mesh::full_mesh(shards).into_iter();
        let (executor, rt) = self.runtime.new_executor(&format!("{broker} metadata"));
        let controller = self.controller.clone();
        let serving = rt.clone();
        let mesh = Mesh::start(&rt, ends.next().expect("one for each core"), move |_, request, responder| {
            serve_metadata(&serving, &controller, broker, request, responder);
        });
        let mut process = Process { executors: vec![executor], shards: Vec::new() };
        for (index, ends) in ends.enumerate() {
            let (executor, rt) = self.runtime.new_executor(&format!("{broker} shard {index}"));
            process.executors.push(executor);
            let served: Rc<OnceCell<Rc<Shard>>> = Rc::default();
            let cell = served.clone();
            let mesh = Mesh::start(&rt, ends, move |_, request, responder| {
                cell.get().expect("nobody calls before it has begun").serve(request, Caller::There(responder));
            });
            let image = Arc::new(Image::empty(CLUSTER, []));
            let spot = Spot { broker, index, shards };
            let parts = self.run_on(&rt, parts(spot, rt.clone(), disk.clone(), net.clone(), mesh, image));
            let shard = Shard::start(parts);
            assert!(served.set(shard.clone()).is_ok());
            process.shards.push(shard);
        }
        let publications = Queue::new(1024);
        {
            let controller = &mut *self.controller.borrow_mut();
            let delta = Delta::between(&Image::empty("", []), &controller.image);
            let first = Publication { image: controller.image.clone(), delta: Arc::new(delta) };
            assert!(publications.try_push(first).is_ok());
            controller.subscribers.retain(|(id, _)| *id != broker);
            controller.subscribers.push((broker, publications.clone()));
        }
        rt.spawn(publish(mesh.clone(), shards, publications));
        let address = SocketAddr::new(ip, PEER_PORT);
        let listener = net.listen(address, 64).expect("the port is free");
        rt.spawn(accept(rt.clone(), listener, mesh, broker));
        self.brokers[broker as usize - 1].process = Some(process);
    }

    /// Kills a broker's process, or its machine with all that was not flushed.
    pub(super) fn crash(&mut self, broker: i32, loses_power: bool, seed: u64) {
        let process = self.brokers[broker as usize - 1].process.take().expect("it runs");
        self.controller.borrow_mut().subscribers.retain(|(id, _)| *id != broker);
        if loses_power {
            self.net.power_off_host(ip(broker));
        } else {
            self.net.crash_host(ip(broker));
        }
        let Process { executors, shards } = process;
        executors.into_iter().for_each(|executor| self.runtime.kill_executor(executor));
        drop(shards);
        let disk = &self.broker(broker).disk;
        if loses_power {
            disk.crash(seed);
        } else {
            disk.kill(seed);
        }
    }

    /// The shard of a broker that has a partition.
    pub(super) fn shard(&self, broker: i32, partition: i32) -> &Rc<Shard> {
        let shards = &self.broker(broker).process.as_ref().expect("it runs").shards;
        &shards[placement::shard_of(id(partition), shards.len()).0]
    }

    // Clients.

    /// Sends a batch of one record to a broker.
    pub(super) fn begin_produce(
        &self,
        broker: i32,
        partition: i32,
        value: &[u8],
        acks: Acks,
    ) -> local::OneshotReceiver<Vec<ProduceOutcome>> {
        let bytes = BatchBuilder::new(0).with(NewRecord::value(value)).build();
        let header = batch::validate(&bytes).expect("a valid batch");
        let part = ProducePart { partition: id(partition), batch: Bytes::from(bytes), header };
        let (received, deadline) = (self.driver.now(), self.driver.now().after(Duration::from_secs(30)));
        let (sender, receiver) = local::oneshot();
        let order = ProduceOrder { acks, deadline, received, parts: vec![part] };
        self.shard(broker, partition).produce(order, produce::Client::Here(sender));
        receiver
    }

    /// Sends a batch to a broker and waits for what it says.
    pub(super) fn produce(&self, broker: i32, partition: i32, value: &[u8], acks: Acks) -> ProduceOutcome {
        let answer = self.begin_produce(broker, partition, value, acks);
        self.run(answer).expect("it is answered").pop().expect("one part, one outcome")
    }

    // Time.

    /// Runs the world until a future of nobody's is done.
    pub(super) fn run<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        self.run_on(&self.driver, future)
    }

    fn run_on<T: 'static>(&self, rt: &Rt, future: impl Future<Output = T> + 'static) -> T {
        let result = Rc::new(RefCell::new(None));
        let place = result.clone();
        rt.spawn(async move {
            let value = future.await;
            place.borrow_mut().replace(value);
        });
        loop {
            self.runtime.run_ready();
            if let Some(value) = result.borrow_mut().take() {
                return value;
            }
            assert!(self.step(), "the future waits for something that never comes");
        }
    }

    /// Runs the world until something holds.
    pub(super) fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let limit_ns = self.runtime.now_ns() + 60_000_000_000;
        loop {
            self.runtime.run_ready();
            if holds() {
                return;
            }
            assert!(self.runtime.now_ns() < limit_ns && self.step(), "{what}: not within a minute");
        }
    }

    /// Lets the world go on for a while.
    pub(super) fn pass(&self, time: Duration) {
        let rt = self.driver.clone();
        self.run(async move { rt.sleep(time).await });
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.runtime.now_ns()
    }

    fn step(&self) -> bool {
        let disks = self.brokers.iter().map(|broker| broker.disk.next_due());
        let due = disks.chain([self.runtime.next_due(), self.net.next_due()]).flatten().min();
        let Some(due_ns) = due.map(|due_ns| due_ns.max(self.runtime.now_ns())) else { return false };
        self.brokers.iter().for_each(|broker| broker.disk.run_due(due_ns));
        self.net.run_due(due_ns);
        self.runtime.run_due(due_ns);
        true
    }

    // What is there.

    /// Log start, high watermark, flushed end and log end of a replica; `None`: it is not open.
    pub(super) fn ladder(&self, broker: i32, partition: i32) -> Option<[i64; 4]> {
        let state = self.shard(broker, partition).state.borrow();
        let ladder = state.partitions.get(&id(partition))?.role.ladder();
        let rungs = [ladder.log_start().0, ladder.high_watermark().0, ladder.flushed_end().0, ladder.log_end().0];
        Some(rungs)
    }

    /// Does this broker lead the partition, by its own lights?
    pub(super) fn leads(&self, broker: i32, partition: i32) -> bool {
        let state = self.shard(broker, partition).state.borrow();
        state.partitions.get(&id(partition)).is_some_and(|hosted| matches!(hosted.role, Role::Leader(_)))
    }

    /// Waits until this broker leads the partition, by its own lights.
    pub(super) fn until_led(&self, broker: i32, partition: i32) {
        self.until("it leads", || self.leads(broker, partition));
    }

    /// The epochs of a replica's log.
    pub(super) fn epochs(&self, broker: i32, partition: i32) -> Vec<(LeaderEpoch, i64)> {
        let state = self.shard(broker, partition).state.borrow();
        state.partitions[&id(partition)].log.epochs().entries().to_vec()
    }

    /// Every byte of a replica's log, from its start to its end.
    pub(super) fn log(&self, broker: i32, partition: i32) -> Vec<u8> {
        let shard = self.shard(broker, partition).clone();
        self.run(async move {
            let (mut bytes, mut at) = (Vec::new(), None);
            loop {
                let plan = {
                    let state = &mut *shard.state.borrow_mut();
                    let hosted = state.partitions.get_mut(&id(partition)).expect("it is open");
                    let offsets = hosted.log.offsets();
                    let from = at.unwrap_or(offsets.log_start_offset);
                    if from == offsets.log_end_offset {
                        return bytes;
                    }
                    hosted.log.read_plan(from, offsets.log_end_offset, 1 << 20, true).expect("it can be read")
                };
                let done = plan.execute().await.expect("it can be read");
                bytes.extend_from_slice(&done.records);
                at = Some(done.next_offset);
            }
        })
    }

    /// Waits until all replicas of a partition have all of it, and are in sync, and know that.
    pub(super) fn settle(&self, partition: i32) {
        let all: Vec<i32> = self.brokers.iter().map(|broker| broker.id).collect();
        self.until("all replicas are the same", || {
            let ladders: Vec<Option<[i64; 4]>> = all.iter().map(|id| self.ladder(*id, partition)).collect();
            let is_even = |ladder: &[i64; 4]| ladder[1] == ladder[3] && ladder[2] == ladder[3];
            let first = ladders[0].filter(is_even);
            first.is_some() && ladders.iter().all(|ladder| *ladder == first) && self.isr(partition) == all
        });
        let logs: Vec<Vec<u8>> = all.iter().map(|id| self.log(*id, partition)).collect();
        assert!(logs.iter().all(|log| *log == logs[0]), "the logs are the same, byte by byte");
    }
}

impl Controller {
    fn apply(&mut self, action: Action) {
        let (image, delta) = self.image.apply(self.image.version() + 1, &Change::new(action)).expect("it fits");
        self.image = Arc::new(image);
        let publication = Publication { image: self.image.clone(), delta: Arc::new(delta) };
        for (_, publications) in &self.subscribers {
            assert!(publications.try_push(publication.clone()).is_ok(), "there is room");
        }
    }

    fn decide(&mut self, from: i32, proposal: &IsrProposal) -> IsrAnswer {
        let Some(partition) = self.image.partition(proposal.partition).cloned() else { return IsrAnswer::Superseded };
        let is_of_this_reign =
            partition.leader == Some(BrokerId(from)) && partition.leader_epoch == proposal.leader_epoch;
        if !is_of_this_reign || partition.partition_epoch != proposal.partition_epoch {
            return IsrAnswer::Superseded;
        }
        let is_live = |id: BrokerId| self.image.brokers().get(&id).filter(|b| !b.fenced).map(|b| b.epoch);
        if proposal
            .isr
            .iter()
            .any(|member| member.broker_epoch.is_none() || member.broker_epoch != is_live(member.broker))
        {
            return IsrAnswer::Refused;
        }
        let mut record = PartitionRecord::of(proposal.partition.partition, &partition);
        record.partition_epoch += 1;
        record.isr = proposal.isr.iter().map(|member| member.broker.0).collect();
        let mut isr = record.isr.clone();
        isr.sort_unstable();
        self.committed.push(isr);
        let topic_id = proposal.partition.topic_id.0.into();
        let change = PartitionChange { topic_id, partition: record };
        self.apply(Action::ChangePartitions(ChangePartitions {
            partitions: vec![change],
            ..ChangePartitions::default()
        }));
        IsrAnswer::Committed(self.image.partition(proposal.partition).expect("it was there").partition_epoch)
    }
}

fn serve_metadata(rt: &Rt, controller: &Rc<RefCell<Controller>>, broker: i32, request: Request, responder: Responder) {
    let Request::Metadata(metadata_request::Request::AlterIsr { proposals, .. }) = request else {
        unreachable!("shards ask for nothing else here")
    };
    let (rt, controller) = (rt.clone(), controller.clone());
    rt.clone().spawn(async move {
        rt.sleep(Duration::from_millis(2)).await;
        while !controller.borrow().answers {
            rt.sleep(Duration::from_millis(10)).await;
        }
        let answers = proposals.iter().map(|proposal| controller.borrow_mut().decide(broker, proposal)).collect();
        responder.answer(Reply::Metadata(Ok(metadata_request::Reply::AlterIsr(Ok(answers)))));
    });
}

async fn publish(mesh: Mesh, shards: usize, publications: Queue<Publication>) {
    while let Some(publication) = publications.pop().await {
        let calls =
            (0..shards).map(|shard| mesh.call(Core::Shard(ShardId(shard)), Request::Publish(publication.clone())));
        futures_util::future::join_all(calls).await;
    }
}

/// What the server's peer listener does with followers' streams.
async fn accept(rt: Rt, listener: Listener, mesh: Mesh, broker: i32) {
    let directory_id = Uuid::from_u64_pair(2, broker as u64);
    let local = Local { cluster_id: Some(CLUSTER.into()), node: BrokerId(broker), directory_id };
    while let Ok(accepted) = listener.accept().await {
        let (rt_of_task, mesh, local) = (rt.clone(), mesh.clone(), local.clone());
        rt.spawn(async move {
            let Ok(incoming) = peer::receive(&rt_of_task, accepted, &local).await else { return };
            let hello = incoming.hello.clone();
            let peer::hello::Purpose::Replication { to_shard, .. } = hello.purpose else { return };
            let Ok((read, write)) = incoming.welcome(&local).await else { return };
            let connection = Accepted::unbind(read, write).expect("nobody waits on it");
            let to = Core::Shard(ShardId(to_shard as usize));
            mesh.call(to, Request::ReplicaStream { connection, hello }).await;
        });
    }
}

#[derive(Clone, Copy)]
struct Spot {
    broker: i32,
    index: usize,
    shards: usize,
}

async fn parts(spot: Spot, rt: Rt, disk: Disk, net: Net, mesh: Mesh, image: Arc<Image>) -> Parts {
    let dir = Path::new(DIR);
    let directory_id = Uuid::from_u64_pair(2, spot.broker as u64);
    let identity = Identity { cluster_id: Some(CLUSTER.into()), node_id: spot.broker, directory_id };
    let data_dir = DataDir::attach(&disk, dir, &identity);
    if spot.index == 0 {
        drop(DataDir::open(&disk, dir, &identity).await.expect("it opens"));
    }
    let loaded = checkpoints::load(&disk, dir).await.expect("the disk works");
    let replayed = epoch_journal::replay(&disk, dir).await.expect("the disk works");
    let mine = |id: &crate::model::PartitionId| placement::shard_of(*id, spot.shards) == ShardId(spot.index);
    let known = loaded.checkpoints.into_iter().filter(|(id, _)| mine(id)).collect();
    let epochs: epoch_journal::EpochChanges = replayed.changes.into_iter().filter(|(id, _)| mine(id)).collect();
    let (number, bytes) = (spot.index as u32, limits::EPOCH_JOURNAL_BYTES);
    let (generation, of_epochs) = (loaded.generation, replayed.generation);
    Parts {
        id: ShardId(spot.index),
        shards: spot.shards,
        me: BrokerId(spot.broker),
        rt,
        barrier: Barrier::open(&disk, dir).await.expect("the disk works"),
        checkpoints: Checkpoints::new(&disk, dir, generation, number, known),
        epoch_journal: EpochJournal::new(&disk, dir, of_epochs, number, bytes, epochs.clone()),
        epochs,
        disk,
        net,
        mesh,
        data_dir,
        config: Arc::new(config()),
        metrics: Metrics::new(1).shard(0).clone(),
        image,
    }
}

fn ip(broker: i32) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, broker as u8).into()
}
