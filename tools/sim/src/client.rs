//! A client: what it is to do, what it tells the checkers, and its way to whoever leads a partition.
//!
//! *Not here*: what producers and consumers do with it (`produce`, `consume`).

mod leaders;

use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};
use chronik::rt::Rt;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{CreateTopicsRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use net::stream::Net;

use crate::check::History;
use crate::produce::{Sizes, random_ms};
use crate::trace::Trace;
use crate::wire::Wire;
use crate::world::{Boot, Process};
use crate::{consume, produce};

pub use leaders::Leaders;

/// The topic of all clients.
pub const TOPIC: &str = "records";
const CREATE_TOPICS_VERSION: i16 = 4;
const METADATA_VERSION: i16 = 8;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const TOPIC_ALREADY_EXISTS: i16 = 36;

/// What all clients of a run have in common.
#[derive(Clone, Copy, Debug)]
pub struct Crew {
    /// Of them the last is not idempotent.
    pub producers: usize,
    /// All of them read everything.
    pub consumers: usize,
    /// Of the topic.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication_factor: i16,
    /// How many of them must be in sync for acks=-1.
    pub min_insync_replicas: usize,
    /// How long a producer waits between its rounds at most, in ms.
    pub pause_ms_max: u64,
    /// Are promises to the producer that is not idempotent (it asks for acks=1) to be kept? One broker keeps them.
    pub keeps_acks_of_one: bool,
    /// How many batches a producer makes.
    pub batches: Batches,
}

impl Crew {
    /// How many clients they are.
    pub fn count(&self) -> usize {
        self.producers + self.consumers
    }
}

/// How many batches a producer makes.
#[derive(Clone, Copy, Debug)]
pub enum Batches {
    /// So many.
    Exactly(u64),
    /// Until nothing breaks any more, and then so many.
    UntilCalmAnd(u64),
}

/// How a client finds the leader of a partition.
pub enum Route {
    /// There is one broker.
    Only(SocketAddr),
    /// It asks.
    Leaders(RefCell<Leaders>),
}

/// What a client has.
pub struct Client {
    /// Its executor.
    pub rt: Rt,
    /// Which one it is.
    pub number: usize,
    /// What it tells the checkers.
    pub history: History,
    /// How large its batches are.
    pub sizes: Sizes,
    /// What it has in common with the others.
    pub crew: Crew,
    /// The network.
    pub net: Net,
    /// The way to leaders.
    pub route: Route,
    /// What happened.
    pub trace: Trace,
}

/// The clients' process: each executor a client, the producers first.
pub fn boot(crew: Crew, history: History, sizes: Sizes, trace: Trace, route: impl Fn() -> Route + 'static) -> Boot {
    Rc::new(move |process: Process| {
        for (number, rt) in process.executors.into_iter().enumerate() {
            let (net, history, trace) = (process.net.clone(), history.clone(), trace.clone());
            let client = Client { rt: rt.clone(), number, history, sizes, crew, net, route: route(), trace };
            if number < crew.producers {
                rt.spawn(produce::run(client, number + 1 < crew.producers));
            } else {
                rt.spawn(consume::run(client));
            }
        }
    })
}

impl Client {
    /// Connects to the leader of a partition, whose topic is there then.
    pub async fn connect(&self, partition: i32) -> Result<Wire> {
        let address = match &self.route {
            Route::Only(address) => *address,
            Route::Leaders(leaders) => self.find_leader(leaders, partition).await?,
        };
        Wire::connect(&self.rt, &self.net, address).await
    }

    /// Whoever leads the partition did not do as asked: it is to be asked for anew.
    pub fn on_lost(&self, partition: i32) {
        if let Route::Leaders(leaders) = &self.route {
            leaders.borrow_mut().on_lost(partition);
        }
    }

    /// The newest leader epoch known here; -1 if there is none.
    pub fn leader_epoch(&self, partition: i32) -> i32 {
        match &self.route {
            Route::Only(_) => -1,
            Route::Leaders(leaders) => leaders.borrow().leader_epoch(partition).unwrap_or(-1),
        }
    }

    async fn find_leader(&self, leaders: &RefCell<Leaders>, partition: i32) -> Result<SocketAddr> {
        if let Some(address) = leaders.borrow().address(partition) {
            return Ok(address);
        }
        let bootstrap = leaders.borrow().bootstrap(self.rt.random_u64());
        let mut wire = Wire::connect(&self.rt, &self.net, bootstrap).await?;
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name()));
        let request = MetadataRequest::default().with_topics(Some(vec![topic])).with_allow_auto_topic_creation(false);
        let answer = wire.ask(&request, METADATA_VERSION).await?;
        match answer.topics.first().map_or(-1, |topic| topic.error_code) {
            0 => leaders.borrow_mut().on_metadata(&answer),
            UNKNOWN_TOPIC_OR_PARTITION => {
                self.create_topic(&mut wire).await?;
                bail!("{TOPIC} is created")
            }
            code => bail!("Metadata: error {code}"),
        }
        let address = leaders.borrow().address(partition);
        address.with_context(|| format!("{partition} has no leader"))
    }

    /// Creates the topic, if it is not there.
    pub async fn create_topic(&self, wire: &mut Wire) -> Result<()> {
        let Crew { partitions, replication_factor, min_insync_replicas, .. } = self.crew;
        let mut topic = CreatableTopic::default()
            .with_name(topic_name())
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor);
        if replication_factor > 1 {
            let config = CreatableTopicConfig::default()
                .with_name(StrBytes::from_static_str("min.insync.replicas"))
                .with_value(Some(min_insync_replicas.to_string().into()));
            topic = topic.with_configs(vec![config]);
        }
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(2_000);
        let answer = wire.ask(&request, CREATE_TOPICS_VERSION).await?;
        let code = answer.topics.first().map_or(-1, |topic| topic.error_code);
        ensure!([0, TOPIC_ALREADY_EXISTS].contains(&code), "CreateTopics: error {code}");
        Ok(())
    }

    /// Is there one broker only, so that whoever connects to it has to see to the topic?
    pub fn is_alone_with_a_broker(&self) -> bool {
        matches!(self.route, Route::Only(_))
    }

    /// Adds a line to the trace.
    pub fn log(&self, what: fmt::Arguments<'_>) {
        self.trace.log(self.rt.now().0, &self.name(), what);
    }

    /// Its name.
    pub fn name(&self) -> String {
        format!("client {}", self.number)
    }

    /// Waits less than `ms_max`.
    pub async fn pause(&self, ms_max: u64) {
        self.rt.sleep(random_ms(self.rt.random_u64(), ms_max)).await;
    }
}

/// The topic's name on the wire.
pub fn topic_name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}
