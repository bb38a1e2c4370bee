//! A cluster's runs are the same each time.

use super::*;

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 1..4 {
        let (first, second) = (run(seed, None, Bugs::default()), run(seed, None, Bugs::default()));
        assert!(first.0 == second.0, "seed {seed}");
        assert!(first.0.trace.contains("at offset"), "seed {seed}: nothing was produced");
    }
}
