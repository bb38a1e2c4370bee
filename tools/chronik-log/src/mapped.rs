//! A file's bytes.
//!
//! Why a mapping: a segment of a gigabyte is read as far as it is looked at, and the page cache holds it. A file that is cut while it
//! is mapped ends the process; the help says to use copies, or a broker that is stopped.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use memmap2::{Advice, Mmap};

/// A file, mapped for reading.
pub struct Mapped(Option<Mmap>);

impl Mapped {
    /// Maps it.
    pub fn open(path: &Path) -> Result<Mapped> {
        let what = || format!("cannot read {}", path.display());
        let file = File::open(path).with_context(what)?;
        // An empty file cannot be mapped.
        if file.metadata().with_context(what)?.len() == 0 {
            return Ok(Mapped(None));
        }
        // SAFETY: the mapping is for reading, and its bytes are only ever taken as bytes. Whoever changes the file meanwhile gets
        // a report on a mixture.
        let mapped = unsafe { Mmap::map(&file) }.with_context(what)?;
        // Only a hint.
        let _unheard = mapped.advise(Advice::Sequential);
        Ok(Mapped(Some(mapped)))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
