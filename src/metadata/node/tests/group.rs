//! Three nodes, whose messages a test carries.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use raft::SnapshotStatus;
use raft::eraftpb::{Message, MessageType};
use storage::disk::{Disk, SimDisk, SimDiskOptions};
use uuid::Uuid;

use super::world::{content, create, created, dir, heartbeat, registration, rules};
use crate::metadata::controller::{Heartbeat, NewTopic, Rules};
use crate::metadata::image::{BrokerEpoch, Image, Voter};
use crate::metadata::node::{Node, NodeOptions, initial_voter};
use crate::metadata::raft_log::Identity;
use crate::metadata::request::{Reply, Request, SubmitError};
use crate::model::BrokerId;
use crate::rt::Rt;
use crate::rt::sim::{SimExecutor, SimRuntime};

const SECOND_NS: u64 = 1_000_000_000;

struct Member {
    executor: SimExecutor,
    rt: Rt,
    disk: SimDisk,
    node: Option<Rc<Node>>,
    cut_off: bool,
    /// Entries do not get to it; all else does.
    is_slow: bool,
    /// Snapshots that got to it.
    snapshots: Cell<usize>,
}

struct Group {
    runtime: SimRuntime,
    members: Vec<Member>,
    wire: Rc<RefCell<VecDeque<Message>>>,
    snapshot_entries: u64,
    session: Duration,
}

fn voters() -> Vec<Voter> {
    (0..3).map(|id| initial_voter(BrokerId(id), Some(Uuid::from_u64_pair(9, id as u64)))).collect()
}

impl Group {
    /// Brokers are never fenced.
    fn new(seed: u64, snapshot_entries: u64) -> Group {
        Group::with_sessions(seed, snapshot_entries, Duration::from_secs(3600))
    }

    fn with_sessions(seed: u64, snapshot_entries: u64, session: Duration) -> Group {
        let runtime = SimRuntime::new(seed);
        let members = (0..3)
            .map(|n| {
                let (executor, rt) = runtime.new_executor("metadata");
                let disk = SimDisk::new(seed + n, SimDiskOptions::default());
                Member { executor, rt, disk, node: None, cut_off: false, is_slow: false, snapshots: Cell::new(0) }
            })
            .collect();
        let mut group = Group { runtime, members, wire: Rc::default(), snapshot_entries, session };
        (0..3).for_each(|member| group.start(member));
        group
    }

    fn start(&mut self, member: usize) {
        let voter = voters()[member];
        let identity = Identity {
            cluster_id: "cluster".into(),
            node_id: voter.node_id,
            directory_id: voter.directory_id.unwrap(),
        };
        let options = NodeOptions {
            initial_voters: Some(voters()),
            snapshot_entries: self.snapshot_entries,
            ..NodeOptions::standalone(identity, Rules { session: self.session, ..rules() })
        };
        let (rt, disk) = (self.members[member].rt.clone(), Disk::Sim(self.members[member].disk.clone()));
        let opening = self.spawn(member, async move { Node::open(rt, disk, dir(), options).await.unwrap() });
        self.run_until(|_| opening.borrow().is_some());
        let node = opening.borrow_mut().take().unwrap();
        self.members[member].node = Some(node.clone());
        let wire = self.wire.clone();
        self.members[member].rt.spawn(async move {
            while let Some(message) = node.next_message().await {
                wire.borrow_mut().push_back(message);
            }
        });
    }

    fn kill(&mut self, member: usize) {
        let killed = &mut self.members[member];
        killed.disk.crash(member as u64);
        self.runtime.kill_executor(killed.executor);
        killed.node = None;
        (killed.executor, killed.rt) = self.runtime.new_executor("metadata");
    }

    fn spawn<T: 'static>(&self, member: usize, future: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let place = result.clone();
        self.members[member].rt.spawn(async move {
            let value = future.await;
            place.borrow_mut().replace(value);
        });
        result
    }

    fn step(&self) {
        self.runtime.run_ready();
        let messages: Vec<Message> = self.wire.borrow_mut().drain(..).collect();
        let delivered = !messages.is_empty();
        for message in messages {
            let (from, to) = (&self.members[message.from as usize - 1], &self.members[message.to as usize - 1]);
            let (kind, is_cut) = (message.get_msg_type(), from.cut_off || to.cut_off);
            let is_lost = is_cut || (to.is_slow && kind == MessageType::MsgAppend);
            let receiver = to.node.as_ref().filter(|_| !is_lost);
            if kind == MessageType::MsgSnapshot {
                to.snapshots.set(to.snapshots.get() + usize::from(receiver.is_some()));
                let status = if receiver.is_some() { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                from.node.iter().for_each(|node| node.snapshot_sent(message.to, status));
            }
            receiver.into_iter().for_each(|node| node.receive(message.clone()));
        }
        if !delivered {
            let disks = self.members.iter().filter_map(|member| member.disk.next_due());
            let due_ns = self.runtime.next_due().into_iter().chain(disks).min().expect("ticks never end");
            self.members.iter().for_each(|member| member.disk.run_due(due_ns));
            self.runtime.run_due(due_ns);
        }
    }

    fn run_until(&self, reached: impl Fn(&Group) -> bool) {
        let end_ns = self.runtime.now_ns() + 20 * SECOND_NS;
        while !reached(self) {
            assert!(self.runtime.now_ns() < end_ns, "it does not come to that");
            self.step();
        }
    }

    fn pause(&self, time: Duration) {
        let until_ns = self.runtime.now_ns() + u64::try_from(time.as_nanos()).unwrap();
        self.run_until(|group| group.runtime.now_ns() >= until_ns);
    }

    /// Creates topics of 200 kB each.
    fn create_large(&self, member: usize, topics: std::ops::Range<usize>) {
        for n in topics {
            let large = NewTopic {
                name: format!("large-{n}"),
                partitions: -1,
                replication_factor: -1,
                configs: vec![("c".into(), Some("v".repeat(200_000)))],
                ..NewTopic::default()
            };
            let request = Request::CreateTopics { topics: vec![large], validate_only: false };
            assert_eq!(created(&self.submit(member, request).unwrap()), Ok(()));
        }
    }

    fn snapshots_to(&self, member: usize) -> usize {
        self.members[member].snapshots.get()
    }

    fn image(&self, member: usize) -> std::sync::Arc<Image> {
        self.members[member].node.as_ref().unwrap().image()
    }

    fn controller(&self) -> Option<usize> {
        let leads =
            |member: &Member| !member.cut_off && member.node.as_ref().is_some_and(|node| node.stats().am_controller);
        self.members.iter().position(leads)
    }

    fn elect(&self) -> usize {
        self.run_until(|group| group.controller().is_some());
        self.controller().unwrap()
    }

    fn submit(&self, member: usize, request: Request) -> Result<Reply, SubmitError> {
        let node = self.members[member].node.clone().unwrap();
        let call = self.spawn(member, async move { node.submit(request).await });
        self.run_until(|_| call.borrow().is_some());
        call.take().unwrap()
    }

    /// A broker registers and is heard; gives its epoch.
    fn join(&self, member: usize, broker: i32) -> BrokerEpoch {
        let Reply::RegisterBroker(Ok(epoch)) = self.submit(member, registration(broker)).unwrap() else { panic!() };
        let heard = self.submit(member, heartbeat(broker, epoch)).unwrap();
        assert_eq!(heard, Reply::Heartbeat(Ok(Heartbeat { fenced: false, may_leave: false })));
        epoch
    }

    fn all_alike(&self) -> bool {
        let live: Vec<usize> = (0..3).filter(|member| self.members[*member].node.is_some()).collect();
        live.windows(2).all(|pair| {
            let (a, b) = (self.image(pair[0]), self.image(pair[1]));
            a.version() == b.version() && content(&a) == content(&b)
        })
    }
}

/// Lesson 59, as far as it goes here: whoever is not the controller says who is, and decides nothing.
#[test]
fn three_nodes_elect_one_and_apply_the_same() {
    let group = Group::new(1, 1_000);
    let leader = group.elect();
    assert!(group.runtime.now_ns() < 3 * SECOND_NS, "elected after {} ns", group.runtime.now_ns());
    for id in 0..3 {
        group.join(leader, id);
    }
    let reply = group.submit(leader, create((0..40).map(|n| format!("t{n}")))).unwrap();
    assert_eq!(created(&reply), Ok(()));
    group.run_until(Group::all_alike);
    let follower = (leader + 1) % 3;
    assert_eq!(group.image(follower).topic_count(), 40);
    let refused = group.submit(follower, create(["u".to_owned()]));
    assert_eq!(refused, Err(SubmitError::NotController { controller: Some(BrokerId(leader as i32)) }));
}

#[test]
fn a_dead_controller_is_replaced_and_comes_back_as_a_follower() {
    for seed in 0..10 {
        let mut group = Group::new(seed, 1_000);
        let leader = group.elect();
        group.join(leader, 0);
        assert_eq!(created(&group.submit(leader, create(["before".to_owned()])).unwrap()), Ok(()));
        group.kill(leader);
        let begun = group.runtime.now_ns();
        let next = group.elect();
        assert!(group.runtime.now_ns() - begun < 3 * SECOND_NS, "seed {seed}");
        assert!(group.image(next).topic_by_name("before").is_some(), "seed {seed}");
        assert_eq!(created(&group.submit(next, create(["after".to_owned()])).unwrap()), Ok(()));
        group.start(leader);
        group.run_until(Group::all_alike);
        assert_eq!(group.image(leader).topic_count(), 2, "seed {seed}");
    }
}

#[test]
fn a_controller_that_is_cut_off_answers_nothing_it_could_not_commit() {
    let mut group = Group::new(21, 1_000);
    let leader = group.elect();
    group.join(leader, 0);
    group.members[leader].cut_off = true;
    let node = group.members[leader].node.clone().unwrap();
    let lost = group.spawn(leader, async move { node.submit(create(["lost".to_owned()])).await });
    let next = group.elect();
    assert_eq!(created(&group.submit(next, create(["kept".to_owned()])).unwrap()), Ok(()));
    group.members[leader].cut_off = false;
    group.run_until(|_| lost.borrow().is_some());
    assert_eq!(lost.borrow_mut().take().unwrap(), Err(SubmitError::Unknown));
    group.run_until(Group::all_alike);
    assert!(group.image(leader).topic_by_name("lost").is_none() && group.image(leader).topic_by_name("kept").is_some());
}

/// Longer than a leader keeps entries for a follower that is silent.
const GONE: Duration = Duration::from_secs(6);

/// Lesson 48: a follower whose entries were compacted away gets the snapshot, then what came after it.
#[test]
fn a_node_that_was_gone_while_the_log_was_compacted_gets_a_snapshot() {
    // By the log's growth; and when nobody needed one before, and nothing changes any more.
    for snapshot_entries in [10, 1_000_000] {
        let mut group = Group::new(31, snapshot_entries);
        let leader = group.elect();
        group.join(leader, 0);
        let behind = (leader + 1) % 3;
        group.kill(behind);
        group.pause(GONE);
        group.create_large(leader, 0..60);
        group.start(behind);
        group.run_until(Group::all_alike);
        assert_eq!(group.snapshots_to(behind), 1);
        assert_eq!(group.image(behind).topic_count(), 60);
        // What it installed is there after a restart.
        group.kill(behind);
        group.start(behind);
        assert!(group.image(behind).topic_count() >= 40);
        group.run_until(Group::all_alike);
    }
}

#[test]
fn entries_are_kept_for_a_follower_that_is_slow_and_not_for_one_that_is_gone() {
    for (is_gone, snapshots) in [(false, 0), (true, 1)] {
        let mut group = Group::new(33, 10);
        let leader = group.elect();
        group.join(leader, 0);
        let behind = (leader + 1) % 3;
        (group.members[behind].cut_off, group.members[behind].is_slow) = (is_gone, true);
        group.pause(GONE);
        group.create_large(leader, 0..60);
        assert_eq!(group.image(behind).topic_count(), 0);
        (group.members[behind].cut_off, group.members[behind].is_slow) = (false, false);
        group.run_until(Group::all_alike);
        assert_eq!(group.snapshots_to(behind), snapshots);
    }
}

/// What is slow for ever is not waited for: the entries that are kept for it have a bound.
#[test]
fn a_follower_that_falls_too_far_behind_gets_a_snapshot_though_it_is_heard() {
    let mut group = Group::new(35, 10);
    let leader = group.elect();
    group.join(leader, 0);
    let behind = (leader + 1) % 3;
    group.members[behind].is_slow = true;
    group.create_large(leader, 0..200);
    group.members[behind].is_slow = false;
    group.run_until(Group::all_alike);
    assert_eq!(group.snapshots_to(behind), 1);
}

/// A controller that was cut off holds entries that never came to be. The snapshot that it gets instead takes their place,
/// whenever the power is cut.
#[test]
fn a_node_that_dies_at_any_step_of_an_install_has_the_snapshot_or_gets_it_again() {
    let mut installed = 0;
    for steps in (0..).step_by(3) {
        let mut group = Group::new(37, 1_000_000);
        let old = group.elect();
        group.join(old, 0);
        group.members[old].cut_off = true;
        for n in 0..100 {
            let node = group.members[old].node.clone().unwrap();
            group.spawn(old, async move { node.submit(create([format!("lost-{n}")])).await });
        }
        let new = group.elect();
        group.pause(GONE);
        group.create_large(new, 0..30);
        group.members[old].cut_off = false;
        group.run_until(|group| group.snapshots_to(old) > 0);
        (0..steps).for_each(|_| group.step());
        installed += usize::from(group.image(old).topic_count() > 0);
        group.kill(old);
        group.start(old);
        group.run_until(Group::all_alike);
        assert_eq!(group.image(old).topic_count(), 30, "after {steps} steps");
        if installed > 3 {
            return;
        }
    }
}

#[test]
fn a_power_cut_of_all_three_loses_nothing() {
    let mut group = Group::new(41, 20);
    let leader = group.elect();
    group.join(leader, 0);
    for n in 0..50 {
        assert_eq!(created(&group.submit(leader, create([format!("t{n}")])).unwrap()), Ok(()));
    }
    (0..3).for_each(|member| group.kill(member));
    [2, 0, 1].into_iter().for_each(|member| group.start(member));
    let leader = group.elect();
    group.run_until(Group::all_alike);
    assert_eq!(group.image(leader).topic_count(), 50);
}

/// Lesson 45.
#[test]
fn a_disk_that_stalls_for_a_second_starts_no_election() {
    for stalled in 0..3 {
        let group = Group::new(51, 1_000);
        let leader = group.elect();
        group.join(leader, 0);
        let terms =
            || group.members.iter().map(|member| member.node.as_ref().unwrap().stats().term).collect::<Vec<_>>();
        group.run_until(Group::all_alike);
        let before = terms();
        let until_ns = group.runtime.now_ns() + SECOND_NS;
        group.members[stalled].disk.stall_until(until_ns);
        let reply = group.submit(leader, create(["meanwhile".to_owned()])).unwrap();
        assert_eq!(created(&reply), Ok(()));
        group.run_until(|group| group.runtime.now_ns() > until_ns + SECOND_NS);
        assert_eq!((terms(), group.controller()), (before, Some(leader)));
        assert!(group.all_alike());
    }
}

/// Nobody asks for it: the controller's clock does.
#[test]
fn a_broker_that_falls_silent_is_fenced_after_a_session_and_led_for_no_longer() {
    let session = Duration::from_secs(2);
    let mut group = Group::with_sessions(61, 1_000, session);
    let leader = group.elect();
    let epochs: Vec<BrokerEpoch> = (0..3).map(|broker| group.join(leader, broker)).collect();
    let wish = crate::metadata::controller::NewTopic {
        name: "t".into(),
        partitions: 6,
        replication_factor: 3,
        ..Default::default()
    };
    group.submit(leader, Request::CreateTopics { topics: vec![wish], validate_only: false }).unwrap();
    let beat = |group: &Group, member: usize, broker: i32| {
        let _ = group.submit(member, heartbeat(broker, epochs[broker as usize]));
    };
    let pause = |group: &Group| {
        let until_ns = group.runtime.now_ns() + SECOND_NS / 4;
        group.run_until(|group| group.runtime.now_ns() >= until_ns);
    };
    let silent_since_ns = group.runtime.now_ns();
    while group.image(leader).lives(BrokerId(2)) {
        [0, 1].into_iter().for_each(|broker| beat(&group, leader, broker));
        pause(&group);
    }
    let took = Duration::from_nanos(group.runtime.now_ns() - silent_since_ns);
    assert!(took >= session && took < session + Duration::from_millis(600), "{took:?}");
    let image = group.image(leader);
    assert!(image.lives(BrokerId(0)) && image.lives(BrokerId(1)));
    assert_eq!(image.leader_counts().get(&BrokerId(2)), None);
    assert_eq!(image.leader_counts().values().sum::<usize>(), 6);
    // A new controller has heard nobody: it listens first.
    group.kill(leader);
    let next = group.elect();
    let elected_ns = group.runtime.now_ns();
    group.run_until(|group| group.image(next).live_brokers().count() == 0);
    let took = Duration::from_nanos(group.runtime.now_ns() - elected_ns);
    assert!(took >= session - Duration::from_millis(100), "{took:?}");
    assert_eq!(group.image(next).leader_counts().values().sum::<usize>(), 0);
    beat(&group, next, 1);
    assert_eq!(group.image(next).leader_counts().get(&BrokerId(1)), Some(&6), "the in-sync ones stayed on record");
}

#[test]
fn the_group_is_described_as_its_leader_sees_it() {
    let mut group = Group::new(71, 1_000);
    let leader = group.elect();
    group.join(leader, 0);
    let dead = (leader + 1) % 3;
    group.kill(dead);
    let until_ns = group.runtime.now_ns() + SECOND_NS;
    group.run_until(|group| group.runtime.now_ns() > until_ns);
    group.submit(leader, create(["t".to_owned()])).unwrap();
    group.run_until(|group| group.image((leader + 2) % 3).topic_count() == 1);
    let Reply::DescribeQuorum(quorum) = group.submit(leader, Request::DescribeQuorum).unwrap() else { panic!() };
    assert_eq!(quorum.leader, BrokerId(leader as i32));
    assert_eq!(quorum.voters.len(), 3);
    for (member, voter) in quorum.voters.iter().enumerate() {
        assert_eq!(voter.node, BrokerId(member as i32));
        assert_eq!(voter.durable_index == quorum.committed_index, member != dead, "{quorum:?}");
        let is_heard = voter.heard_ms_ago.is_some_and(|ms| ms < 200);
        assert_eq!(is_heard, member != dead, "{quorum:?}");
    }
}
