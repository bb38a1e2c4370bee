//! Networks that are cut, in one direction or both, and healed: a leader that nobody hears any more keeps what it took to itself.
//!
//! The gate has a leader that is alone, and two more cuts; `CHRONIK_CAMPAIGN_HANDS` (`cargo xtask campaign`) has all of them, so often.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::records::Compression;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

use crate::support::broker::Options;
use crate::support::cluster::{Cluster, LIMIT};
use crate::support::load::create_topic;
use crate::support::network::Network;
use crate::support::pump::Pump;
use crate::support::reader::Reader;
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, produce_request};
use crate::support::{eventually, number_from_environment, random_from_environment, replicas, shared};

const NODES: [i32; 3] = [1, 2, 3];
const TOPIC: &str = "t";
const PARTITIONS: usize = 4;

/// Who does not reach whom, seen from a leader of one partition and its two followers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The leader and both others, each way. It takes records meanwhile that nobody else will ever have.
    LeaderFromAll,
    LeaderFromOne,
    LeaderIsNotHeard,
    LeaderHearsNobody,
    FollowerFromAll,
    FollowerIsNotHeardByLeader,
}

const OTHERS: [Cut; 5] = [
    Cut::LeaderFromOne,
    Cut::LeaderIsNotHeard,
    Cut::LeaderHearsNobody,
    Cut::FollowerFromAll,
    Cut::FollowerIsNotHeardByLeader,
];

#[test]
fn a_cut_network_loses_nothing_acknowledged_and_shows_nothing_that_is_not() {
    if !shared::is_ours() {
        return;
    }
    let Some(network) = Network::new(3) else { return };
    let mut random = random_from_environment("CHRONIK_CAMPAIGN_SEED");
    let mut cluster = Cluster::on(
        &network,
        &Options { settings: vec!["replica.lag.time.max.ms=2000".to_owned()], ..Options::default() },
    );
    cluster.launch(&NODES);
    cluster.await_ready(&NODES);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, TOPIC, i32::try_from(PARTITIONS).expect("few"), &[]);
    // A leader that is alone refuses for want of replicas, which no client takes for a reason to look for another one by itself.
    let settings = [("request.timeout.ms", "3000"), ("topic.metadata.refresh.interval.ms", "1000")];
    let pump = Pump::start_with(&bootstrap, TOPIC, &[0; PARTITIONS], random.random(), &settings);
    let reader = Reader::start(&bootstrap, TOPIC, PARTITIONS);
    for cut in deal(&mut random) {
        pump.advance_each(50);
        cluster.await_in_sync(&NODES);
        let partition = random.random_range(0..PARTITIONS as i32);
        let leader = eventually(LIMIT, "somebody leads", || cluster.leader(1, TOPIC, partition));
        let mut followers = NODES.to_vec();
        followers.retain(|node| *node != leader);
        followers.shuffle(&mut random);
        let started = Instant::now();
        make(&network, cut, leader, &followers);
        if cut == Cut::LeaderFromAll {
            write_to_nobody(&cluster, leader, partition);
        }
        pump.advance_each(1);
        let without = started.elapsed();
        std::thread::sleep(Duration::from_millis(random.random_range(0..2000)));
        network.heal();
        pump.advance_each(1);
        println!("{cut:?}, of {leader} and {followers:?}: others took over within {without:.1?}");
    }
    let ends = pump.finish();
    reader.await_all(&ends);
    cluster.await_in_sync(&NODES);
    cluster.kill(&NODES);
    for (partition, end) in (0..).zip(&ends) {
        replicas::assert_same(&NODES.map(|node| cluster[node].partition_dir(TOPIC, partition)), *end);
    }
    println!("{} records, the same on all replicas", ends.iter().sum::<i64>());
}

fn deal(random: &mut SmallRng) -> Vec<Cut> {
    let mut others = OTHERS.to_vec();
    others.shuffle(random);
    match number_from_environment("CHRONIK_CAMPAIGN_HANDS") {
        None => [&[Cut::LeaderFromAll], &others[..2]].concat(),
        Some(hands) => [&[Cut::LeaderFromAll], &others[..]].concat().repeat(hands as usize),
    }
}

fn make(network: &Network, cut: Cut, leader: i32, followers: &[i32]) {
    let (one, other) = (followers[0], followers[1]);
    let cuts: &[(i32, i32)] = match cut {
        Cut::LeaderFromAll => &[(leader, one), (leader, other), (one, leader), (other, leader)],
        Cut::LeaderFromOne => &[(leader, one), (one, leader)],
        Cut::LeaderIsNotHeard => &[(leader, one), (leader, other)],
        Cut::LeaderHearsNobody => &[(one, leader), (other, leader)],
        Cut::FollowerFromAll => &[(one, leader), (leader, one), (one, other), (other, one)],
        Cut::FollowerIsNotHeardByLeader => &[(one, leader)],
    };
    cuts.iter().for_each(|(from, to)| network.cut(*from, *to));
}

/// Records for acks=1 that a leader takes while nobody hears it. No consumer may ever see them, and they go when it hears of the next.
fn write_to_nobody(cluster: &Cluster, leader: i32, partition: i32) {
    let request = produce_request(TOPIC, partition, 1, batch(&[&[0xff; 100][..]; 20], Compression::None));
    let mut wire = Wire::connect(&cluster[leader].bootstrap());
    for _ in 0..10 {
        let response = wire.ask::<ProduceRequest>(&request, PRODUCE_VERSION);
        assert_eq!(response.responses[0].partition_responses[0].error_code, 0, "it believes that it leads");
    }
}
