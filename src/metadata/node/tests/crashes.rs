//! Ends at any moment: what was answered is there afterwards.

use std::cell::RefCell;
use std::rc::Rc;

use storage::disk::{SimDisk, SimDiskOptions};

use super::world::{World, create, created, heartbeat, options, registration};
use crate::metadata::node::NodeOptions;
use crate::metadata::request::{Reply, Request};
use crate::model::BrokerId;

/// What clients were told.
#[derive(Default)]
struct Told {
    topics: Vec<String>,
    producer_ids: Vec<i64>,
}

/// Several clients create topics and take producer ids, through `lives` ends of the process or the machine. Gives what was
/// told and is not so.
fn run(seed: u64, lives: u64, disk: SimDisk) -> Vec<String> {
    let mut world = World { disk, ..World::new(seed) };
    let told = Rc::new(RefCell::new(Told::default()));
    let mut broken = Vec::new();
    for life in 0..=lives {
        let options = NodeOptions { snapshot_entries: 5 + seed % 20, snapshot_bytes: 30_000, ..options() };
        let node = match world.try_open(options) {
            Ok(node) => node,
            Err(error) => {
                broken.push(error.to_string());
                break;
            }
        };
        let starting = node.clone();
        assert!(world.run(async move { starting.caught_up().await }));
        let image = node.image();
        broken.extend(told.borrow().topics.iter().filter(|name| image.topic_by_name(name).is_none()).cloned());
        if life == lives || !broken.is_empty() {
            break;
        }
        for client in 0..4 {
            let (node, told) = (node.clone(), told.clone());
            world.rt.spawn(async move {
                let Ok(Reply::RegisterBroker(Ok(epoch))) = node.submit(registration(client)).await else { return };
                let Ok(Reply::Heartbeat(Ok(_))) = node.submit(heartbeat(client, epoch)).await else { return };
                for n in 0.. {
                    let name = format!("t-{seed}-{life}-{client}-{n}");
                    match node.submit(create([name.clone()])).await {
                        Ok(reply) => assert_eq!(created(&reply), Ok(())),
                        Err(_) => return,
                    }
                    told.borrow_mut().topics.push(name);
                    let request = Request::AllocateProducerIds { broker: BrokerId(client), epoch };
                    if let Ok(Reply::AllocateProducerIds(Ok(block))) = node.submit(request).await {
                        told.borrow_mut().producer_ids.push(block.first.0);
                    }
                }
            });
        }
        let dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(7 * life as u32 + 5);
        for _ in 0..dice % 150 {
            world.step();
        }
        drop(node);
        world.end(!dice.is_multiple_of(3), dice);
    }
    let mut ids = told.borrow().producer_ids.clone();
    ids.sort_unstable();
    broken.extend(ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("producer id {}", pair[0])));
    broken
}

/// Lessons 43 and 70.
#[test]
fn nothing_that_was_answered_is_lost_and_no_producer_id_comes_twice() {
    for seed in 0..150 {
        let disk = SimDisk::new(seed, SimDiskOptions::default());
        assert_eq!(run(seed, 4, disk), Vec::<String>::new(), "seed {seed}");
    }
}

/// The test above can fail.
#[test]
fn a_disk_that_skips_flushes_is_found_out() {
    let found = (0..60).any(|seed| {
        let options = SimDiskOptions { bug_skip_flush: true, ..SimDiskOptions::default() };
        // It shows as a loss, or as state that is refused.
        !run(seed, 4, SimDisk::new(seed, options)).is_empty()
    });
    assert!(found);
}
