//! The simulator finds what it is for, and the same thing each time.

use super::*;

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in 1..5 {
        let (first, second) = (run(seed, None, Bugs::default()), run(seed, None, Bugs::default()));
        assert_eq!(first.0, second.0);
        assert!(first.0.trace.contains("at offset"), "nothing was produced");
    }
}
