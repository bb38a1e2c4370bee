//! kill -9 under load, again and again: nothing acknowledged is lost, nothing comes twice, nothing changes places.
//!
//! `CHRONIK_CRASH_ROUNDS` says how often (`cargo xtask crash --rounds 100`), `CHRONIK_CRASH_SEED` repeats a run's load and its pauses.

use std::time::Duration;

use rand::Rng;

use crate::support::broker::Broker;
use crate::support::load::create_topic;
use crate::support::pump::Pump;
use crate::support::{number_from_environment, random_from_environment, shared};

const PARTITIONS: usize = 4;
const GATE_ROUNDS: u32 = 5;

#[test]
fn an_idempotent_producer_finds_its_records_once_and_in_order_after_every_kill() {
    if !shared::is_ours() {
        return;
    }
    let rounds = number_from_environment("CHRONIK_CRASH_ROUNDS").unwrap_or(GATE_ROUNDS);
    let mut random = random_from_environment("CHRONIK_CRASH_SEED");
    let mut broker = Broker::start();
    // The smallest segments that Kafka allows: a kill often finds a roll under way.
    create_topic(
        &broker.bootstrap(),
        "crash",
        i32::try_from(PARTITIONS).expect("few"),
        &[("segment.bytes", "1048576")],
    );
    let mut pump = Pump::start(&broker.bootstrap(), "crash", PARTITIONS, random.random());
    for round in 1..=rounds {
        pump.advance(500);
        std::thread::sleep(Duration::from_millis(random.random_range(0..700)));
        broker.kill();
        broker.launch();
        pump.advance(1);
        pump.audit();
        println!("round {round}: {} acknowledged and found", pump.acknowledged());
    }
    println!("{} records, read once more from the first", pump.finish().iter().sum::<i64>());
}
