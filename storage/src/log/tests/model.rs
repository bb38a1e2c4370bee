//! Any sequence of what can be done to a log, with power cuts in between: what was acknowledged is there, byte for byte.

use super::rig::{Rig, producer_batch};
use crate::disk::{SimDisk, SimDiskOptions, sim_block_on};
use crate::log::{Bugs, LogConfig};
use crate::turn;
use futures_util::future::join;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[derive(Clone, Debug)]
enum Op {
    Append {
        count: u8,
        bytes: u16,
        producer: u8,
    },
    Flush,
    /// A flush and a step of maintenance side by side, appends while both run.
    Together {
        appends: u8,
    },
    Maintain,
    Checkpoint,
    Crash {
        seed: u64,
    },
    /// Power goes while a flush and a step of maintenance are under way.
    CrashAmid {
        seed: u64,
        events: u8,
    },
    Kill {
        seed: u64,
    },
    Reopen,
    Trim {
        percent: u8,
    },
    Truncate {
        percent: u8,
    },
    TruncateAndCrash {
        percent: u8,
        seed: u64,
        events: u8,
    },
    NewEpoch,
    LookOver {
        ms: u32,
    },
    Read {
        percent: u8,
        bytes: u16,
    },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (1..5_u8, 70..3000_u16, 0..4_u8).prop_map(|(count, bytes, producer)| Op::Append { count, bytes, producer }),
        8 => Just(Op::Flush),
        4 => (0..4_u8).prop_map(|appends| Op::Together { appends }),
        4 => Just(Op::Maintain),
        2 => Just(Op::Checkpoint),
        1 => any::<u64>().prop_map(|seed| Op::Crash { seed }),
        2 => (any::<u64>(), 0..12_u8).prop_map(|(seed, events)| Op::CrashAmid { seed, events }),
        1 => any::<u64>().prop_map(|seed| Op::Kill { seed }),
        1 => Just(Op::Reopen),
        1 => (0..=100_u8).prop_map(|percent| Op::Trim { percent }),
        1 => (0..=100_u8).prop_map(|percent| Op::Truncate { percent }),
        1 => (0..=100_u8, any::<u64>(), 0..20_u8)
            .prop_map(|(percent, seed, events)| Op::TruncateAndCrash { percent, seed, events }),
        1 => Just(Op::NewEpoch),
        1 => (0..20_000_u32).prop_map(|ms| Op::LookOver { ms }),
        3 => (0..=100_u8, 100..20_000_u16).prop_map(|(percent, bytes)| Op::Read { percent, bytes }),
    ]
}

/// Runs a future for so many events of the disk.
pub(super) fn run_events<T>(sim: &SimDisk, future: impl Future<Output = T>, events: u8) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..=events {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
        sim.run_due(sim.next_due()?);
    }
    None
}

impl Rig {
    fn between(&mut self, percent: u8, from: i64, to: i64) -> i64 {
        from + (to - from) * i64::from(percent) / 100
    }
    fn append_some(&mut self, count: u8, bytes: u16, producer: u8, fill: u8) {
        let sequence = self.next_sequence(producer);
        let id = if producer == 0 { (-1, -1, -1) } else { (i64::from(producer), 0, sequence) };
        let max_timestamp = self.now_ms;
        self.append(&producer_batch(i32::from(count), usize::from(bytes), max_timestamp, fill, id)).expect("appended");
    }
    /// The turn's and a step's work, not yet begun.
    fn together(
        &mut self,
    ) -> impl Future<Output = (Option<turn::TurnOutcome>, Option<crate::log::MaintenanceDone>)> + use<> {
        let now_ms = self.now_ms;
        let flush = self.log().flush_plan(now_ms);
        let maintenance = self.log().maintenance_plan(now_ms);
        let barrier = self.barrier.clone().expect("the log is open");
        let flushing = async move {
            match flush {
                Some(plan) => Some(turn::flush(&barrier, vec![plan]).await),
                None => None,
            }
        };
        let maintaining = async move {
            match maintenance {
                Some(plan) => Some(plan.execute().await),
                None => None,
            }
        };
        join(flushing, maintaining)
    }
    fn truncate_amid(&mut self, percent: u8, crash: Option<(u64, u8)>) {
        self.flush_all();
        let offsets = self.log().offsets();
        let to = self.between(percent, offsets.log_start_offset, offsets.log_end_offset);
        let now_ms = self.now_ms;
        let Some(plan) = self.log().truncate_plan(to, now_ms).expect("nothing is in flight") else { return };
        let below = self.stored.iter().take_while(|stored| stored.end_offset <= to);
        let cut = below.last().map_or(0, |last| last.end_offset);
        // The high watermark lies at the end of a batch, and is never above a cut.
        self.acknowledged_end = self.acknowledged_end.min(cut);
        self.checkpoint();
        match crash {
            None => {
                let done = sim_block_on(&self.sim, plan.execute());
                let end = self.log().apply_truncate(done).expect("the disk works");
                assert!(end <= to);
                self.stored.retain(|stored| stored.end_offset <= end);
                assert_eq!(
                    self.stored.last().map_or(end, |last| last.end_offset),
                    end,
                    "cut at a batch, and not too low"
                );
                self.acknowledged_end = end;
                self.note_change(crate::epoch_journal::EpochChange::Cut { end_offset: end });
                self.check();
            }
            Some((seed, events)) => {
                let sim = self.sim.clone();
                run_events(&sim, plan.execute(), events);
                self.acknowledged_end = self.acknowledged_end.min(cut);
                self.crash(seed);
            }
        }
    }
    fn apply(&mut self, op: Op, number: usize) {
        let fill = number as u8;
        self.now_ms += 7;
        match op {
            Op::Append { count, bytes, producer } => self.append_some(count, bytes, producer, fill),
            Op::Flush => drop(self.flush()),
            Op::Together { appends } => {
                let work = self.together();
                for _ in 0..appends {
                    self.append_some(2, 900, 1, fill);
                }
                let (flushed, maintained) = sim_block_on(&self.sim, work);
                if let Some(mut outcome) = flushed {
                    let outcome = outcome.logs.pop().expect("one log, one outcome");
                    self.acknowledged_end = self.log().apply_flush(outcome).expect("the disk works");
                }
                if let Some(done) = maintained {
                    self.log().apply_maintenance(done).expect("the disk works");
                }
            }
            Op::Maintain => self.maintain(),
            Op::Checkpoint => self.checkpoint(),
            Op::Crash { seed } => self.crash(seed),
            Op::CrashAmid { seed, events } => {
                let work = self.together();
                let sim = self.sim.clone();
                run_events(&sim, work, events);
                self.crash(seed);
            }
            Op::Kill { seed } => self.kill(seed),
            Op::Reopen => {
                self.flush_all();
                self.log().start_closing();
                self.maintain();
                let offsets = self.log().offsets();
                assert_eq!(self.log().recovery_point(), offsets.log_end_offset, "a closed log is settled");
                self.checkpoint();
                self.kill(1);
                assert_eq!(self.report.batches, 0, "nothing is above the recovery point");
            }
            Op::Trim { percent } => {
                let offsets = self.log().offsets();
                let to = self.between(percent, offsets.log_start_offset, self.acknowledged_end);
                self.log().trim(to.max(offsets.log_start_offset));
                self.checkpoint();
            }
            Op::Truncate { percent } => self.truncate_amid(percent, None),
            Op::TruncateAndCrash { percent, seed, events } => self.truncate_amid(percent, Some((seed, events))),
            Op::NewEpoch => self.new_epoch(),
            Op::LookOver { ms } => {
                self.now_ms += i64::from(ms);
                let (now_ms, high_watermark) = (self.now_ms, self.acknowledged_end);
                self.log().look_over(now_ms, high_watermark);
            }
            Op::Read { percent, bytes } => {
                let offsets = self.log().offsets();
                let from = self.between(percent, offsets.log_start_offset, offsets.log_end_offset);
                self.check_read(from, usize::from(bytes));
            }
        }
    }
}

/// A log of tiny segments, on such a disk, through all of `ops` and a last power cut.
fn run(seed: u64, options: SimDiskOptions, config: LogConfig, ops: Vec<Op>) {
    let mut rig = Rig::on(SimDisk::new(seed, options), config);
    for (number, op) in ops.into_iter().enumerate() {
        rig.apply(op, number);
    }
    rig.check();
    rig.crash(seed);
    rig.check();
}

fn config(retention_bytes: Option<u64>) -> LogConfig {
    LogConfig {
        segment_bytes: 12_000,
        tail_cache_bytes: 8_000,
        retention_bytes,
        retention_ms: Some(60_000),
        index_interval_bytes: 1_000,
        max_batch_bytes: 4_000,
        ..LogConfig::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 3000, ..ProptestConfig::default() })]
    #[test]
    fn what_was_acknowledged_is_there_whatever_happens(
        seed in any::<u64>(),
        sector_bytes in prop_oneof![Just(512_usize), Just(4096)],
        barrier_holds in prop_oneof![3 => Just(true), 1 => Just(false)],
        retention_bytes in prop_oneof![2 => Just(None), 1 => Just(Some(40_000))],
        ops in prop::collection::vec(op(), 1..120),
    ) {
        run(seed, SimDiskOptions { sector_bytes, barrier_holds, ..SimDiskOptions::default() }, config(retention_bytes), ops);
    }
}

/// How many runs it takes to find a fault.
fn runs_until_found(options: &SimDiskOptions, bugs: Bugs) -> Option<u64> {
    let mut runner = TestRunner::deterministic();
    let ops = prop::collection::vec(op(), 1..120);
    (0..500).find(|seed| {
        let ops = ops.new_tree(&mut runner).expect("a strategy without filters").current();
        let (options, config) = (options.clone(), LogConfig { bugs, ..config(None) });
        catch_unwind(AssertUnwindSafe(|| run(*seed, options, config, ops))).is_err()
    })
}

#[test]
fn the_model_finds_every_deliberate_fault() {
    let healthy = SimDiskOptions::default();
    let faults = [
        (healthy.clone(), Bugs { keep_tail_on_truncation: true, ..Bugs::default() }),
        (healthy.clone(), Bugs { acknowledge_early: true, ..Bugs::default() }),
        (healthy.clone(), Bugs { forget_producers: true, ..Bugs::default() }),
        (SimDiskOptions { bug_skip_flush: true, ..healthy.clone() }, Bugs::default()),
        (SimDiskOptions { bug_forget_barrier: true, ..healthy.clone() }, Bugs::default()),
    ];
    for (options, bugs) in faults {
        let runs = runs_until_found(&options, bugs);
        println!(
            "found after {runs:?} runs: {bugs:?} skip {} forget {}",
            options.bug_skip_flush, options.bug_forget_barrier
        );
        assert!(runs.is_some(), "{bugs:?}, {options:?}");
    }
    assert_eq!(runs_until_found(&healthy, Bugs::default()), None, "and no other");
}
