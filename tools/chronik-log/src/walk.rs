//! Batch by batch through a segment, up to its end or the first that is bad. Pure.
//!
//! Invariants: every batch that comes out is whole, its checksum right, its offset the one that comes next, its epoch not below the one
//! before it. Nothing comes after a bad one.

use storage::batch::{BatchError, BatchHeader, CRC_START, LENGTH_PREFIX_BYTES, batches, validate};
use storage::ids::LeaderEpoch;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No batch at all.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A batch that should not be here.
    #[error("the batch begins at offset {found}, {expected} comes next")]
    Offset {
        /// Where it says that it begins.
        found: i64,
        /// Where it should.
        expected: i64,
    },
    /// Appended by a leader that was deposed before.
    #[error("the batch has leader epoch {found}, the one before it has {before}")]
    Epoch {
        /// The batch's.
        found: i32,
        /// The one before it.
        before: i32,
    },
    /// Zeros end a log; nothing follows them.
    #[error("the log ends in zeros at byte {zeros_from}, but here is something else")]
    AfterZeros {
        /// Where they begin.
        zeros_from: usize,
    },
}

/// The first thing in a segment that is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bad {
    /// Where the batch begins that is bad, or that should be here.
    pub batch_position: usize,
    /// The first byte that is bad, as far as that can be known: of a wrong checksum, the first that it covers.
    pub position: usize,
    /// What is wrong with it.
    pub fault: Fault,
    /// The first good batch further on that this log may have held, and its offset: it shows how much is lost.
    pub next_good: Option<(usize, i64)>,
}

/// What comes next in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A batch.
    Batch {
        /// Where it begins.
        position: usize,
        /// Its header.
        header: BatchHeader,
        /// All of it.
        bytes: &'a [u8],
    },
    /// The end: the file's, or zeros up to there.
    End {
        /// Where the next batch would go.
        position: usize,
        /// How many zeros there are.
        zeros: usize,
    },
    /// Something bad.
    Bad(Bad),
}

/// A walk through the bytes of one segment.
pub struct Walk<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The offset that comes next; `None`: whatever comes.
    pub expected: Option<i64>,
    /// The epoch of the batch before.
    pub epoch: Option<LeaderEpoch>,
    is_over: bool,
}

impl<'a> Walk<'a> {
    /// Through `bytes`, where `expected` comes first, after a batch of `epoch`.
    pub fn new(bytes: &'a [u8], expected: Option<i64>, epoch: Option<LeaderEpoch>) -> Walk<'a> {
        Walk { bytes, position: 0, expected, epoch, is_over: false }
    }

    fn stop(&self, error: BatchError) -> Step<'a> {
        let rest = &self.bytes[self.position..];
        let Some(first) = rest.iter().position(|byte| *byte != 0) else {
            return Step::End { position: self.position, zeros: rest.len() };
        };
        // No header begins with so many: they would be its length, too.
        if first >= LENGTH_PREFIX_BYTES {
            return self.bad(first, Fault::AfterZeros { zeros_from: self.position });
        }
        let mut bad = self.found_bad(rest.len(), Fault::Batch(error));
        let at = match error {
            // A good batch further on: nothing was cut, the length is wrong.
            BatchError::Truncated { .. } if bad.next_good.is_some() => 8,
            BatchError::Truncated { .. } => rest.len(),
            BatchError::Length(_) => 8,
            BatchError::Magic(_) => 16,
            BatchError::Codec(_) => 22,
            BatchError::Count { .. } => 57,
            BatchError::Crc { .. } => CRC_START,
        };
        bad.position = self.position + at;
        Step::Bad(bad)
    }

    fn found_bad(&self, at: usize, fault: Fault) -> Bad {
        let next_good = next_good(self.bytes, self.position, self.expected);
        Bad { batch_position: self.position, position: self.position + at, fault, next_good }
    }

    fn bad(&self, at: usize, fault: Fault) -> Step<'a> {
        Step::Bad(self.found_bad(at, fault))
    }

    fn misplaced(&self, header: &BatchHeader) -> Option<(usize, Fault)> {
        let found = header.base_offset;
        if let Some(expected) = self.expected.filter(|expected| *expected != found) {
            return Some((0, Fault::Offset { found, expected }));
        }
        let (found, before) = (header.leader_epoch.0, self.epoch.map_or(-1, |epoch| epoch.0));
        (found < before).then_some((12, Fault::Epoch { found, before }))
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        if self.is_over {
            return None;
        }
        let position = self.position;
        let step = match batches(&self.bytes[position..]).next() {
            None => Step::End { position, zeros: 0 },
            Some(Err(bad)) => self.stop(bad.error),
            Some(Ok((header, bytes))) => match self.misplaced(&header) {
                Some((at, fault)) => self.bad(at, fault),
                None => {
                    self.position += bytes.len();
                    (self.expected, self.epoch) = (Some(header.end_offset()), Some(header.leader_epoch));
                    return Some(Step::Batch { position, header, bytes });
                }
            },
        };
        self.is_over = true;
        Some(step)
    }
}

fn next_good(bytes: &[u8], position: usize, expected: Option<i64>) -> Option<(usize, i64)> {
    let after = position + 1;
    let magics = bytes.get(after + 16..)?.iter().enumerate().filter(|(_, byte)| **byte == 2);
    magics.map(|(index, _)| after + index).find_map(|start| {
        let header = BatchHeader::parse(&bytes[start..]).ok()?;
        // Before its checksum, which costs: nearly all that looks like a magic byte is none.
        let is_plausible = header.base_offset >= expected.unwrap_or(0) && header.batch_bytes <= bytes.len() - start;
        (is_plausible && validate(&bytes[start..]).is_ok()).then_some((start, header.base_offset))
    })
}
