//! Spoiling a good input: bits, bytes, lengths, cuts, repeats, and pieces of other inputs.

use rand::{Rng, rngs::SmallRng};

/// Numbers that break what trusts them, as they stand in a message.
const LIES: [&[u8]; 12] = [
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\x7f\xff",
    b"\x80\x00",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
];

/// A copy of `sample`, spoiled in a few places.
pub fn spoiled(sample: &[u8], others: &[Vec<u8>], random: &mut SmallRng) -> Vec<u8> {
    let mut input = sample.to_vec();
    for _ in 0..random.random_range(1..=4) {
        spoil(&mut input, others, random);
    }
    input
}

fn spoil(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut SmallRng) {
    let at = random.random_range(0..=input.len());
    match random.random_range(0..7) {
        0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        1 if at < input.len() => input[at] = random.random(),
        2 | 3 => overwrite(input, at, LIES[random.random_range(0..LIES.len())]),
        4 => input.truncate(at),
        5 => {
            let other = &others[random.random_range(0..others.len())];
            let from = random.random_range(0..=other.len());
            let piece = other[from..(from + random.random_range(0..64)).min(other.len())].to_vec();
            input.splice(at..at, piece);
        }
        _ => {
            let end = (at + random.random_range(0..16)).min(input.len());
            input.drain(at..end);
        }
    }
}

fn overwrite(input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = (at + bytes.len()).min(input.len());
    input.splice(at..end, bytes.iter().copied());
}
