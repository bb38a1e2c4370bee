//! What happened in a simulated run, as text: the same for the same seed, byte for byte.
//!
//! *Invariants*: lines in the order of events. The digest covers all of them, the text only the last [`LINES_MAX`].

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::{self, Display, Write};
use std::rc::Rc;

/// Lines that are kept.
const LINES_MAX: usize = 200_000;

/// A run's log. Cheap to clone; every clone is the same log.
#[derive(Clone, Default)]
pub struct Trace(Rc<RefCell<Lines>>);

#[derive(Default)]
struct Lines {
    kept: VecDeque<String>,
    digest: u64,
}

impl Trace {
    /// Adds a line: when (ns of virtual time), who, what.
    pub fn log(&self, now_ns: u64, who: &str, what: fmt::Arguments<'_>) {
        let mut line = String::new();
        write!(line, "{:>6}.{:09} {who:<10} {what}", now_ns / 1_000_000_000, now_ns % 1_000_000_000)
            .expect("writing to a string never fails");
        let lines = &mut *self.0.borrow_mut();
        for byte in line.bytes().chain([b'\n']) {
            // FNV-1a.
            lines.digest = (lines.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if lines.kept.len() == LINES_MAX {
            lines.kept.pop_front();
        }
        lines.kept.push_back(line);
    }

    /// Of all lines.
    pub fn digest(&self) -> u64 {
        self.0.borrow().digest
    }
}

impl Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.borrow().kept.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
