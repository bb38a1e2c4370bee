//! Trust in flushes: once one has failed, none is believed any more.
//!
//! *Which core*: any; it is the process's.
//! *Invariants*: no flush succeeds after another one was seen to fail, whichever file or directory either is of.
//! *Why* here: the device may have dropped what it had cached of any file, and its next flush says nothing of it. Whoever got
//! the error may take it for a trouble of its own file; whoever waits for [`super::Disk::flush_failed`] ends the process.

use std::io;
use std::path::Path;
use std::sync::OnceLock;

/// Why a flush that succeeded is an error.
pub(super) const LOST: &str = "an earlier flush has failed: no later one can be believed";

static FAILURE: OnceLock<String> = OnceLock::new();

/// The outcome of a flush of `path`, or an error if it says success where none can be believed.
pub(super) fn believed(flushed: io::Result<()>, path: &Path) -> io::Result<()> {
    match flushed {
        Ok(()) if failure().is_some() => Err(io::Error::other(LOST)),
        Ok(()) => Ok(()),
        Err(failed) => {
            FAILURE.get_or_init(|| format!("{}: {failed}", path.display()));
            Err(failed)
        }
    }
}

/// The first flush that failed.
pub(super) fn failure() -> Option<&'static str> {
    FAILURE.get().map(String::as_str)
}
