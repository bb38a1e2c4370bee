//! Trust in flushes: once one has failed, none is believed any more.
//!
//! *Which core*: any; it is the process's.
//! *Invariants*: no flush succeeds after another one was seen to fail, whichever file or directory either is of.
//! *Why* here: the device may have dropped what it had cached of any file, and its next flush says nothing of it. Whoever got
//! the error may take it for a trouble of its own file; whoever flushes next ends the process.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a flush that succeeded is an error.
pub(super) const LOST: &str = "an earlier flush has failed: no later one can be believed";

static IS_LOST: AtomicBool = AtomicBool::new(false);

/// A flush's outcome, or an error made by `error` if it says success where none can be believed.
pub(super) fn believed<E>(flushed: Result<(), E>, error: impl FnOnce(io::Error) -> E) -> Result<(), E> {
    match flushed {
        Ok(()) if IS_LOST.load(Ordering::SeqCst) => Err(error(io::Error::other(LOST))),
        Ok(()) => Ok(()),
        Err(failed) => {
            IS_LOST.store(true, Ordering::SeqCst);
            Err(failed)
        }
    }
}
