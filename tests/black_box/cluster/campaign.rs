//! Faults of whole brokers under load, one after the other: nothing acknowledged is lost, nothing comes twice, nothing changes places,
//! and no replica differs from another in a byte.
//!
//! Each fault of the gate comes once. `CHRONIK_CAMPAIGN_HANDS` (`cargo xtask campaign --hands 10`) makes it longer: a hand has fourteen
//! faults, of which a leader or any broker dies five times each. `CHRONIK_CAMPAIGN_SEED` repeats the order, the victims and the pauses.

use std::time::{Duration, Instant};

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, rngs::SmallRng};

use crate::support::broker::Options;
use crate::support::cluster::Cluster;
use crate::support::load::create_topic;
use crate::support::pump::Pump;
use crate::support::reader::Reader;
use crate::support::{eventually, number_from_environment, random_from_environment, replicas, shared};

const NODES: [i32; 3] = [1, 2, 3];
/// Each has a producer and a consumer of its own. One goes on with a single replica in sync, the others want two.
const TOPICS: [(&str, &[(&str, &str)]); 3] = [
    ("two", &[("segment.bytes", "1048576")]),
    ("one", &[("segment.bytes", "1048576"), ("min.insync.replicas", "1")]),
    ("long", &[]),
];
const PARTITIONS: usize = 4;
const STOP: Duration = Duration::from_secs(20);

/// What happens to brokers.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// SIGKILL to one that leads, once others could follow it.
    LeaderDies,
    /// SIGKILL to anyone at any time.
    OneDies,
    /// SIGKILL to all at once.
    AllDie,
    /// SIGSTOP to one that leads: when it goes on, it believes for a moment that it still does.
    Freeze,
    /// SIGTERM to one after the other.
    Roll,
}

/// How often each comes in a hand of the long form.
const HAND: [(Fault, usize); 5] =
    [(Fault::LeaderDies, 5), (Fault::OneDies, 5), (Fault::AllDie, 1), (Fault::Freeze, 2), (Fault::Roll, 1)];

#[test]
fn whatever_happens_to_brokers_acknowledged_records_stay_where_they_are_on_every_replica() {
    if !shared::is_ours() {
        return;
    }
    let hands = number_from_environment("CHRONIK_CAMPAIGN_HANDS");
    let mut random = random_from_environment("CHRONIK_CAMPAIGN_SEED");
    let mut campaign = Campaign::start(&mut random);
    for fault in deal(hands, &mut random) {
        campaign.pumps.iter().for_each(|pump| pump.advance(200));
        std::thread::sleep(Duration::from_millis(random.random_range(0..700)));
        let started = Instant::now();
        let what = campaign.suffer(fault, hands.is_some(), &mut random);
        campaign.pumps.iter().for_each(|pump| pump.advance_each(1));
        let acknowledged: i64 = campaign.pumps.iter().map(Pump::acknowledged).sum();
        println!("{what}; all goes on after {:.1?}, {acknowledged} acknowledged", started.elapsed());
    }
    campaign.finish();
}

/// All faults, in random order.
fn deal(hands: Option<u32>, random: &mut SmallRng) -> Vec<Fault> {
    let mut faults = Vec::new();
    for _ in 0..hands.unwrap_or(1) {
        let each = HAND.iter().map(|(fault, count)| vec![*fault; if hands.is_some() { *count } else { 1 }]);
        let mut hand: Vec<Fault> = each.flatten().collect();
        hand.shuffle(random);
        faults.extend(hand);
    }
    faults
}

struct Campaign {
    cluster: Cluster,
    pumps: Vec<Pump>,
    readers: Vec<Reader>,
}

impl Campaign {
    fn start(random: &mut SmallRng) -> Self {
        // Brokers may differ in their number of shards.
        let mut cluster = Cluster::of_shards(&[1, 2, 1], &Options::default());
        cluster.launch(&NODES);
        cluster.await_ready(&NODES);
        let bootstrap = cluster.bootstrap();
        // A zombie's requests are repeated elsewhere before it wakes.
        let settings = [("request.timeout.ms", "3000")];
        let mut pumps = Vec::new();
        let mut readers = Vec::new();
        for (topic, configs) in TOPICS {
            create_topic(&bootstrap, topic, i32::try_from(PARTITIONS).expect("few"), configs);
            pumps.push(Pump::start_with(&bootstrap, topic, &[0; PARTITIONS], random.random(), &settings));
            readers.push(Reader::start(&bootstrap, topic, PARTITIONS));
        }
        Self { cluster, pumps, readers }
    }

    /// Lets it happen, and brings everybody back; says what it was.
    fn suffer(&mut self, fault: Fault, is_long: bool, random: &mut SmallRng) -> String {
        match fault {
            Fault::LeaderDies => {
                self.cluster.await_in_sync(&NODES);
                let victim = self.any_leader(random);
                self.cluster.kill(&[victim]);
                let killed = Instant::now();
                self.pumps.iter().for_each(|pump| pump.advance_each(1));
                let without = killed.elapsed();
                self.come_back(&[victim]);
                format!("{victim}, who led, died; the others took over within {without:.1?}")
            }
            Fault::OneDies => {
                let victim = *NODES.choose(random).expect("three");
                self.cluster.kill(&[victim]);
                std::thread::sleep(Duration::from_millis(random.random_range(0..3000)));
                self.come_back(&[victim]);
                format!("{victim} died")
            }
            Fault::AllDie => {
                NODES.iter().for_each(|node| self.cluster[*node].signal(libc::SIGKILL));
                let mut order = NODES;
                order.shuffle(random);
                self.cluster.kill(&NODES);
                self.come_back(&order);
                format!("all died and came back as {order:?}")
            }
            Fault::Freeze => {
                let victim = self.any_leader(random);
                let time = Duration::from_millis(random.random_range(1000..if is_long { 15_000 } else { 4000 }));
                self.cluster[victim].signal(libc::SIGSTOP);
                std::thread::sleep(time);
                self.cluster[victim].signal(libc::SIGCONT);
                format!("{victim}, who led, stood still for {time:.1?}")
            }
            Fault::Roll => {
                let mut order = NODES;
                order.shuffle(random);
                for node in order {
                    let status = self.cluster[node].stop(STOP);
                    assert_eq!(status.code(), Some(0), "broker {node} ended with {status}");
                    self.come_back(&[node]);
                }
                format!("{order:?} were restarted")
            }
        }
    }

    fn come_back(&mut self, nodes: &[i32]) {
        self.cluster.launch(nodes);
        self.cluster.await_ready(nodes);
    }

    fn any_leader(&self, random: &mut SmallRng) -> i32 {
        let (topic, _) = TOPICS.choose(random).expect("three");
        let partition = random.random_range(0..PARTITIONS as i32);
        eventually(STOP, "somebody leads", || self.cluster.leader(1, topic, partition))
    }

    /// Reads everything from those who lead at the end, and compares what all have on their disks.
    fn finish(mut self) {
        let mut ends = Vec::new();
        for ((topic, _), (pump, reader)) in TOPICS.iter().zip(self.pumps.into_iter().zip(self.readers)) {
            let each = pump.finish();
            reader.await_all(&each);
            ends.extend((0..).zip(each).map(|(partition, end)| (*topic, partition, end)));
        }
        self.cluster.await_in_sync(&NODES);
        self.cluster.kill(&NODES);
        for (topic, partition, end) in &ends {
            replicas::assert_same(&NODES.map(|node| self.cluster[node].partition_dir(topic, *partition)), *end);
        }
        println!("{} records, the same on all replicas", ends.iter().map(|(_, _, end)| end).sum::<i64>());
    }
}
