//! A log's life: rolls, seals, retention, searches by time, rest.

use super::model::run_events;
use super::rig::{Rig, batch, producer_batch};
use crate::batch::{BatchBuilder, Compression, NewRecord};
use crate::disk::sim_block_on;
use crate::index::{OffsetIndex, TimeIndex};
use crate::log::{FoundOffset, LogConfig};

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 10_000,
        index_interval_bytes: 500,
        tail_cache_bytes: 0,
        retention_ms: None,
        ..LogConfig::default()
    }
}

/// 100 batches of 1,000 bytes and one record, a second apart.
fn long_rig(config: LogConfig) -> Rig {
    let mut rig = Rig::new(21, config);
    for number in 0..100_u8 {
        rig.now_ms += 1000;
        let now_ms = rig.now_ms;
        rig.append(&batch(1, 1000, now_ms, number)).expect("appended");
        rig.flush_all();
        rig.maintain();
    }
    rig
}

#[test]
fn a_sealed_segment_has_its_exact_size_and_kafkas_indexes() {
    let rig = long_rig(config());
    let segment = rig.sim.file_bytes(&rig.path("00000000000000000010.log")).expect("sealed");
    assert_eq!(segment.len(), 10_000);
    let index = rig.sim.file_bytes(&rig.path("00000000000000000010.index")).expect("sealed");
    let index = OffsetIndex::from_bytes(10, 10_000, &index).expect("valid");
    let entries: Vec<_> = index.iter().map(|entry| (entry.offset, entry.position)).collect();
    assert_eq!(entries[..3], [(10, 0), (11, 1000), (12, 2000)]);
    let times = rig.sim.file_bytes(&rig.path("00000000000000000010.timeindex")).expect("sealed");
    let newest = TimeIndex::from_bytes(10, 20, &times).expect("valid").newest().expect("it has entries");
    assert_eq!((newest.timestamp, newest.offset), (21_000, 19));
}

#[test]
fn after_a_roll_the_crash_before_its_rename_loses_nothing() {
    let mut rig = Rig::new(4, config());
    for number in 0..8 {
        rig.append(&batch(1, 1200, 5, number)).expect("appended");
        rig.flush_all();
    }
    rig.maintain();
    assert!(rig.disk_names().contains(&"prepared.log".to_owned()), "the next segment is ready");
    for number in 0..3 {
        rig.append(&batch(1, 1200, 5, number)).expect("appended");
    }
    rig.flush_all();
    rig.crash(2);
    assert!(rig.report.took_prepared);
    assert_eq!(rig.log().offsets().log_end_offset, 11);
    rig.maintain();
    assert!(rig.disk_names().contains(&"00000000000000000008.log".to_owned()), "it has its name now");
    rig.crash(3);
}

#[test]
fn two_rolls_before_the_first_has_its_name_survive_a_crash_at_any_point() {
    for events in 0..40_u8 {
        let mut rig = Rig::new(u64::from(events), config());
        for number in 0..8 {
            rig.append(&batch(1, 1200, 5, number)).expect("appended");
            rig.flush_all();
        }
        rig.maintain();
        // The first goes on in prepared.log; for the second none is ready.
        for number in 0..20 {
            rig.append(&batch(1, 1200, 5, number)).expect("appended");
        }
        rig.flush();
        let now_ms = rig.now_ms;
        let flush = rig.log().flush_plan(now_ms).expect("there is more");
        let naming = rig.log().maintenance_plan(now_ms).expect("prepared.log is to be named");
        let barrier = rig.barrier.clone().expect("open");
        let work = futures_util::future::join(crate::turn::flush(&barrier, vec![flush]), naming.execute());
        let sim = rig.sim.clone();
        run_events(&sim, work, events);
        rig.crash(u64::from(events));
    }
}

#[test]
fn offsets_are_found_by_time_exactly() {
    let mut rig = Rig::new(8, config());
    // Three records a batch, 10 ms apart, in any codec; the third batch of each ten is late.
    for number in 0..60_i64 {
        let late = if number % 10 == 2 { 500 } else { 0 };
        let codec = if number % 2 == 0 { Compression::None } else { Compression::Zstd };
        let value = [number as u8; 300];
        let record = |delta| NewRecord { timestamp_delta: delta, ..NewRecord::value(&value) };
        let builder = BatchBuilder::new(number * 100 + late).compression(codec);
        let batch = builder.with(record(0)).with(record(20)).with(record(10)).build();
        rig.append(&batch).expect("appended");
        rig.flush_all();
        rig.maintain();
    }
    let times: Vec<i64> = (0..60_i64)
        .flat_map(|number| [0, 20, 10].map(|delta| number * 100 + if number % 10 == 2 { 500 } else { 0 } + delta))
        .collect();
    for round in 0..2 {
        for wanted in (0..6_100).step_by(35) {
            for limit in [180, 93, 6] {
                let plan = rig.log().timestamp_plan(wanted, limit).expect("planned");
                let found = sim_block_on(&rig.sim, plan.execute()).expect("read");
                let first = times.iter().take(limit as usize).position(|time| *time >= wanted);
                assert_eq!(found.map(|found| found.offset), first.map(|at| at as i64), "{wanted} below {limit}");
            }
        }
        for limit in [180, 93, 6, 0] {
            let plan = rig.log().max_timestamp_plan(limit).expect("planned");
            let found = sim_block_on(&rig.sim, plan.execute()).expect("read");
            let newest = times.iter().take(limit as usize).max().copied();
            let first = newest.and_then(|newest| times.iter().position(|time| *time == newest));
            let expected =
                first.map(|at| FoundOffset { offset: at as i64, timestamp: times[at], leader_epoch: rig.epoch });
            assert_eq!(found, expected, "newest below {limit}");
        }
        if round == 0 {
            rig.log().start_closing();
            rig.maintain();
            rig.checkpoint();
            rig.kill(2);
        }
    }
}

#[test]
fn segments_beyond_the_bytes_that_are_kept_go_and_never_one_above_the_high_watermark() {
    let mut rig = long_rig(LogConfig { retention_bytes: Some(35_000), ..config() });
    rig.now_ms += 10_000;
    let now_ms = rig.now_ms;
    rig.log().look_over(now_ms, 25);
    rig.maintain();
    assert_eq!(rig.log().offsets().log_start_offset, 20, "only what is below the high watermark");
    rig.log().look_over(now_ms, 100);
    rig.maintain();
    assert_eq!(rig.log().offsets().log_start_offset, 60);
    assert_eq!(rig.disk_names().iter().filter(|name| name.ends_with("0.log")).count(), 4);
    rig.check();
    rig.crash(1);
    assert_eq!(rig.log().offsets().log_start_offset, 60, "the files say so, though no checkpoint does");
}

#[test]
fn records_that_outlived_their_retention_go_and_the_offsets_go_on() {
    let mut rig = long_rig(LogConfig { retention_ms: Some(50_000), ..config() });
    let now_ms = rig.now_ms;
    rig.log().look_over(now_ms, 100);
    rig.maintain();
    assert_eq!(rig.log().offsets().log_start_offset, 40, "60 s of records are left, in whole segments");
    rig.kill(1);
    rig.now_ms += 100_000;
    for _ in 0..4 {
        let now_ms = rig.now_ms;
        rig.log().look_over(now_ms, 100);
        rig.maintain();
    }
    let offsets = rig.log().offsets();
    assert_eq!((offsets.log_start_offset, offsets.log_end_offset), (100, 100), "all of them");
    rig.known.high_watermark = 0;
    rig.stored.clear();
    rig.crash(6);
    assert_eq!(rig.log().offsets().log_end_offset, 100, "no offset is given twice");
    let now_ms = rig.now_ms;
    assert_eq!(rig.append(&batch(1, 1000, now_ms, 1)), Ok(100));
    rig.flush_all();
    rig.crash(7);
}

#[test]
fn trimmed_records_are_not_served_and_their_segments_go() {
    let mut rig = long_rig(config());
    rig.log().trim(35);
    assert_eq!(rig.read(34, 100, 10), Err(crate::log::ReadError::OutOfRange));
    rig.check();
    rig.now_ms += 10_000;
    rig.maintain();
    let first = rig.disk_names().into_iter().find(|name| name.ends_with(".log")).expect("there are segments");
    assert_eq!(first, "00000000000000000030.log");
    rig.checkpoint();
    rig.crash(1);
    assert_eq!(rig.log().offsets().log_start_offset, 35);
}

#[test]
fn missing_or_wrong_indexes_only_cost_time_and_are_made_anew() {
    let mut rig = long_rig(config());
    rig.log().start_closing();
    rig.maintain();
    rig.checkpoint();
    let wrong = rig.sim.file_bytes(&rig.path("00000000000000000030.index")).expect("there");
    let mut wrong: Vec<u8> = wrong.chunks(8).flat_map(|entry| [&entry[..7], &[entry[7] ^ 1]].concat()).collect();
    wrong[7] ^= 1;
    rig.log = None;
    rig.sim.set_file_bytes(&rig.path("00000000000000000030.index"), &wrong);
    rig.sim.set_file_bytes(&rig.path("00000000000000000040.index"), b"garbage");
    sim_block_on(&rig.sim, rig.disk.remove(&rig.path("00000000000000000050.timeindex"))).expect("removed");
    sim_block_on(&rig.sim, rig.disk.remove(&rig.path("00000000000000000060.index"))).expect("removed");
    rig.open().expect("it opens");
    for from in [35, 45, 55, 65] {
        rig.check_read(from, 1500);
    }
    rig.maintain();
    for base in [30, 40, 50, 60] {
        let index = rig.sim.file_bytes(&rig.path(&format!("{base:020}.index"))).expect("made anew");
        let entries = OffsetIndex::from_bytes(base, 10_000, &index).expect("valid");
        assert!(entries.iter().all(|entry| entry.position == (entry.offset - base) as u64 * 1000), "{base}");
    }
}

/// Lesson 41.
#[test]
fn an_idle_log_holds_next_to_nothing_and_wakes_up_by_itself() {
    let mut rig = long_rig(LogConfig { tail_cache_bytes: 1 << 20, ..config() });
    for number in 0..100 {
        rig.append(&producer_batch(1, 90, 5, number, (1, 0, i32::from(number)))).expect("appended");
    }
    rig.flush_all();
    rig.maintain();
    assert!(rig.log().memory_bytes() > 40_000);
    rig.now_ms += 60_000;
    let now_ms = rig.now_ms;
    rig.log().look_over(now_ms, 200);
    rig.maintain();
    rig.log().look_over(now_ms, 200);
    let (memory, open) = (rig.log().memory_bytes(), rig.log().open_files());
    assert!(memory < 16_000, "{memory} bytes");
    assert_eq!(open, 0, "no open file");
    assert!(rig.log().maintenance_plan(now_ms).is_none(), "and nothing to do");
    assert_eq!(rig.log().recovery_point(), 200, "a crash would cost nothing");
    rig.append(&batch(1, 5000, 5, 3)).expect("appended");
    rig.flush_all();
    rig.crash(8);
}

/// Lesson 36.
#[test]
fn recovery_reads_no_more_than_what_came_after_the_last_settling() {
    let mut rig = Rig::new(3, LogConfig { segment_bytes: 100 << 20, retention_ms: None, ..LogConfig::default() });
    let big = batch(1, 50_000, 5, 1);
    for _ in 0..100 {
        rig.append(&big).expect("appended");
        rig.flush_all();
        rig.maintain();
    }
    rig.now_ms += 20_000;
    rig.maintain();
    rig.checkpoint();
    for _ in 0..3 {
        rig.append(&big).expect("appended");
        rig.flush_all();
    }
    rig.crash(1);
    assert_eq!(rig.report.batches, 3);
    assert!(rig.report.scanned_bytes <= 5 * 50_000, "{} bytes were read", rig.report.scanned_bytes);
}

#[test]
fn two_readers_of_one_page_share_its_read_and_what_is_ahead_is_there() {
    let mut rig = Rig::new(21, LogConfig { segment_bytes: 4 << 20, ..config() });
    for number in 0..40 {
        rig.append(&batch(1, 50_000, 5, number)).expect("appended");
        rig.flush_all();
    }
    rig.kill(1);
    let (first, second) = (rig.log().read_plan(0, 40, 500_000, true), rig.log().read_plan(2, 40, 500_000, true));
    let both = futures_util::future::join(first.expect("planned").execute(), second.expect("planned").execute());
    let (first, second) = sim_block_on(&rig.sim, both);
    assert_eq!((first.expect("read").next_offset, second.as_ref().expect("read").next_offset), (10, 12));
    let done = second.expect("read");
    assert!(done.ahead.is_none(), "one read is no sequence");
    rig.log().apply_read(&done);
    let next = rig.log().read_plan(12, 40, 500_000, true).expect("planned");
    let done = sim_block_on(&rig.sim, next.execute()).expect("read");
    let ahead = done.ahead.expect("it goes through the log");
    sim_block_on(&rig.sim, ahead.execute());
    rig.sim.fail(crate::disk::Fault::every(crate::disk::FaultOn::Read, "topic-0"));
    rig.check_read(22, 500_000);
}
