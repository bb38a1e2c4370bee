//! Append, flush, read, reopen.

use super::rig::{Rig, batch};
use crate::batch::assign;
use crate::log::{FollowError, LogConfig, OpenError, ReadError};

fn config() -> LogConfig {
    LogConfig { segment_bytes: 64 << 10, tail_cache_bytes: 16 << 10, ..LogConfig::default() }
}

#[test]
fn what_is_appended_is_read_from_memory_before_and_after_the_flush() {
    let mut rig = Rig::new(1, config());
    for n in 0..10 {
        rig.append(&batch(3, 300, 5, n)).expect("appended");
    }
    assert_eq!(rig.log().offsets().log_end_offset, 30);
    assert_eq!(rig.log().offsets().flushed_end_offset, 0);
    rig.check();
    let outcome = rig.flush().expect("there is something to flush");
    assert!(outcome.flush_error.is_none());
    assert_eq!(rig.log().offsets().flushed_end_offset, 30);
    rig.check();
}

#[test]
fn flushed_batches_survive_power_loss_and_others_may_not() {
    for seed in 0..200 {
        let mut rig = Rig::new(seed, config());
        for n in 0..40_u8 {
            rig.append(&batch(2, 61 + usize::from(n) * 37, 5, n)).expect("appended");
            if n % 3 == seed as u8 % 3 {
                rig.flush();
            }
            if n % 5 == seed as u8 % 5 {
                rig.maintain();
            }
        }
        rig.crash(seed);
        rig.append(&batch(1, 100, 5, 9)).expect("appended");
        rig.flush_all();
        rig.crash(seed + 1);
        rig.check();
    }
}

/// A leader that wrote nothing follows one whose last records are older than its own reign.
#[test]
fn a_cut_at_the_end_forgets_an_epoch_that_wrote_nothing() {
    let mut rig = Rig::new(1, config());
    rig.append(&batch(2, 300, 5, 1)).expect("appended");
    rig.flush_all();
    let before = rig.log().epochs().latest().expect("it has a record");
    rig.new_epoch();
    let mut older = batch(1, 300, 5, 2);
    assign(&mut older, 2, before);
    let refused = rig.log().append_as_follower(&older, 0);
    assert!(matches!(refused, Err(FollowError::EpochFell { .. })), "{refused:?}");
    assert!(rig.log().truncate_plan(2, 0).expect("all is flushed").is_none());
    assert_eq!(rig.log().epochs().latest(), Some(before));
    assert_eq!(rig.log().append_as_follower(&older, 0), Ok(3));
}

#[test]
fn a_log_goes_on_over_many_segments_and_restarts() {
    let mut rig = Rig::new(7, config());
    for round in 0..30_u8 {
        for n in 0..20 {
            rig.append(&batch(1, 900, 5, n)).expect("appended");
        }
        rig.flush_all();
        rig.maintain();
        if round % 4 == 0 {
            rig.kill(u64::from(round));
        }
    }
    assert!(rig.disk_names().len() > 5, "it has rolled");
    rig.check();
    for from in [0, 1, 17, 100, 599] {
        let (records, next) = rig.read(from, 600, 1000).expect("read");
        assert_eq!((records.len(), next), (900, from + 1));
    }
}

#[test]
fn a_read_never_goes_beyond_its_limits() {
    let mut rig = Rig::new(3, config());
    for n in 0..100 {
        rig.append(&batch(5, 500, 5, n)).expect("appended");
    }
    rig.flush_all();
    for (from, limit, bytes_max) in [(0, 500, 1), (3, 500, 1200), (0, 14, 1 << 20), (499, 500, 1 << 20), (250, 251, 99)]
    {
        let (records, next) = rig.read(from, limit, bytes_max).expect("read");
        assert!(next <= limit.max(from), "{from} {limit}: {next}");
        assert!(records.len() <= bytes_max.max(500));
    }
    assert_eq!(rig.read(501, 600, 10), Err(ReadError::OutOfRange));
    assert_eq!(rig.read(-1, 600, 10), Err(ReadError::OutOfRange));
    assert_eq!(rig.read(500, 600, 10), Ok((Vec::new(), 500)));
}

#[test]
fn records_below_the_recovery_point_that_are_gone_are_never_cut_silently() {
    let mut rig = Rig::new(4, config());
    for n in 0..10 {
        rig.append(&batch(1, 1000, 5, n)).expect("appended");
        rig.flush();
    }
    let name = rig.path("00000000000000000000.log");
    rig.known.high_watermark = 10;
    rig.log = None;
    rig.sim.flip_bit(&name, 5500, 3);
    let error = rig.try_open().expect_err("a batch is damaged");
    assert!(matches!(error, OpenError::Corrupt { position: 5000, .. }), "{error}");
    rig.known.high_watermark = 5;
    rig.try_open().expect("a torn tail");
    assert_eq!(rig.log().offsets().log_end_offset, 5);
}
