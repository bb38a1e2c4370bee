//! The values that records carry: text-like bytes, and in the first bytes, where it is asked for, who the record is.
//!
//! Invariants: a value is a function of (seed, sizes, its identity) alone, so that a reader can tell the value it ought to find.
//! Why: text compresses about as logs do; random bytes would make every codec look useless, zeros make it look magical.

use bytes::Buf;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::options::SizeRange;

/// Bytes of an identity at the start of a value.
pub const IDENTITY_BYTES: usize = 28;
/// Text that bodies are cut from, beyond the largest body.
const TEXT_BYTES: usize = 256 << 10;
/// Distinct bodies of a run whose client does not ask for another number.
pub const BODIES_DEFAULT: usize = 1024;

const WORDS: [&str; 32] = [
    "GET ",
    "POST ",
    "/api/v1/",
    "orders/",
    "items/",
    "status=",
    "200 ",
    "404 ",
    "503 ",
    "user=",
    "alice ",
    "bob ",
    "carol ",
    "latency_ms=",
    "region=",
    "eu-west ",
    "us-east ",
    "retry ",
    "timeout ",
    "ok ",
    "cart ",
    "payment ",
    "session=",
    "trace=",
    "bytes=",
    "cache ",
    "hit ",
    "miss ",
    "queue ",
    "worker-",
    "shard-",
    "node-",
];

/// Who a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The run that sent it, so that an older run's records are not taken for ours.
    pub run: u32,
    /// The partition it was sent to.
    pub partition: u32,
    /// The ordered stream it was sent on: one producer, or one raw connection.
    pub lane: u32,
    /// Its number in (lane, partition), from 0.
    pub sequence: u64,
    /// When it was due, by [`crate::clock`].
    pub due_ns: u64,
}

impl Identity {
    /// Writes itself over the first bytes of a value.
    ///
    /// # Panics
    /// When the value is shorter than [`IDENTITY_BYTES`], which the options refuse.
    pub fn write(&self, value: &mut [u8]) {
        value[0..4].copy_from_slice(&self.run.to_be_bytes());
        value[4..8].copy_from_slice(&self.partition.to_be_bytes());
        value[8..12].copy_from_slice(&self.lane.to_be_bytes());
        value[12..20].copy_from_slice(&self.sequence.to_be_bytes());
        value[20..28].copy_from_slice(&self.due_ns.to_be_bytes());
    }

    /// The identity in a value, if that is long enough to hold one.
    pub fn read(mut value: &[u8]) -> Option<Self> {
        (value.len() >= IDENTITY_BYTES).then(|| Self {
            run: value.get_u32(),
            partition: value.get_u32(),
            lane: value.get_u32(),
            sequence: value.get_u64(),
            due_ns: value.get_u64(),
        })
    }
}

/// All values of a run.
#[derive(Clone)]
pub struct Payloads {
    text: Vec<u8>,
    bodies: Vec<(u32, u32)>,
    marked: bool,
}

impl Payloads {
    /// `bodies` distinct bodies; `marked` values carry an identity.
    pub fn new(seed: u64, sizes: SizeRange, bodies: usize, marked: bool) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut text = Vec::with_capacity(TEXT_BYTES + sizes.max as usize + 32);
        while text.len() < TEXT_BYTES + sizes.max as usize {
            text.extend_from_slice(WORDS[random.random_range(0..WORDS.len())].as_bytes());
            if random.random_ratio(1, 3) {
                text.extend_from_slice(format!("{:x} ", random.random::<u32>()).as_bytes());
            }
        }
        let body = |_| (random.random_range(0..TEXT_BYTES as u32), random.random_range(sizes.min..=sizes.max));
        let bodies = (0..bodies.max(1)).map(body).collect();
        Self { text, bodies, marked }
    }

    /// The body of the record with this number, without an identity.
    pub fn body(&self, sequence: u64) -> &[u8] {
        let (start, length) = self.bodies[(sequence % self.bodies.len() as u64) as usize];
        &self.text[start as usize..start as usize + length as usize]
    }

    /// Puts the whole value of a record into `value`.
    pub fn fill(&self, identity: &Identity, value: &mut Vec<u8>) {
        value.clear();
        value.extend_from_slice(self.body(identity.sequence));
        if self.marked {
            identity.write(value);
        }
    }

    /// Whether a value is, byte for byte, the one that a record with this identity carries.
    pub fn is_intact(&self, identity: &Identity, value: &[u8]) -> bool {
        let body = self.body(identity.sequence);
        value.len() == body.len() && value[IDENTITY_BYTES..] == body[IDENTITY_BYTES..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Identity = Identity { run: 7, partition: 3, lane: 2, sequence: 12345, due_ns: 99 };

    #[test]
    fn a_value_says_who_it_is_and_shows_any_changed_byte() {
        let payloads = Payloads::new(1, SizeRange { min: 40, max: 90 }, 64, true);
        let mut value = Vec::new();
        payloads.fill(&WHO, &mut value);
        assert_eq!(Identity::read(&value), Some(WHO));
        assert!(payloads.is_intact(&WHO, &value));
        for at in IDENTITY_BYTES..value.len() {
            let mut damaged = value.clone();
            damaged[at] ^= 1;
            assert!(!payloads.is_intact(&WHO, &damaged));
        }
        assert!(!payloads.is_intact(&WHO, &value[..value.len() - 1]));
        assert_eq!(Identity::read(&value[..IDENTITY_BYTES - 1]), None);
    }

    #[test]
    fn sizes_fill_the_range_and_the_seed_decides_everything() {
        let range = SizeRange { min: 10, max: 20 };
        let (one, same, other) = (
            Payloads::new(1, range, 512, false),
            Payloads::new(1, range, 512, false),
            Payloads::new(2, range, 512, false),
        );
        let sizes: std::collections::BTreeSet<usize> = (0..512).map(|n| one.body(n).len()).collect();
        assert_eq!(sizes, (10..=20).collect());
        assert!((0..512).all(|n| one.body(n) == same.body(n)));
        assert!((0..512).any(|n| one.body(n) != other.body(n)));
        assert_eq!(one.body(3), one.body(515));
    }
}
