//! The raft log: entries, votes and snapshots of the metadata group, on disk and (its tail) in memory.
//!
//! *Which core*: metadata.
//! *Invariants*: what raft was told is persisted was flushed before; a record is one `Ready`'s entries and hard state
//! together, so a vote and the entries it goes with are there both or not at all; one write is in flight, and the next begins
//! after its flush; what follows the last record is zeros. State that contradicts itself is refused, with path and position.
//! *Not here*: when to write what (`node`), what entries mean (`change`, `image`).
//! *Why* a log of its own: metadata commits are one small write and one flush onto prewritten space; and raft's own types,
//! whose codec a crafted message can crash (RUSTSEC-2024-0437), never meet a byte from outside: they are converted to and
//! from the messages in `record`.
//!
//! ```text
//! <dir>/raft.log                records from byte 0, then zeros
//! <dir>/raft.log.new            the next raft.log, until it is renamed
//! <dir>/snapshot-<index, 20 digits>
//!
//! record, aligned to 32 bytes so that its header lies in one sector (integers little-endian)
//!  0 magic u32         8 number u64, from 0      24 CRC-32C of the payload u32
//!  4 payload bytes u32 16 write u64, from 1;     28 CRC-32C of bytes 0..28 u32
//!                         bit 63: its last       32 payload (prost), zeros to the next multiple of 32
//! ```
//! The first record names the voter and the entry before the first (see [`record::LogStart`]). Records that went to disk in
//! one write carry its number, the last of them marked. So a torn write can be told from corruption: nothing of a later
//! write follows it, and a sector of it is still zeros.

use std::path::{Path, PathBuf};

use storage::disk::DiskError;
use uuid::Uuid;

use super::image::ImageError;
use crate::model::BrokerId;

pub mod open;
pub mod record;
mod scan;
pub mod snapshot;
pub mod tail;
pub mod wal;

#[cfg(test)]
mod tests;

/// A record's payload at most, in bytes: what raft lets wait uncommitted, twice over.
pub const RECORD_BYTES_MAX: usize = 48 << 20;

/// Who this node is. It may change neither: another directory is another voter (KIP-853).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster it belongs to.
    pub cluster_id: String,
    /// The broker.
    pub node_id: BrokerId,
    /// Its data directory.
    pub directory_id: Uuid,
}

/// Why the raft log cannot be opened. Each names what it is about; none is ever repaired by itself.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk says no.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were flushed are not what they were.
    #[error("{path} is corrupt at byte {position}: {reason}", path = path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// How.
        reason: String,
    },
    /// What is there contradicts itself, or something that must be there is missing.
    #[error("raft state in {dir} is inconsistent: {reason}", dir = dir.display())]
    Inconsistent {
        /// The directory.
        dir: PathBuf,
        /// How.
        reason: String,
    },
    /// It belongs to somebody else.
    #[error("{dir} belongs to {found:?}, not to {expected:?}", dir = dir.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: Box<Identity>,
        /// Who asks.
        expected: Box<Identity>,
    },
    /// A snapshot holds no image that this build can read.
    #[error("{path}: {source}", path = path.display())]
    Image {
        /// The snapshot.
        path: PathBuf,
        /// Why not.
        source: ImageError,
    },
    /// There is nothing there, and nobody said to begin.
    #[error("{dir} holds no raft state, and this node was not told to bootstrap", dir = dir.display())]
    Empty {
        /// The directory.
        dir: PathBuf,
    },
}

impl OpenError {
    fn corrupt(path: &Path, position: u64, reason: impl Into<String>) -> OpenError {
        OpenError::Corrupt { path: path.to_owned(), position, reason: reason.into() }
    }

    fn inconsistent(dir: &Path, reason: impl Into<String>) -> OpenError {
        OpenError::Inconsistent { dir: dir.to_owned(), reason: reason.into() }
    }
}
