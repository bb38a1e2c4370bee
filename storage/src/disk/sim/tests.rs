//! What only the simulated disk can show: crashes, torn writes, faults.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::disk::{BLOCK_BYTES, Disk, DiskErrorReason, File, IoBuffer, OpenMode};
use rand::Rng;
use std::collections::BTreeSet;

const BLOCK: u64 = BLOCK_BYTES as u64;
const SEEDS: u64 = 60;

fn filled(blocks: usize, value: u8) -> Rc<IoBuffer> {
    let mut buffer = IoBuffer::zeroed(blocks * BLOCK_BYTES);
    buffer.fill(value);
    Rc::new(buffer)
}

fn path(name: &str) -> &Path {
    Path::new(name)
}

async fn create(disk: &Disk, name: &str) -> File {
    disk.open(path(name), OpenMode::CreateNew).await.unwrap()
}

/// A durable file of `blocks` written blocks.
async fn prewritten(disk: &Disk, name: &str, blocks: usize) -> File {
    let file = create(disk, name).await;
    file.write_at(filled(blocks, 0), 0).await.unwrap();
    file.flush().await.unwrap();
    disk.sync_dir(path("/")).await.unwrap();
    file
}

/// Over many seeds: sets a disk up, crashes it, and looks at what is left.
fn over_crashes(options: &SimDiskOptions, setup: impl AsyncFn(Disk), mut look: impl FnMut(&SimDisk)) {
    for seed in 0..SEEDS {
        let sim = SimDisk::new(seed, options.clone());
        sim_block_on(&sim, setup(Disk::Sim(sim.clone())));
        sim.crash(seed);
        look(&sim);
    }
}

/// What a block or a missing file is seen as.
fn seen(sim: &SimDisk, name: &str, block: usize) -> Option<BTreeSet<u8>> {
    let bytes = sim.file_bytes(path(name))?;
    Some(bytes.get(block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES)?.iter().copied().collect())
}

#[test]
fn what_was_flushed_under_a_synced_name_survives_every_crash() {
    let setup = async |disk: Disk| {
        let file = create(&disk, "/log").await;
        file.write_at(filled(3, 7), 0).await.unwrap();
        file.flush().await.unwrap();
        disk.sync_dir(path("/")).await.unwrap();
        file.write_at(filled(1, 8), 3 * BLOCK).await.unwrap();
    };
    over_crashes(&SimDiskOptions::default(), setup, |sim| {
        for block in 0..3 {
            assert_eq!(seen(sim, "/log", block).unwrap(), BTreeSet::from([7]));
        }
    });
}

#[test]
fn what_was_not_flushed_is_there_or_not_or_torn() {
    let setup = async |disk: Disk| {
        let file = prewritten(&disk, "/log", 4).await;
        file.write_at(filled(4, 7), 0).await.unwrap();
    };
    let mut outcomes = BTreeSet::new();
    over_crashes(&SimDiskOptions::default(), setup, |sim| {
        outcomes.extend((0..4).map(|block| seen(sim, "/log", block).unwrap()));
    });
    assert_eq!(outcomes, BTreeSet::from([BTreeSet::from([0]), BTreeSet::from([7]), BTreeSet::from([0, 7])]));

    let whole_blocks = SimDiskOptions { sector_bytes: 4096, ..SimDiskOptions::default() };
    over_crashes(&whole_blocks, setup, |sim| {
        assert!((0..4).all(|block| seen(sim, "/log", block).unwrap().len() == 1), "not torn within a sector");
    });
}

#[test]
fn a_name_without_a_directory_flush_may_vanish_and_with_one_stays() {
    let mut found = BTreeSet::new();
    let unsynced = async |disk: Disk| create(&disk, "/log").await.flush().await.unwrap();
    over_crashes(&SimDiskOptions::default(), unsynced, |sim| {
        found.insert(sim.file_bytes(path("/log")).is_some());
    });
    assert_eq!(found, BTreeSet::from([false, true]));

    let synced = async |disk: Disk| {
        disk.create_dir_all(path("/a/b")).await.unwrap();
        drop(create(&disk, "/a/b/log").await);
        disk.sync_dir(path("/a/b")).await.unwrap();
    };
    over_crashes(&SimDiskOptions::default(), synced, |sim| assert!(sim.file_bytes(path("/a/b/log")).is_some()));
}

/// The barrier: a flush of `/barrier` after a completed write of 7 into block 0 of `/log`.
fn barrier_keeps(options: &SimDiskOptions, log: impl AsyncFn(&Disk) -> File) -> bool {
    let mut always = true;
    let setup = async |disk: Disk| {
        let barrier = prewritten(&disk, "/barrier", 1).await;
        let log = log(&disk).await;
        disk.sync_dir(path("/")).await.unwrap();
        log.write_at(filled(1, 7), 0).await.unwrap();
        barrier.flush().await.unwrap();
    };
    over_crashes(options, setup, |sim| always &= seen(sim, "/log", 0) == Some(BTreeSet::from([7])));
    always
}

#[test]
fn a_flush_of_one_file_covers_prewritten_blocks_of_another_and_nothing_else() {
    let options = SimDiskOptions::default();
    let on_prewritten = async |disk: &Disk| prewritten(disk, "/log", 4).await;
    assert!(barrier_keeps(&options, on_prewritten));

    let on_allocated = async |disk: &Disk| {
        let file = create(disk, "/log").await;
        file.allocate(4 * BLOCK).await.unwrap();
        file.flush().await.unwrap();
        file
    };
    assert!(!barrier_keeps(&options, on_allocated));
    assert!(!barrier_keeps(&options, async |disk: &Disk| create(disk, "/log").await), "growing");

    let written_but_not_flushed = async |disk: &Disk| {
        let file = create(disk, "/log").await;
        file.write_at(filled(4, 0), 0).await.unwrap();
        file
    };
    assert!(!barrier_keeps(&options, written_but_not_flushed));

    let cut_and_grown_again = async |disk: &Disk| {
        let file = prewritten(disk, "/log", 4).await;
        file.set_size(0).await.unwrap();
        file.set_size(4 * BLOCK).await.unwrap();
        file
    };
    assert!(!barrier_keeps(&options, cut_and_grown_again), "the blocks lost their place");

    let other_file_system = SimDiskOptions { barrier_holds: false, ..SimDiskOptions::default() };
    assert!(!barrier_keeps(&other_file_system, on_prewritten));
    let forgotten = SimDiskOptions { bug_forget_barrier: true, ..SimDiskOptions::default() };
    assert!(!barrier_keeps(&forgotten, on_prewritten));
    let skipped = SimDiskOptions { bug_skip_flush: true, ..SimDiskOptions::default() };
    assert!(!barrier_keeps(&skipped, on_prewritten));
}

#[test]
fn a_flush_does_not_cover_a_write_that_completes_after_it_began() {
    let mut lost = false;
    for seed in 0..SEEDS {
        let sim = SimDisk::new(seed, SimDiskOptions::default());
        let disk = Disk::Sim(sim.clone());
        sim_block_on(&sim, async {
            let file = prewritten(&disk, "/log", 1).await;
            let (written, flushed) = futures_util::join!(file.write_at(filled(1, 7), 0), file.flush());
            written.and(flushed).unwrap();
        });
        sim.crash(seed);
        lost |= seen(&sim, "/log", 0) != Some(BTreeSet::from([7]));
    }
    assert!(lost);
}

#[test]
fn a_rename_that_was_not_synced_leaves_one_of_both_names_and_never_none() {
    let mut found = BTreeSet::new();
    let setup = async |disk: Disk| {
        let file = prewritten(&disk, "/prepared.log", 1).await;
        file.close().await.unwrap();
        disk.rename(path("/prepared.log"), path("/0.log")).await.unwrap();
    };
    over_crashes(&SimDiskOptions::default(), setup, |sim| {
        let there = ["/prepared.log", "/0.log"].map(|name| sim.file_bytes(path(name)).is_some());
        assert_ne!(there[0], there[1]);
        found.insert(there);
    });
    assert_eq!(found.len(), 2);
}

#[test]
fn a_rename_between_directories_is_durable_when_both_were_flushed() {
    for (synced, always) in [(vec!["/b"], false), (vec!["/a"], false), (vec!["/a", "/b"], true)] {
        let setup = async |disk: Disk| {
            disk.create_dir_all(path("/a")).await.unwrap();
            disk.create_dir_all(path("/b")).await.unwrap();
            drop(create(&disk, "/a/f").await);
            disk.sync_dir(path("/a")).await.unwrap();
            disk.rename(path("/a/f"), path("/b/f")).await.unwrap();
            for dir in &synced {
                disk.sync_dir(path(dir)).await.unwrap();
            }
        };
        let mut moved = BTreeSet::new();
        over_crashes(&SimDiskOptions::default(), setup, |sim| {
            let there = sim.file_bytes(path("/b/f")).is_some();
            assert_ne!(there, sim.file_bytes(path("/a/f")).is_some());
            moved.insert(there);
        });
        assert_eq!(moved == BTreeSet::from([true]), always, "{synced:?}");
    }
}

#[test]
fn a_removed_file_comes_back_or_not_until_its_directory_was_flushed() {
    let mut found = BTreeSet::new();
    let unsynced = async |disk: Disk| {
        drop(prewritten(&disk, "/log", 2).await);
        disk.remove(path("/log")).await.unwrap();
    };
    over_crashes(&SimDiskOptions::default(), unsynced, |sim| {
        found.insert(sim.file_bytes(path("/log")).map(|bytes| bytes.len()));
    });
    assert_eq!(found, BTreeSet::from([None, Some(2 * BLOCK_BYTES)]));
    let synced = async |disk: Disk| {
        unsynced(disk.clone()).await;
        disk.sync_dir(path("/")).await.unwrap();
    };
    over_crashes(&SimDiskOptions::default(), synced, |sim| assert!(sim.file_bytes(path("/log")).is_none()));
}

#[test]
fn a_cut_that_was_not_flushed_may_come_undone() {
    let mut sizes = BTreeSet::new();
    let setup = async |disk: Disk| {
        let file = prewritten(&disk, "/log", 4).await;
        file.write_at(filled(4, 7), 0).await.unwrap();
        file.flush().await.unwrap();
        file.set_size(BLOCK).await.unwrap();
        file.write_at(filled(1, 8), BLOCK).await.unwrap();
    };
    over_crashes(&SimDiskOptions::default(), setup, |sim| {
        sizes.insert(sim.file_bytes(path("/log")).unwrap().len() / BLOCK_BYTES);
        let second = seen(sim, "/log", 1).unwrap_or_default();
        assert!(!(second.contains(&7) && second.contains(&8)), "the two had different places on the device");
    });
    assert!(sizes.contains(&1) && sizes.contains(&4), "{sizes:?}");
}

#[test]
fn a_small_file_is_old_or_new_at_every_moment_of_a_crash() {
    let mut found = BTreeSet::new();
    for seed in 0..SEEDS * 3 {
        let sim = SimDisk::new(seed, SimDiskOptions::default());
        let disk = Disk::Sim(sim.clone());
        sim.set_file_bytes(path("/d/meta"), b"old");
        let mut replacing = Box::pin(disk.replace_small(path("/d/meta"), b"newer"));
        let mut context = Context::from_waker(Waker::noop());
        let steps = SmallRng::seed_from_u64(seed).random_range(0..9);
        let mut done = false;
        for _ in 0..steps {
            done = done || replacing.as_mut().poll(&mut context).is_ready();
            if let Some(due_ns) = sim.next_due() {
                sim.run_due(due_ns);
            }
        }
        sim.crash(seed);
        let bytes = sim.file_bytes(path("/d/meta")).unwrap();
        assert!(bytes == b"newer" || bytes == b"old" && !done);
        found.insert(bytes);
        sim_block_on(&sim, disk.replace_small(path("/d/meta"), b"again")).unwrap();
        assert_eq!(sim_block_on(&sim, disk.read_small(path("/d/meta"))).unwrap(), b"again");
    }
    assert_eq!(found.len(), 2);
}

#[test]
fn a_killed_process_leaves_what_completed_and_frees_its_locks() {
    let sim = SimDisk::new(1, SimDiskOptions::default());
    let disk = Disk::Sim(sim.clone());
    let (file, lock) = sim_block_on(&sim, async {
        let file = create(&disk, "/log").await;
        file.write_at(filled(1, 7), 0).await.unwrap();
        (file, disk.lock(path("/lock")).await.unwrap())
    });
    sim.kill(1);
    assert_eq!(seen(&sim, "/log", 0), Some(BTreeSet::from([7])));
    let error = sim_block_on(&sim, file.write_at(filled(1, 8), 0)).unwrap_err();
    assert!(matches!(&error.reason, DiskErrorReason::Io(text) if text.starts_with("gone")), "{error}");
    let again = sim_block_on(&sim, disk.lock(path("/lock"))).unwrap();
    drop(lock);
    assert!(sim_block_on(&sim, disk.lock(path("/lock"))).is_err(), "a dead process's lock frees nothing");
    drop(again);
}

#[test]
fn writes_in_flight_complete_in_any_order() {
    let last = (0..SEEDS).map(|seed| {
        let sim = SimDisk::new(seed, SimDiskOptions::default());
        let disk = Disk::Sim(sim.clone());
        sim_block_on(&sim, async {
            let file = create(&disk, "/log").await;
            let (one, two) = futures_util::join!(file.write_at(filled(1, 1), 0), file.write_at(filled(1, 2), 0));
            one.and(two).unwrap();
        });
        seen(&sim, "/log", 0).unwrap().pop_first().unwrap()
    });
    assert_eq!(last.collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
}

#[test]
fn faults_strike_where_and_when_they_are_told_to() {
    let sim = SimDisk::new(1, SimDiskOptions::default());
    let disk = Disk::Sim(sim.clone());
    sim_block_on(&sim, async {
        let (log, index) = (prewritten(&disk, "/0.log", 2).await, prewritten(&disk, "/0.index", 2).await);
        sim.fail(Fault::next(FaultOn::Write, ".log").after(1));
        sim.fail(Fault::every(FaultOn::Read, ".index"));
        sim.fail(Fault::next(FaultOn::SyncDir, "").with(DiskErrorReason::NoSpace));
        log.write_at(filled(1, 1), 0).await.unwrap();
        index.write_at(filled(1, 1), 0).await.unwrap();
        let error = log.write_at(filled(1, 1), 0).await.unwrap_err();
        assert_eq!((error.operation, error.path.as_path()), ("write", path("/0.log")));
        log.write_at(filled(1, 1), 0).await.unwrap();
        assert!(index.read_at(0, BLOCK_BYTES).await.is_err() && index.read_at(0, BLOCK_BYTES).await.is_err());
        assert_eq!(disk.sync_dir(path("/")).await.unwrap_err().reason, DiskErrorReason::NoSpace);
        sim.heal();
        index.read_at(0, BLOCK_BYTES).await.unwrap();
    });
}

#[test]
fn a_failed_flush_may_lose_data_and_none_after_it_is_believed() {
    let mut lost = false;
    let setup = async |disk: Disk| {
        let file = prewritten(&disk, "/log", 1).await;
        file.write_at(filled(1, 7), 0).await.unwrap();
        let Disk::Sim(sim) = &disk else { unreachable!() };
        sim.fail(Fault::next(FaultOn::Flush, ""));
        file.flush().await.unwrap_err();
        let other = create(&disk, "/other").await;
        other.flush().await.unwrap_err();
        disk.sync_dir(path("/")).await.unwrap_err();
        file.flush().await.unwrap_err();
    };
    over_crashes(&SimDiskOptions::default(), setup, |sim| lost |= seen(sim, "/log", 0) != Some(BTreeSet::from([7])));
    assert!(lost);
}

#[test]
fn the_next_process_trusts_flushes_again_and_reads_what_is_left() {
    let sim = SimDisk::new(1, SimDiskOptions::default());
    sim_block_on(&sim, async {
        let disk = Disk::Sim(sim.clone());
        let file = prewritten(&disk, "/log", 1).await;
        sim.fail(Fault::next(FaultOn::SyncDir, ""));
        disk.sync_dir(path("/")).await.unwrap_err();
        file.flush().await.unwrap_err();
        sim.kill(1);
        disk.sync_dir(path("/")).await.unwrap();
    });
}

#[test]
fn a_full_disk_refuses_new_blocks_and_takes_old_ones() {
    let sim = SimDisk::new(1, SimDiskOptions { capacity_bytes: Some(4 * BLOCK), ..SimDiskOptions::default() });
    let disk = Disk::Sim(sim.clone());
    sim_block_on(&sim, async {
        let file = prewritten(&disk, "/log", 3).await;
        assert_eq!(disk.free_bytes(path("/")).await.unwrap(), BLOCK);
        let other = create(&disk, "/other").await;
        assert_eq!(other.allocate(2 * BLOCK).await.unwrap_err().reason, DiskErrorReason::NoSpace);
        assert_eq!(other.write_at(filled(2, 1), 0).await.unwrap_err().reason, DiskErrorReason::NoSpace);
        assert_eq!(other.size().await.unwrap(), 0);
        file.write_at(filled(3, 1), 0).await.unwrap();
        disk.remove(path("/log")).await.unwrap();
        assert_eq!(disk.free_bytes(path("/")).await.unwrap(), BLOCK, "an open file keeps its blocks");
        file.close().await.unwrap();
        other.allocate(4 * BLOCK).await.unwrap();
    });
}

#[test]
fn a_stalled_disk_completes_nothing_until_it_goes_on() {
    let sim = SimDisk::new(1, SimDiskOptions::default());
    let disk = Disk::Sim(sim.clone());
    let file = sim_block_on(&sim, create(&disk, "/log"));
    sim.stall_until(5_000_000_000);
    let mut write = Box::pin(file.write_at(filled(1, 1), 0));
    assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(sim.next_due(), Some(5_000_000_000));
    sim.run_due(4_999_999_999);
    assert_eq!(sim.file_bytes(path("/log")).unwrap().len(), 0);
    sim_block_on(&sim, write).unwrap();
    assert_eq!(sim.file_bytes(path("/log")).unwrap().len(), BLOCK_BYTES);
}

#[test]
fn a_flipped_bit_stays_flipped() {
    let sim = SimDisk::new(1, SimDiskOptions::default());
    sim.set_file_bytes(path("/d/log"), &[0; 5000]);
    assert!(sim.flip_bit(path("/d/log"), 4999, 3));
    assert!(!sim.flip_bit(path("/d/log"), 5000, 3) && !sim.flip_bit(path("/d"), 0, 3));
    sim.crash(1);
    let bytes = sim.file_bytes(path("/d/log")).unwrap();
    assert_eq!((bytes.len(), bytes[4999], bytes[..4999].iter().max()), (5000, 8, Some(&0)));
}

/// Random writes of rising stamps onto prewritten blocks, flushed through either file, with crashes: a block holds only stamps
/// that were written, and none older than what its last flush covered.
#[test]
fn after_any_history_a_block_holds_what_was_flushed_or_something_later() {
    for seed in 0..SEEDS {
        let sim = SimDisk::new(seed, SimDiskOptions::default());
        let disk = Disk::Sim(sim.clone());
        let dice = &mut SmallRng::seed_from_u64(seed);
        let mut allowed: Vec<BTreeSet<u8>> = vec![BTreeSet::from([0]); 4];
        sim_block_on(&sim, async {
            prewritten(&disk, "/log", 4).await;
            prewritten(&disk, "/barrier", 1).await;
        });
        for _ in 0..3 {
            let (log, barrier) = sim_block_on(&sim, async {
                let log = disk.open(path("/log"), OpenMode::Write).await.unwrap();
                (log, disk.open(path("/barrier"), OpenMode::Write).await.unwrap())
            });
            for stamp in 1..dice.random_range(2..40) {
                let block = dice.random_range(0..4);
                sim_block_on(&sim, log.write_at(filled(1, stamp), block as u64 * BLOCK)).unwrap();
                allowed[block].insert(stamp);
                if dice.random_bool(0.2) {
                    let flushed = if dice.random_bool(0.5) { &log } else { &barrier };
                    sim_block_on(&sim, flushed.flush()).unwrap();
                    let now = |block| seen(&sim, "/log", block).unwrap();
                    allowed = (0..4).map(now).collect();
                }
            }
            sim.crash(dice.random());
            for (block, allowed) in allowed.iter_mut().enumerate() {
                let found = seen(&sim, "/log", block).unwrap();
                assert!(found.is_subset(allowed), "seed {seed}, block {block}: {found:?} of {allowed:?}");
                *allowed = found;
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let sim = SimDisk::new(seed, SimDiskOptions { write_errors_per_million: 100_000, ..SimDiskOptions::default() });
        let disk = Disk::Sim(sim.clone());
        sim_block_on(&sim, async {
            let files = [create(&disk, "/a").await, create(&disk, "/b").await];
            for round in 0..20 {
                let writes = files.iter().map(|file| file.write_at(filled(2, round), u64::from(round) * BLOCK));
                futures_util::future::join_all(writes).await;
                files[usize::from(round) % 2].flush().await.unwrap();
            }
        });
        sim.crash(seed);
        (sim.trace(), sim.file_bytes(path("/a")), sim.file_bytes(path("/b")))
    };
    assert_eq!(history(3), history(3));
    assert_ne!(history(3).0, history(4).0);
}

#[test]
fn durable_files_are_what_the_worst_crash_would_leave() {
    let sim = SimDisk::new(1, SimDiskOptions::default());
    let disk = Disk::Sim(sim.clone());
    sim_block_on(&sim, async {
        disk.create_dir_all(path("/data/logs")).await.unwrap();
        let file = prewritten(&disk, "/data/logs/kept", 3).await;
        disk.sync_dir(path("/data")).await.unwrap();
        disk.sync_dir(path("/data/logs")).await.unwrap();
        file.write_at(filled(1, 7), 0).await.unwrap();
        file.flush().await.unwrap();
        let unnamed = create(&disk, "/data/logs/unnamed").await;
        unnamed.write_at(filled(1, 9), 0).await.unwrap();
        unnamed.flush().await.unwrap();
        file.write_at(filled(1, 8), BLOCK).await.unwrap();
    });
    let found = sim.durable_files(path("/data"));
    let kept = [vec![7; BLOCK_BYTES], vec![0; 2 * BLOCK_BYTES]].concat();
    assert!(found == BTreeMap::from([("/data/logs/kept".into(), kept)]));
    assert!(sim.durable_files(path("/elsewhere")).is_empty());
}

#[test]
fn a_disk_that_was_slowed_down_takes_longer() {
    let options = SimDiskOptions { flush_ns: 1000..=1000, ..SimDiskOptions::default() };
    let sim = SimDisk::new(1, options);
    let disk = Disk::Sim(sim.clone());
    let file = sim_block_on(&sim, create(&disk, "/file"));
    sim.slow_down(50);
    let mut flush = pin!(file.flush());
    let mut context = Context::from_waker(Waker::noop());
    let began_ns = sim.world.borrow().now_ns;
    assert!(flush.as_mut().poll(&mut context).is_pending());
    assert_eq!(sim.next_due(), Some(began_ns + 50_000));
}
