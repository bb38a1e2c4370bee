//! raft's log messages, handed to ours.
//!
//! *Which core*: metadata. *Invariants*: warnings and worse stay warnings, everything else is `debug`.

use std::fmt::Write as _;

use slog::{Drain, KV, Level, Logger, Never, OwnedKVList, Record, Serializer, o};

struct Bridge;

struct Pairs(String);

impl Serializer for Pairs {
    fn emit_arguments(&mut self, key: slog::Key, value: &std::fmt::Arguments<'_>) -> slog::Result {
        Ok(write!(self.0, " {key}={value}")?)
    }
}

impl Drain for Bridge {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        let quiet = record.level() > Level::Warning;
        if quiet && !tracing::enabled!(tracing::Level::DEBUG) {
            return Ok(());
        }
        let mut pairs = Pairs(String::new());
        // Writing into a string does not fail.
        let _ = record.kv().serialize(record, &mut pairs).and_then(|()| values.serialize(record, &mut pairs));
        if quiet {
            tracing::debug!("raft: {}{}", record.msg(), pairs.0);
        } else {
            tracing::warn!("raft: {}{}", record.msg(), pairs.0);
        }
        Ok(())
    }
}

/// The logger that raft wants.
pub(super) fn bridge() -> Logger {
    Logger::root(Bridge, o!())
}
