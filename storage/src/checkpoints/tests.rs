//! Checkpoints on the simulated disk, and their bytes.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::disk::{Fault, FaultOn, SimDisk, SimDiskOptions, sim_block_on};
use crate::ids::TopicId;
use std::task::{Context, Waker};
use uuid::Uuid;

const DIR: &str = "/data";

fn new_disk(seed: u64) -> (SimDisk, Disk) {
    let sim = SimDisk::new(seed, SimDiskOptions::default());
    (sim.clone(), Disk::Sim(sim))
}

fn id(partition: i32) -> PartitionId {
    PartitionId { topic_id: TopicId(Uuid::from_u128(0xAB)), partition }
}

fn at(recovery_point: i64) -> Checkpoint {
    Checkpoint { recovery_point, high_watermark: recovery_point + 1, log_start_offset: 2 }
}

async fn loaded(disk: &Disk) -> Loaded {
    load(disk, Path::new(DIR)).await.unwrap()
}

async fn create(disk: &Disk, generation: u64, number: u32) -> Checkpoints {
    load(disk, Path::new(DIR)).await.unwrap();
    let checkpoints = Checkpoints::new(disk, Path::new(DIR), generation, number, BTreeMap::new());
    checkpoints.save().await.unwrap();
    checkpoints
}

#[test]
fn the_bytes_of_a_file_are_these() {
    let checkpoints = BTreeMap::from([(id(3), at(0x0102))]);
    let bytes = file::encode(&checkpoints);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = "434852434b50543100000001000000000000000000000000000000ab00000003\
                  000000000000010200000000000001030000000000000002b1b62389";
    assert_eq!(hex, golden);
    assert_eq!(file::decode(&bytes).unwrap(), Vec::from_iter(checkpoints));
}

#[test]
fn no_damaged_file_is_read() {
    let good = file::encode(&BTreeMap::from([(id(3), at(5)), (id(4), at(6))]));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(file::decode(&bad).is_err(), "bit {bit}");
    }
    assert!((0..good.len()).all(|length| file::decode(&good[..length]).is_err()));
    let mut with_crc = b"CHRCKPT1\xff\xff\xff\xff".to_vec();
    with_crc.extend(crc32c::crc32c(&with_crc).to_be_bytes());
    assert!(file::decode(&with_crc).is_err(), "a count beyond the bytes takes no memory");
}

#[test]
fn what_was_saved_survives_and_a_crash_within_a_save_keeps_the_old() {
    for seed in 0..60 {
        let (sim, disk) = new_disk(seed);
        let checkpoints = sim_block_on(&sim, async {
            let checkpoints = create(&disk, 1, 0).await;
            checkpoints.set(id(0), at(10));
            checkpoints.save().await.unwrap();
            checkpoints
        });
        checkpoints.set(id(0), at(20));
        let mut save = Box::pin(checkpoints.save());
        for _ in 0..seed % 8 {
            assert!(save.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            sim.next_due().into_iter().for_each(|due_ns| sim.run_due(due_ns));
        }
        drop(save);
        sim.crash(seed);
        let found = sim_block_on(&sim, loaded(&disk));
        assert_eq!((found.generation, found.damage.len()), (2, 0));
        assert!([at(10), at(20)].contains(&found.checkpoints[&id(0)]), "seed {seed}");
    }
}

#[test]
fn a_newer_start_wins_whole_even_with_a_lower_recovery_point() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        for shard in 0..2 {
            let checkpoints = create(&disk, 1, shard).await;
            checkpoints.set(id(shard as i32), at(100));
            checkpoints.save().await.unwrap();
        }
        let first = loaded(&disk).await;
        assert_eq!((first.checkpoints.len(), first.generation), (2, 2));
        // One shard now, with both partitions; it dies before the older files are removed.
        let checkpoints = Checkpoints::new(&disk, Path::new(DIR), 2, 0, first.checkpoints);
        checkpoints.set(id(1), at(50));
        checkpoints.save().await.unwrap();
        let second = loaded(&disk).await;
        assert_eq!((second.checkpoints[&id(0)], second.checkpoints[&id(1)]), (at(100), at(50)));
        remove_loaded(&disk, Path::new(DIR), 2).await.unwrap();
    });
    sim.crash(1);
    let third = sim_block_on(&sim, loaded(&disk));
    assert_eq!((third.checkpoints[&id(0)], third.checkpoints[&id(1)], third.generation), (at(100), at(50), 3));
}

#[test]
fn a_save_goes_on_while_the_files_of_earlier_starts_are_removed() {
    for seed in 0..30 {
        let (sim, disk) = new_disk(seed);
        sim_block_on(&sim, async {
            create(&disk, 1, 0).await;
            let checkpoints = create(&disk, 2, 0).await;
            checkpoints.set(id(0), at(7));
            let removing = remove_loaded(&disk, Path::new(DIR), 2);
            let (saved, removed) = futures_util::future::join(checkpoints.save(), removing).await;
            saved.and(removed).unwrap();
            assert_eq!(loaded(&disk).await.checkpoints[&id(0)], at(7));
        });
    }
}

#[test]
fn a_save_that_changes_nothing_writes_nothing_and_saves_that_wait_share_a_write() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let checkpoints = create(&disk, 1, 0).await;
        checkpoints.set(id(0), at(1));
        sim.fail(Fault::every(FaultOn::Write, "").after(2));
        let set_and_save = async |recovery_point| {
            checkpoints.set(id(1), at(recovery_point));
            checkpoints.save().await
        };
        let saves = futures_util::join!(checkpoints.save(), set_and_save(2), set_and_save(3), set_and_save(4));
        saves.0.and(saves.1).and(saves.2).and(saves.3).unwrap();
        checkpoints.set(id(1), at(4));
        checkpoints.save().await.unwrap();
        assert_eq!(loaded(&disk).await.checkpoints[&id(1)], at(4));
    });
}

#[test]
fn a_failed_save_is_told_and_made_up_for_by_the_next() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let checkpoints = create(&disk, 1, 0).await;
        checkpoints.set(id(0), at(1));
        checkpoints.set(id(1), at(1));
        checkpoints.forget(id(1));
        sim.fail(Fault::next(FaultOn::Write, "checkpoints"));
        assert_eq!(checkpoints.save().await.unwrap_err().operation, "write");
        checkpoints.save().await.unwrap();
        assert_eq!(loaded(&disk).await.checkpoints, BTreeMap::from([(id(0), at(1))]));
        assert_eq!((checkpoints.get(id(0)), checkpoints.get(id(1))), (Some(at(1)), None));
    });
}

#[test]
fn a_damaged_file_is_told_and_the_others_count() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        for shard in 0..2 {
            let checkpoints = create(&disk, 1, shard).await;
            checkpoints.set(id(shard as i32), at(7));
            checkpoints.save().await.unwrap();
        }
    });
    assert!(sim.flip_bit(&Path::new(DIR).join("checkpoints/00000000000000000001-0000"), 30, 1));
    let found = sim_block_on(&sim, loaded(&disk));
    assert_eq!(found.checkpoints, BTreeMap::from([(id(1), at(7))]));
    assert!(found.damage[0].ends_with("00000000000000000001-0000: it is damaged"), "{:?}", found.damage);
}
