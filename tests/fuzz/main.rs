//! Whatever bytes come in, a decoder gives a value or an error: no panic, no memory that the bytes do not account for.
//!
//! Owns: a mutating fuzzer that runs on stable, and its targets, each a test named `fuzz_*`.
//! Invariants: an input is reproduced by its seed, which a failure prints; a target runs for `CHRONIK_FUZZ_MS` (a moment by default,
//! a minute for all in `cargo xtask ci`, any time by `cargo xtask fuzz --seconds N`).
//! Not here: whole requests over sockets (tests/black_box/wire); batches and files (storage/tests).
//! Why not coverage-guided: that wants a nightly compiler. Structure comes from good inputs that are spoiled a little.

mod memory;
mod mutate;
mod peers;
mod requests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// What a decoder may take for an input of so many bytes, beyond what it takes for the least.
const BYTES_FOR_EACH: usize = 512;
const BYTES_AT_LEAST: usize = 256 << 10;

/// Feeds `decode` with spoiled copies of `samples` until the time is up.
fn run(samples: &[Vec<u8>], decode: impl Fn(&[u8])) {
    let time = Duration::from_millis(from_environment("CHRONIK_FUZZ_MS").unwrap_or(100));
    let once = from_environment("CHRONIK_FUZZ_SEED");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let first = once.unwrap_or(u64::try_from(now).expect("before the year 2554"));
    let deadline = Instant::now() + time;
    let mut inputs = 0_u64;
    while inputs == 0 || (once.is_none() && Instant::now() < deadline) {
        let seed = first.wrapping_add(inputs);
        let mut random = SmallRng::seed_from_u64(seed);
        let sample = &samples[random.random_range(0..samples.len())];
        let input = mutate::spoiled(sample, samples, &mut random);
        if once.is_some() {
            println!("{}", hex(&input));
        }
        check(&input, seed, &decode);
        inputs += 1;
    }
    println!("{inputs} inputs");
}

fn check(input: &[u8], seed: u64, decode: &impl Fn(&[u8])) {
    let again = || format!("again by CHRONIK_FUZZ_SEED={seed}; the input: {}", hex(input));
    memory::working_on(seed);
    let (outcome, taken) = memory::peak_of(|| catch_unwind(AssertUnwindSafe(|| decode(input))));
    assert!(outcome.is_ok(), "{}", again());
    let allowed = BYTES_AT_LEAST + input.len() * BYTES_FOR_EACH;
    assert!(taken <= allowed, "{taken} bytes taken for an input of {}; {}", input.len(), again());
}

fn from_environment(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
