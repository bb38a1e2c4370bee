//! The transport over a simulated network: elections, a snapshot in pieces, a cut, a voter that is bound late.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use net::stream::sim::{SimNet, SimNetOptions};
use storage::disk::{Disk, SimDisk, SimDiskOptions};
use uuid::Uuid;

use super::{Control, Peers, Transport};
use crate::metadata::controller::{BrokerRegistration, NewTopic, Rules};
use crate::metadata::image::Endpoint;
use crate::metadata::node::{Node, NodeOptions, initial_voter};
use crate::metadata::raft_log::Identity;
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::BrokerId;
use crate::peer::hello::Purpose;
use crate::peer::{Local, receive};
use crate::rt::Rt;
use crate::rt::sim::{SimExecutor, SimRuntime};

const SECOND_NS: u64 = 1_000_000_000;
const PORT: u16 = 9192;
/// Longer than entries are kept for a member that is silent.
const GONE: Duration = Duration::from_secs(6);

struct Member {
    executor: SimExecutor,
    rt: Rt,
    disk: SimDisk,
    running: Option<(Rc<Node>, Rc<Control>)>,
}

struct Group {
    runtime: SimRuntime,
    net: SimNet,
    members: Vec<Member>,
    /// Brokers whose directories the founders had not heard of.
    unbound: Vec<i32>,
}

fn ip(node: i32) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, u8::try_from(node).unwrap() + 1).into()
}

fn directory(node: i32) -> Uuid {
    Uuid::from_u64_pair(9, node as u64)
}

fn rules() -> Rules {
    Rules {
        partitions_default: 1,
        replication_factor_default: 1,
        min_insync_replicas_default: 1,
        session: Duration::from_secs(3600),
        balance_interval: None,
        check_topic_config: |_, _| Ok(()),
        check_topic_configs: |_| Ok(()),
        check_broker_config: |_, _| Ok(()),
        list_default: |_| None,
    }
}

impl Group {
    /// Three members that do not run yet.
    fn new(seed: u64, unbound: &[i32]) -> Group {
        let runtime = SimRuntime::new(seed);
        let net = SimNet::new(seed, SimNetOptions::default());
        let members = (0..3)
            .map(|n| {
                let (executor, rt) = runtime.new_executor("metadata");
                Member { executor, rt, disk: SimDisk::new(seed + n, SimDiskOptions::default()), running: None }
            })
            .collect();
        Group { runtime, net, members, unbound: unbound.to_vec() }
    }

    fn start(&mut self, member: i32) {
        let local = Local { cluster_id: Some("c".into()), node: BrokerId(member), directory_id: directory(member) };
        let identity = Identity { cluster_id: "c".into(), node_id: BrokerId(member), directory_id: directory(member) };
        let known = |node: &i32| (!self.unbound.contains(node)).then(|| directory(*node));
        let voters = (0..3).map(|node| initial_voter(BrokerId(node), known(&node))).collect();
        let options = NodeOptions {
            initial_voters: Some(voters),
            snapshot_entries: 10,
            ..NodeOptions::standalone(identity, rules())
        };
        let others = (0..3).filter(|other| *other != member);
        let addresses: BTreeMap<_, _> = others.map(|node| (BrokerId(node), (ip(node).to_string(), PORT))).collect();
        let place = &self.members[member as usize];
        let (rt, disk, net) = (place.rt.clone(), Disk::Sim(place.disk.clone()), self.net.host(ip(member)));
        let started = self.spawn(member, async move {
            let node = Node::open(rt.clone(), disk, Path::new("/data/metadata"), options).await.unwrap();
            let peers = Rc::new(Peers { rt: rt.clone(), net: net.clone(), local: local.clone(), addresses });
            let transport = Transport::start(node.clone(), peers.clone());
            let control = Control::new(node.clone(), peers);
            rt.spawn(listen(rt.clone(), net, local, transport, control.clone()));
            (node, control)
        });
        self.run_until(|_| started.borrow().is_some());
        self.members[member as usize].running = started.borrow_mut().take();
    }

    fn kill(&mut self, member: i32) {
        self.net.crash_host(ip(member));
        let killed = &mut self.members[member as usize];
        killed.disk.crash(member as u64);
        self.runtime.kill_executor(killed.executor);
        killed.running = None;
        (killed.executor, killed.rt) = self.runtime.new_executor("metadata");
    }

    fn spawn<T: 'static>(&self, member: i32, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let place = result.clone();
        self.members[member as usize].rt.spawn(async move {
            let value = future.await;
            place.borrow_mut().replace(value);
        });
        result
    }

    fn run_until(&self, reached: impl Fn(&Group) -> bool) {
        let end_ns = self.runtime.now_ns() + 30 * SECOND_NS;
        loop {
            self.runtime.run_ready();
            if reached(self) {
                return;
            }
            let disks = self.members.iter().filter_map(|member| member.disk.next_due());
            let due = [self.runtime.next_due(), self.net.next_due()].into_iter().flatten().chain(disks).min();
            let due_ns = due.expect("ticks never end").max(self.runtime.now_ns());
            assert!(due_ns < end_ns, "it does not come to that");
            self.members.iter().for_each(|member| member.disk.run_due(due_ns));
            self.net.run_due(due_ns);
            self.runtime.run_due(due_ns);
        }
    }

    fn pause(&self, time: Duration) {
        let until_ns = self.runtime.now_ns() + u64::try_from(time.as_nanos()).unwrap();
        self.run_until(|group| group.runtime.now_ns() >= until_ns);
    }

    fn node(&self, member: i32) -> &Rc<Node> {
        &self.members[member as usize].running.as_ref().unwrap().0
    }

    fn controller(&self) -> Option<i32> {
        let leads = |member: &Member| member.running.as_ref().is_some_and(|(node, _)| node.am_controller());
        self.members.iter().position(leads).map(|member| member as i32)
    }

    fn elect(&self) -> i32 {
        self.run_until(|group| group.controller().is_some());
        self.controller().unwrap()
    }

    /// Asks a member, as often as it takes while there is no controller.
    fn ask(&self, member: i32, request: Request) -> Result<Reply, SubmitError> {
        loop {
            let control = self.members[member as usize].running.as_ref().unwrap().1.clone();
            let request = request.clone();
            let call = self.spawn(member, async move { control.ask(request).await });
            self.run_until(|_| call.borrow().is_some());
            match call.take().unwrap() {
                Err(SubmitError::NotController { .. }) => {
                    self.pause(Duration::from_millis(50));
                }
                outcome => return outcome,
            }
        }
    }

    fn register(&self, member: i32) {
        let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: "h".into(), port: 9092 };
        let registration = BrokerRegistration {
            broker: BrokerId(member),
            directory_id: directory(member),
            endpoints: vec![endpoint],
            rack: None,
            peer: None,
            shards: 1,
        };
        let broker = BrokerId(member);
        let Ok(Reply::RegisterBroker(Ok(epoch))) = self.ask(member, Request::RegisterBroker(registration)) else {
            panic!("it is registered")
        };
        let applied = u64::MAX >> 1;
        self.ask(member, Request::Heartbeat { broker, epoch, wants_to_leave: false, applied }).unwrap();
    }

    /// A topic with a config of so many bytes that do not compress.
    fn create(&self, member: i32, name: &str, bytes: usize) {
        let noise = std::iter::repeat_with(|| char::from(b'!' + (self.members[0].rt.random_u64() % 90) as u8));
        let topic = NewTopic {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            configs: vec![("c".into(), Some(noise.take(bytes).collect()))],
            ..NewTopic::default()
        };
        match self.ask(member, Request::CreateTopics { topics: vec![topic], validate_only: false }) {
            Ok(Reply::CreateTopics(outcomes)) => assert!(outcomes[0].1.is_ok(), "{outcomes:?}"),
            other => panic!("{other:?}"),
        }
    }

    fn all_at_one_version(&self) -> bool {
        let versions =
            self.members.iter().map(|member| member.running.as_ref().map(|(node, _)| node.image().version()));
        let versions: Vec<u64> = versions.flatten().collect();
        versions.iter().all(|version| *version == versions[0])
    }
}

async fn listen(rt: Rt, net: net::stream::Net, local: Local, transport: Rc<Transport>, control: Rc<Control>) {
    let listener = net.listen((Ipv4Addr::UNSPECIFIED, PORT).into(), 16).unwrap();
    while let Ok(accepted) = listener.accept().await {
        let (transport, control, local, on) = (transport.clone(), control.clone(), local.clone(), rt.clone());
        rt.spawn(async move {
            let Ok(incoming) = receive(&on, accepted, &local).await else { return };
            match (incoming.hello.purpose, transport.admit(&incoming.hello)) {
                (Purpose::Control, _) => {
                    if let Ok((read, write)) = incoming.welcome(&local).await {
                        control.serve(read, write).await;
                    }
                }
                (_, Ok(raft_id)) => {
                    if let Ok((read, _write)) = incoming.welcome(&local).await {
                        let _ended = transport.receive(raft_id, read).await;
                    }
                }
                (_, Err(reason)) => _ = incoming.refuse(reason).await,
            }
        });
    }
}

/// Lesson 59.
#[test]
fn whoever_is_asked_answers_once_it_knows_the_change_itself() {
    for seed in 0..10 {
        let mut group = Group::new(seed, &[]);
        (0..3).for_each(|member| group.start(member));
        group.register(0);
        for member in 0..3 {
            let name = format!("t{member}");
            group.create(member, &name, 10);
            assert!(group.node(member).image().topic_by_name(&name).is_some(), "seed {seed}");
        }
    }
}

/// A group, its leader, and a member that was killed before 40 topics of 300 kB came: they are in no log any more.
fn with_one_far_behind(seed: u64) -> (Group, i32, i32) {
    let mut group = Group::new(seed, &[]);
    (0..3).for_each(|member| group.start(member));
    let leader = group.elect();
    group.register(leader);
    let behind = (leader + 1) % 3;
    group.kill(behind);
    group.pause(GONE);
    for n in 0..40 {
        group.create(leader, &format!("t{n}"), 300_000);
    }
    (group, leader, behind)
}

/// Lesson 48.
#[test]
fn a_member_that_is_far_behind_gets_a_snapshot_in_pieces_while_elections_rest() {
    for seed in 0..5 {
        let (mut group, leader, behind) = with_one_far_behind(seed);
        let term = group.node(leader).stats().term;
        group.start(behind);
        group.run_until(Group::all_at_one_version);
        assert_eq!(group.node(behind).image().topic_count(), 40, "seed {seed}");
        assert_eq!((group.controller(), group.node(leader).stats().term), (Some(leader), term), "seed {seed}");
        // And it goes on as any other.
        group.create(behind, "after", 10);
    }
}

/// Lesson 48.
#[test]
fn a_snapshot_whose_stream_breaks_is_sent_again() {
    for seed in 0..5 {
        let (mut group, leader, behind) = with_one_far_behind(seed);
        group.start(behind);
        for _ in 0..6 {
            group.pause(Duration::from_millis(20));
            group.net.reset_between(ip(leader), ip(behind));
        }
        group.run_until(Group::all_at_one_version);
        assert_eq!(group.node(behind).image().topic_count(), 40, "seed {seed}");
    }
}

#[test]
fn a_voter_that_was_missing_is_bound_when_it_comes_and_votes_from_then_on() {
    for seed in 0..10 {
        let mut group = Group::new(seed, &[2]);
        [0, 1].into_iter().for_each(|member| group.start(member));
        group.register(0);
        group.start(2);
        let bound = |group: &Group, member: i32| {
            group.node(member).image().voter(BrokerId(2)).unwrap().directory_id == Some(directory(2))
        };
        group.run_until(|group| (0..3).all(|member| bound(group, member)));
        let leader = group.elect();
        let other = (0..3).find(|member| *member != 2 && *member != leader).unwrap_or(0);
        group.kill(other);
        group.create(2, "by-two", 10);
        assert_eq!(group.node(2).image().topic_count(), 1, "seed {seed}");
    }
}

#[test]
fn a_controller_that_is_cut_off_is_replaced_and_told_later() {
    for seed in 0..10 {
        let mut group = Group::new(seed, &[]);
        (0..3).for_each(|member| group.start(member));
        let leader = group.elect();
        group.register(leader);
        let others: Vec<i32> = (0..3).filter(|member| *member != leader).collect();
        for other in &others {
            group.net.cut(ip(leader), ip(*other));
            group.net.cut(ip(*other), ip(leader));
        }
        group.run_until(|group| others.iter().any(|member| group.node(*member).am_controller()));
        group.run_until(|group| !group.node(leader).am_controller());
        let next = *others.iter().find(|member| group.node(**member).am_controller()).unwrap();
        group.create(next, "meanwhile", 10);
        group.net.heal_all();
        group.run_until(Group::all_at_one_version);
        assert_eq!(group.node(leader).image().topic_count(), 1, "seed {seed}");
    }
}
