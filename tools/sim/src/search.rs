//! Many seeds, on all processors; each seed is one world on one thread.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, anyhow};

/// Seeds that are run before it is looked whether one has failed.
const STRIDE: usize = 8;

/// Runs `one` for every seed of a range; the seeds that failed, in order, each with its reason. A panic is a failure.
pub fn search(seeds: Range<u64>, one: impl Fn(u64) -> Result<()> + Sync) -> Vec<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let failed = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let verdict = catch_unwind(AssertUnwindSafe(|| one(seed))).unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<String>().map(String::as_str);
                        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                        Err(anyhow!("panic: {}", text.unwrap_or("without a message")))
                    });
                    if let Err(error) = verdict {
                        failed.lock().expect("nobody panics with it").push((seed, format!("{error:#}")));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().expect("nobody panics with it");
    failed.sort_unstable();
    failed
}

/// The first seed that fails, and why. Some seeds beyond it are run too.
pub fn first_failure(seeds: Range<u64>, one: impl Fn(u64) -> Result<()> + Sync) -> Option<(u64, String)> {
    seeds.clone().step_by(STRIDE).find_map(|start| {
        let end = seeds.end.min(start + STRIDE as u64);
        search(start..end, &one).into_iter().next()
    })
}

#[cfg(test)]
mod tests {
    use anyhow::ensure;

    use super::*;

    #[test]
    fn every_seed_runs_once_and_failures_come_in_order() {
        let ran = Mutex::new(Vec::new());
        let failed = search(3..40, |seed| {
            ran.lock().expect("nobody panics with it").push(seed);
            assert!(seed != 20, "seed {seed} panics");
            ensure!(seed % 10 != 0, "a multiple of ten");
            Ok(())
        });
        let mut ran = ran.into_inner().expect("nobody panics with it");
        ran.sort_unstable();
        assert_eq!(ran, (3..40).collect::<Vec<_>>());
        let ten = "a multiple of ten".to_owned();
        assert_eq!(failed, [(10, ten.clone()), (20, "panic: seed 20 panics".into()), (30, ten)]);
    }

    #[test]
    fn the_first_failure_is_the_lowest_seed_that_fails() {
        let fails_from = |first: u64| move |seed| if seed < first { Ok(()) } else { Err(anyhow!("seed {seed}")) };
        assert_eq!(first_failure(1..100, fails_from(21)), Some((21, "seed 21".into())));
        assert_eq!(first_failure(1..100, fails_from(100)), None);
    }
}
