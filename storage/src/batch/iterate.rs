//! The batches of a piece of log, one after the other.

use super::{BatchError, BatchHeader, validate};

/// Bytes that are no batch, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no batch at byte {position}: {error}")]
pub struct BadBatch {
    /// Where it should begin, from the start of the bytes given.
    pub position: usize,
    /// What is wrong with it.
    pub error: BatchError,
}

/// Iterates over batches back to back; see [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    is_over: bool,
}

/// The batches in `bytes`, each checked whole ([`validate`]). Ends with the bytes, or with the first that are no batch.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, position: 0, is_over: false }
}

impl Batches<'_> {
    /// Where the next batch begins, from the start of the bytes given.
    pub fn position(&self) -> usize {
        self.position
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BadBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.position..];
        if self.is_over || rest.is_empty() {
            return None;
        }
        match validate(rest) {
            Ok(header) => {
                self.position += header.batch_bytes;
                Some(Ok((header, &rest[..header.batch_bytes])))
            }
            Err(error) => {
                self.is_over = true;
                Some(Err(BadBatch { position: self.position, error }))
            }
        }
    }
}
