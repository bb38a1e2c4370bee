//! Torn tails, rotten bits, disks that fail or fill up.

use std::collections::BTreeSet;
use std::panic::catch_unwind;
use std::path::Path;
use std::task::{Context, Waker};

use super::rig::{Rig, batch};
use crate::disk::{Disk, Fault, FaultOn, OpenMode, SimDisk, SimDiskOptions, sim_block_on};
use crate::log::{AppendError, KnownPoints, Log, LogConfig, OpenError, ReadCache, ReadError, TruncateError};
use crate::turn::{self, Barrier};

const SEGMENT: &str = "/data/topic-0/00000000000000000000.log";

fn config() -> LogConfig {
    LogConfig { segment_bytes: 8 << 20, tail_cache_bytes: 0, max_batch_bytes: 4096, ..LogConfig::default() }
}

/// A log of batches of these sizes, flushed one by one, with nothing written down about it.
fn rig_of(sizes: &[usize]) -> Rig {
    let mut rig = Rig::new(11, config());
    for (number, bytes) in sizes.iter().enumerate() {
        rig.append(&batch(2, *bytes, 5, number as u8)).expect("appended");
        rig.flush();
    }
    rig
}

/// The log of `rig`, but with these bytes as its only segment, on a new disk.
fn reopened_with(rig: &Rig, contents: &[u8]) -> Result<Rig, OpenError> {
    let sim = SimDisk::new(5, SimDiskOptions::default());
    let mut fresh = Rig::on(sim, config());
    fresh.log = None;
    fresh.sim.set_file_bytes(Path::new(SEGMENT), contents);
    fresh.known = rig.known.clone();
    fresh.stored = rig.stored.clone();
    fresh.open()?;
    Ok(fresh)
}

/// Lesson 31: recovery ends at the first bad batch, wherever the tail is torn, and what is appended then stays.
#[test]
fn a_tail_cut_at_any_byte_loses_only_what_is_cut() {
    let rig = rig_of(&[300, 100, 200, 150]);
    let contents = rig.sim.file_bytes(Path::new(SEGMENT)).expect("it is there");
    for cut in 300..=750_usize {
        let mut zeroed = contents.clone();
        zeroed[cut..].fill(0);
        let mut torn = contents.clone();
        torn[cut..750].iter_mut().for_each(|byte| *byte ^= 0x55);
        for bytes in [&contents[..cut], &zeroed, &torn] {
            let mut again = reopened_with(&rig, bytes).expect("it recovers");
            let whole = [300, 400, 600, 750].iter().filter(|end| **end <= cut).count();
            assert_eq!(again.log().offsets().log_end_offset, 2 * whole as i64, "cut at {cut}");
            again.stored.truncate(whole);
            again.check();
            again.append(&batch(1, 120, 5, 9)).expect("appended");
            again.flush_all();
            again.crash(cut as u64);
        }
    }
}

/// A torn write can lose its first sector and keep later ones: what it kept must not come to life later.
#[test]
fn what_a_torn_write_left_behind_the_cut_is_gone_for_good() {
    let rig = rig_of(&[300, 100, 100, 100]);
    let mut contents = rig.sim.file_bytes(Path::new(SEGMENT)).expect("it is there");
    contents[300..400].fill(0);
    let mut again = reopened_with(&rig, &contents).expect("it recovers");
    assert_eq!(again.report.cut_bytes, 300);
    again.stored.truncate(1);
    again.append(&batch(2, 100, 5, 7)).expect("appended");
    again.flush_all();
    again.crash(3);
    assert_eq!(again.log().offsets().log_end_offset, 4, "only what was appended since");
}

#[test]
fn a_good_batch_further_than_one_write_past_a_bad_one_is_corruption() {
    let sizes = [4000; 700];
    let rig = rig_of(&sizes);
    let mut contents = rig.sim.file_bytes(Path::new(SEGMENT)).expect("it is there");
    contents[4000 + 2000] ^= 1;
    let error = reopened_with(&rig, &contents).err().expect("acknowledged records would be lost");
    assert!(matches!(error, OpenError::Corrupt { position, .. } if position > 4000 + (2 << 20)), "{error}");
    // Within the reach of the last write nobody can tell.
    let mut contents = rig.sim.file_bytes(Path::new(SEGMENT)).expect("it is there");
    contents[690 * 4000 + 2000] ^= 1;
    let mut again = reopened_with(&rig, &contents).expect("a torn tail");
    assert_eq!(again.log().offsets().log_end_offset, 2 * 690);
}

/// Lesson 33, promise P5: whichever bit of a segment turns over, what is read is right or an error.
#[test]
fn a_bit_that_turns_over_is_an_error_and_never_data() {
    let mut rig = rig_of(&[150, 90, 110]);
    rig.log().start_closing();
    rig.maintain();
    rig.checkpoint();
    rig.kill(1);
    let expected = rig.read_all(0, 1 << 20).expect("it can be read");
    let mut errors = 0;
    for byte in 0..expected.len() as u64 {
        for bit in [0, 7] {
            rig.log = None;
            rig.open().expect("nothing below the recovery point is read");
            rig.sim.flip_bit(Path::new(SEGMENT), byte, bit);
            match rig.read_all(0, 1 << 20) {
                Ok(read) => assert!(read == expected, "byte {byte}"),
                Err(ReadError::Corrupt { .. }) => errors += 1,
                Err(error) => panic!("byte {byte}: {error}"),
            }
            rig.sim.flip_bit(Path::new(SEGMENT), byte, bit);
            assert!(rig.read_all(0, 1 << 20).expect("read again from the disk") == expected);
        }
    }
    assert_eq!(errors, 2 * expected.len(), "every byte matters");
}

#[test]
fn a_bit_that_turns_over_below_the_high_watermark_keeps_the_log_closed_or_is_harmless() {
    let mut rig = rig_of(&[150, 90, 110]);
    let contents = rig.sim.file_bytes(Path::new(SEGMENT)).expect("it is there");
    rig.known.high_watermark = 6;
    rig.known.newest_epoch = Some(rig.epoch);
    for byte in 0..350_usize {
        for bit in 0..8 {
            let mut flipped = contents.clone();
            flipped[byte] ^= 1 << bit;
            match reopened_with(&rig, &flipped) {
                Ok(mut again) => again.check(),
                Err(OpenError::Corrupt { .. }) => {}
                Err(error) => panic!("byte {byte}: {error}"),
            }
        }
    }
}

/// Lesson 38.
#[test]
fn a_failed_write_takes_the_log_offline_for_good_and_no_other() {
    let mut rig = rig_of(&[300]);
    let mut other = rig_of(&[300]);
    rig.append(&batch(1, 100, 5, 1)).expect("appended");
    rig.sim.fail(Fault::next(FaultOn::Write, "topic-0"));
    let outcome = rig.flush().expect("there is something");
    assert!(outcome.flush_error.is_none());
    assert_eq!(rig.acknowledged_end, 2, "nothing more is acknowledged");
    assert!(rig.log().is_offline().is_some());
    assert_eq!(rig.append(&batch(1, 100, 5, 1)), Err(AppendError::Offline));
    assert_eq!(rig.read(0, 2, 1000), Err(ReadError::Offline));
    assert!(!rig.log().needs_flush() && rig.flush().is_none());
    other.append(&batch(1, 100, 5, 1)).expect("appended");
    rig.crash(1);
}

#[test]
fn a_failed_read_is_an_error_to_its_reader_and_the_log_goes_on() {
    let mut rig = rig_of(&[300, 200]);
    rig.log().start_closing();
    rig.maintain();
    rig.checkpoint();
    rig.kill(1);
    rig.log = None;
    rig.open().expect("nothing of it is in memory now");
    rig.sim.fail(Fault::next(FaultOn::Read, SEGMENT));
    assert!(matches!(rig.read_all(0, 1 << 20), Err(ReadError::Disk(_))));
    assert!(rig.log().is_offline().is_none());
    rig.append(&batch(1, 100, 5, 1)).expect("appended");
    rig.flush_all();
    rig.check();
}

#[test]
fn a_failed_flush_is_reported_and_nothing_is_acknowledged() {
    for path in ["barrier", "topic-0"] {
        let mut rig = Rig::new(3, config());
        rig.append(&batch(1, 100, 5, 1)).expect("appended");
        if path == "barrier" {
            rig.flush();
            rig.maintain();
            rig.append(&batch(1, 100, 5, 1)).expect("appended");
        }
        let acknowledged = rig.acknowledged_end;
        rig.sim.fail(Fault::every(FaultOn::Flush, path));
        let outcome = rig.flush().expect("there is something");
        assert!(outcome.flush_error.is_some(), "{path}");
        assert_eq!(rig.acknowledged_end, acknowledged);
        rig.sim.heal();
        rig.crash(4);
    }
}

#[test]
fn without_space_appends_are_refused_until_there_is_some_and_nothing_is_lost() {
    let mut rig = rig_of(&[300, 4000]);
    rig.sim.set_capacity_bytes(Some(8192));
    let mut refused = 0;
    for number in 0..20 {
        match rig.append(&batch(1, 3000, 5, number)) {
            Ok(_) => drop(rig.flush()),
            Err(AppendError::NoSpace) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        let now_ms = rig.now_ms;
        if let Some(plan) = rig.log().maintenance_plan(now_ms) {
            let done = sim_block_on(&rig.sim, plan.execute());
            let _no_space_is_told = rig.log().apply_maintenance(done);
        }
    }
    assert!(refused > 10 && rig.log().has_no_space() && rig.log().is_offline().is_none());
    rig.check();
    assert!(rig.flush().is_some(), "an attempt may be made");
    assert!(rig.log().has_no_space(), "and finds no space");
    rig.sim.set_capacity_bytes(None);
    rig.flush_all();
    assert!(rig.flush().is_none() && !rig.log().has_no_space());
    rig.append(&batch(1, 3000, 5, 9)).expect("appended");
    rig.flush_all();
    rig.crash(9);
}

#[test]
fn one_barrier_covers_all_logs_of_a_turn() {
    for seed in 0..60 {
        let sim = SimDisk::new(seed, SimDiskOptions::default());
        let disk = Disk::Sim(sim.clone());
        let cache = ReadCache::new(1 << 20);
        let dirs: Vec<_> = (0..5).map(|number| format!("/data/topic-{number}")).collect();
        let open = || {
            let opened = dirs.iter().map(|dir| {
                sim_block_on(&sim, disk.create_dir_all(Path::new(dir))).expect("made");
                let opening = Log::open(&disk, &cache, Path::new(dir), config(), KnownPoints::default(), 0);
                sim_block_on(&sim, opening).expect("opened").log
            });
            opened.collect::<Vec<Log>>()
        };
        let mut logs = open();
        let barrier = sim_block_on(&sim, Barrier::open(&disk, Path::new("/data"))).expect("opened");
        let mut ends = vec![0; logs.len()];
        let mut own_flushes = 0;
        for round in 0..6 {
            for log in &mut logs {
                let bytes = batch(1, 1000, 5, round);
                let header = crate::batch::validate(&bytes).expect("valid");
                log.append(&bytes, &header, crate::ids::LeaderEpoch(0), 0).expect("appended");
            }
            let plans = logs.iter_mut().map(|log| log.flush_plan(0).expect("dirty")).collect();
            let outcome = sim_block_on(&sim, turn::flush(&barrier, plans));
            own_flushes = outcome.own_flushes;
            for ((log, outcome), end) in logs.iter_mut().zip(outcome.logs).zip(&mut ends) {
                *end = log.apply_flush(outcome).expect("flushed");
                while let Some(plan) = log.maintenance_plan(0) {
                    let done = sim_block_on(&sim, plan.execute());
                    log.apply_maintenance(done).expect("the disk works");
                }
            }
        }
        assert_eq!(own_flushes, 0, "the last turn needed the barrier only");
        drop((logs, barrier));
        sim.crash(seed);
        let found: BTreeSet<_> = open().iter().map(|log| log.offsets().log_end_offset).collect();
        assert_eq!(found, BTreeSet::from([6]), "seed {seed}: {ends:?}");
    }
}

/// What a cut finds under way ends first, and nothing begins before the cut has ended.
#[test]
fn a_cut_waits_for_the_flush_and_the_step_under_way_and_they_for_it() {
    let mut rig = rig_of(&[300, 100, 200]);
    rig.append(&batch(2, 150, 5, 1)).expect("appended");
    let now_ms = rig.now_ms;
    assert!(matches!(rig.log().truncate_plan(2, now_ms), Err(TruncateError::Busy)), "something is not flushed");
    let plan = rig.log().flush_plan(now_ms).expect("it is dirty");
    assert!(matches!(rig.log().truncate_plan(2, now_ms), Err(TruncateError::Busy)), "a flush is in flight");
    let barrier = rig.barrier.clone().expect("open");
    let mut outcome = sim_block_on(&rig.sim, turn::flush(&barrier, vec![plan]));
    rig.log().apply_flush(outcome.logs.pop().expect("one log")).expect("flushed");
    let step = rig.log().maintenance_plan(now_ms).expect("zeros are due");
    assert!(matches!(rig.log().truncate_plan(2, now_ms), Err(TruncateError::Busy)), "zeros are on their way");
    let done = sim_block_on(&rig.sim, step.execute());
    rig.log().apply_maintenance(done).expect("the disk works");

    let cut = rig.log().truncate_plan(3, now_ms).expect("nothing is in flight").expect("there is something to cut");
    rig.now_ms += 600_000;
    let now_ms = rig.now_ms;
    rig.log().look_over(now_ms, 2);
    assert!(!rig.log().needs_flush() && rig.log().flush_plan(now_ms).is_none());
    assert!(rig.log().maintenance_plan(now_ms).is_none());
    assert!(matches!(rig.log().truncate_plan(1, now_ms), Err(TruncateError::Busy)));
    rig.check_read(0, 300);
    assert_eq!(rig.read(3, 8, 1000), Ok((Vec::new(), 3)), "what is being cut is not served");
    let done = sim_block_on(&rig.sim, cut.execute());
    assert_eq!(rig.log().apply_truncate(done), Ok(2), "the batch that reaches beyond goes whole");
    rig.stored.truncate(1);
    (rig.acknowledged_end, rig.known.high_watermark) = (2, 0);
    rig.append(&batch(1, 400, 5, 2)).expect("appended");
    rig.flush_all();
    rig.checkpoint();
    rig.crash(3);
}

#[test]
fn a_reader_who_comes_late_to_a_cut_leaves_nothing_stale_to_those_after_it() {
    let mut rig = rig_of(&[300, 3000, 4000]);
    rig.kill(1);
    let late = rig.log().read_plan(0, 2, 1000, true).expect("planned");
    assert!(!late.is_ready(), "it comes from the disk");
    let now_ms = rig.now_ms;
    let cut = rig.log().truncate_plan(2, now_ms).expect("nothing is in flight").expect("there is something to cut");
    let done = sim_block_on(&rig.sim, cut.execute());
    rig.log().apply_truncate(done).expect("cut");
    rig.stored.truncate(1);
    let read = sim_block_on(&rig.sim, late.execute()).expect("what it wants is not cut");
    assert_eq!(read.records.len(), 300);
    rig.append(&batch(1, 5000, 5, 2)).expect("appended");
    rig.flush_all();
    rig.log().shrink_tail(0);
    rig.check();
}

#[test]
fn a_file_whose_name_a_killed_process_left_unflushed_keeps_what_is_appended_to_it() {
    for seed in 0..20 {
        let mut rig = Rig::new(seed, config());
        rig.log = None;
        sim_block_on(&rig.sim, rig.disk.open(Path::new(SEGMENT), OpenMode::CreateNew)).expect("it is made");
        rig.kill(seed);
        rig.append(&batch(2, 300, 5, 1)).expect("appended");
        rig.flush();
        rig.crash(seed);
    }
}

/// Kills a process whose write is in flight, appends in the next, and looks once the device has nothing left.
fn append_after_a_kill_in_flight(seed: u64, options: SimDiskOptions) {
    let mut rig = Rig::on(SimDisk::new(seed, options), config());
    rig.append(&batch(2, 300, 5, 1)).expect("appended");
    rig.flush();
    rig.append(&batch(2, 9000, 5, 2)).expect("appended");
    let plan = rig.log().flush_plan(0).expect("there is something to flush");
    let mut write = Box::pin(turn::write(vec![plan]));
    assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    rig.kill(seed);
    rig.append(&batch(1, 400, 5, 3)).expect("appended");
    rig.flush();
    while let Some(due_ns) = rig.sim.next_due() {
        rig.sim.run_due(due_ns);
    }
    rig.log().shrink_tail(0);
    rig.check();
    rig.crash(seed);
}

#[test]
fn a_write_that_a_killed_process_left_in_flight_has_landed_before_recovery_looks() {
    (0..60).for_each(|seed| append_after_a_kill_in_flight(seed, SimDiskOptions::default()));
    let broken = SimDiskOptions { bug_take_over_early: true, ..SimDiskOptions::default() };
    let found = (0..60).any(|seed| catch_unwind(|| append_after_a_kill_in_flight(seed, broken.clone())).is_err());
    assert!(found, "and the test can fail");
}

/// Each is a commit of the file system's journal, and a start opens 10,000 logs.
#[test]
fn a_log_with_a_torn_tail_is_opened_with_one_flush_of_its_directory() {
    let mut rig = rig_of(&[300, 200]);
    rig.log = None;
    rig.sim.flip_bit(Path::new(SEGMENT), 450, 1);
    rig.sim.fail(Fault::every(FaultOn::SyncDir, "topic-0").after(1));
    rig.try_open().expect("one is enough");
    assert_eq!(rig.report.cut_bytes, 200);
}
