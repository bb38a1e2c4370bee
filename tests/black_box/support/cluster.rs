//! A cluster: brokers as processes on this machine, each the others' peer.
//!
//! Invariants: brokers are called by their node ids, from 1; every wait is for a condition, and bounded.
//! Not here: what a test asks of it beyond topics and who leads.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};
use std::time::Duration;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::broker::{Broker, Options, free_port};
use super::eventually;
use super::network::Network;
use super::wire::Wire;

/// How long a cluster may take to get somewhere.
pub const LIMIT: Duration = Duration::from_secs(30);

/// See the module.
pub struct Cluster {
    brokers: BTreeMap<i32, Broker>,
    raft_ports: BTreeMap<i32, u16>,
}

impl Cluster {
    /// Three brokers, founded and ready.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Three brokers with these settings, founded and ready.
    pub fn with(settings: &[&str]) -> Self {
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut cluster = Self::new(3, &Options { settings, ..Options::default() });
        cluster.launch(&[1, 2, 3]);
        cluster.await_ready(&[1, 2, 3]);
        cluster
    }

    /// Brokers 1 to `count`, none of which runs yet; each is told to found the cluster with the others.
    pub fn new(count: usize, options: &Options) -> Self {
        Self::of_shards(&vec![1; count], options)
    }

    /// As [`Self::new`], a broker for each of these numbers of shards.
    pub fn of_shards(shards: &[u32], options: &Options) -> Self {
        Self::build(shards, |_| options.clone())
    }

    /// Three brokers, each on a machine of its own.
    pub fn on(network: &Network, options: &Options) -> Self {
        Self::build(&[1; 3], |node| Options { machine: Some(network.machine(node).clone()), ..options.clone() })
    }

    fn build(shards: &[u32], options: impl Fn(i32) -> Options) -> Self {
        let ports: BTreeMap<i32, u16> = (1..).zip(shards).map(|(node, _)| (node, free_port())).collect();
        let broker = |(node, shards): (i32, &u32)| {
            let others = ports.iter().filter(|(other, _)| **other != node);
            let host =
                |node, beside: &str| options(node).machine.map_or(beside.to_owned(), |it| it.address.to_string());
            let peer = |(other, port): (&i32, &u16)| format!("{other}@{}:{port}", host(*other, "localhost"));
            let peers: Vec<String> = others.map(peer).collect();
            let raft_addr = format!("{}:{}", host(node, "127.0.0.1"), ports[&node]);
            let command = ["--node-id", &node.to_string(), "raft-cluster", "--raft-addr", &raft_addr]
                .into_iter()
                .chain(["--peers", &peers.join(","), "--bootstrap", "--shards", &shards.to_string()])
                .map(str::to_owned)
                .collect();
            (node, Broker::new(Options { command, ..options(node) }))
        };
        Self { brokers: (1..).zip(shards).map(broker).collect(), raft_ports: ports }
    }

    /// All brokers' `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self.brokers.values().map(Broker::bootstrap).collect();
        addresses.join(",")
    }

    /// The port where a broker listens to the others.
    pub fn raft_port(&self, node: i32) -> u16 {
        self.raft_ports[&node]
    }

    /// Starts these processes, in this order, and waits for nothing.
    pub fn launch(&mut self, nodes: &[i32]) {
        nodes.iter().for_each(|node| self[*node].launch_only());
    }

    /// Waits until these brokers are ready.
    pub fn await_ready(&mut self, nodes: &[i32]) {
        nodes.iter().for_each(|node| self[*node].await_ready());
    }

    /// Kills these processes.
    pub fn kill(&mut self, nodes: &[i32]) {
        nodes.iter().for_each(|node| self[*node].kill());
    }

    /// Brokers that run, by node id.
    pub fn running(&mut self) -> Vec<i32> {
        self.brokers.iter_mut().filter_map(|(node, broker)| broker.is_running().then_some(*node)).collect()
    }

    /// The cluster as one broker knows it.
    pub fn metadata(&self, node: i32) -> MetadataResponse {
        let request = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false);
        Wire::connect(&self[node].bootstrap()).ask(&request, 12)
    }

    /// The names of all topics that one broker knows, in order.
    pub fn topics(&self, node: i32) -> Vec<String> {
        let named = self.metadata(node).topics.into_iter().filter_map(|topic| topic.name);
        let mut names: Vec<String> = named.map(|name| name.to_string()).collect();
        names.sort();
        names
    }

    /// Waits until these brokers all know the same of `topics` topics, each partition of which is led, and in sync on all replicas.
    pub fn await_alike(&self, nodes: &[i32], topics: usize) -> Vec<MetadataResponseTopic> {
        eventually(LIMIT, "all know the same", || {
            let mut known = nodes.iter().map(|node| self.metadata(*node).topics);
            let first = known.next().expect("some brokers");
            let is_whole = |topic: &MetadataResponseTopic| {
                let of_all = |partition: &MetadataResponsePartition| {
                    partition.leader_id.0 >= 0 && partition.isr_nodes.len() == partition.replica_nodes.len()
                };
                topic.partitions.iter().all(of_all)
            };
            let is_good = first.len() == topics && first.iter().all(is_whole) && known.all(|other| other == first);
            is_good.then_some(first)
        })
    }

    /// Waits until all of these brokers name the same running one as controller.
    pub fn controller(&mut self, nodes: &[i32]) -> i32 {
        let running = self.running();
        eventually(LIMIT, "all know the same controller", || {
            let mut named: Vec<i32> = nodes.iter().map(|node| self.metadata(*node).controller_id.0).collect();
            named.dedup();
            named.first().copied().filter(|node| named.len() == 1 && running.contains(node))
        })
    }

    /// Who leads a partition, as one broker knows it.
    pub fn leader(&self, node: i32, topic: &str, partition: i32) -> Option<i32> {
        let metadata = self.metadata(node);
        let is_it = |name: &Option<TopicName>| name.as_ref().is_some_and(|name| name.as_str() == topic);
        let found = metadata.topics.iter().find(|found| is_it(&found.name))?;
        let found = found.partitions.iter().find(|found| found.partition_index == partition)?;
        (found.leader_id.0 >= 0).then_some(found.leader_id.0)
    }

    /// Waits until all of these brokers know every replica of every partition to be in sync.
    pub fn await_in_sync(&self, nodes: &[i32]) {
        for node in nodes {
            eventually(LIMIT, "all replicas are in sync", || {
                let topics = self.metadata(*node).topics;
                let mut partitions = topics.iter().flat_map(|topic| &topic.partitions);
                partitions.all(|found| found.isr_nodes.len() == found.replica_nodes.len()).then_some(())
            });
        }
    }

    /// Creates a topic of three partitions through one broker, with its default number of replicas; gives the error code.
    pub fn create_topic(&self, node: i32, name: &str) -> i16 {
        self.create_topic_of(node, name, -1)
    }

    /// As [`Self::create_topic`], with so many replicas.
    pub fn create_topic_of(&self, node: i32, name: &str, replicas: i16) -> i16 {
        self.create_topic_with(node, name, 3, replicas)
    }

    /// As [`Self::create_topic_of`], with so many partitions.
    pub fn create_topic_with(&self, node: i32, name: &str, partitions: i32, replicas: i16) -> i16 {
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(name.to_owned())))
            .with_num_partitions(partitions)
            .with_replication_factor(replicas);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        Wire::connect(&self[node].bootstrap()).ask(&request, 7).topics[0].error_code
    }
}

impl Index<i32> for Cluster {
    type Output = Broker;

    fn index(&self, node: i32) -> &Broker {
        &self.brokers[&node]
    }
}

impl IndexMut<i32> for Cluster {
    fn index_mut(&mut self, node: i32) -> &mut Broker {
        self.brokers.get_mut(&node).expect("a broker of this cluster")
    }
}
