//! What can go wrong with a disk operation.
//!
//! *Which core*: any.
//! *Invariants*: an error names the operation and the path; no space is told apart from damage.
//! *Not here*: what to do about it (design: a failed write takes its log offline, a failed flush ends the process).

use std::path::{Path, PathBuf};

/// What went wrong with which operation on which path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}: {reason}", path = path.display())]
pub struct DiskError {
    /// The operation, as a verb: "write", "flush", "open".
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub reason: DiskErrorReason,
}

/// Why an operation failed, as far as the caller may act on it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DiskErrorReason {
    /// ENOSPC, EDQUOT: nothing is broken, there is no room.
    #[error("no space left")]
    NoSpace,
    /// ENOENT.
    #[error("not found")]
    NotFound,
    /// Anything else; the text is the system's.
    #[error("{0}")]
    Io(String),
}

impl DiskError {
    /// An error of `operation` on `path`.
    pub(super) fn new(operation: &'static str, path: &Path, reason: DiskErrorReason) -> DiskError {
        DiskError { operation, path: path.to_owned(), reason }
    }
    /// As [`DiskError::new`], from the system's error.
    pub(super) fn from_io(operation: &'static str, path: &Path, error: &std::io::Error) -> DiskError {
        DiskError::new(operation, path, DiskErrorReason::from_errno(error.raw_os_error(), error))
    }
}

impl DiskErrorReason {
    /// Sorts an error number; `text` says the rest.
    pub(super) fn from_errno(errno: Option<i32>, text: &dyn std::fmt::Display) -> DiskErrorReason {
        match errno {
            Some(libc::ENOSPC | libc::EDQUOT) => DiskErrorReason::NoSpace,
            Some(libc::ENOENT) => DiskErrorReason::NotFound,
            Some(_) | None => DiskErrorReason::Io(text.to_string()),
        }
    }
}
