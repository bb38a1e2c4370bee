//! The house rules that no compiler checks.
//!
//! Owns: walking the tree, and the report. The rules live beside: `floors` (who may use whom), `words` (what may not be named where).
//! Invariants: a finding is an error, a notice is not; both name file and line.
//! Why: a rule that is only written down is broken within a month.

mod floors;
mod source;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use source::Source;

use crate::workspace;

/// Longer files are noticed.
const LINES_NOTICED: usize = 450;

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: PathBuf,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: &Path, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.to_path_buf(), line, what: what.into() }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Checks the whole working tree.
pub fn run() -> Result<()> {
    let files = workspace::files()?;
    let mut findings = Vec::new();
    let mut sources = Vec::new();
    for file in &files {
        let bytes = fs::read(workspace::root().join(file)).with_context(|| file.display().to_string())?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(words::in_any_text(file, &text));
        if file.extension().is_some_and(|extension| extension == "rs") {
            sources.push(Source::new(file, &text));
        }
        if file.file_name().is_some_and(|name| name == "Cargo.toml") {
            findings.extend(floors::in_manifest(file, &text));
        }
    }
    source::mark_test_files(&mut sources);
    for source in &sources {
        findings.extend(words::in_source(source));
        findings.extend(floors::in_source(source));
        let lines = source.text.lines().count();
        if lines > LINES_NOTICED {
            println!("notice: {} has {lines} lines", source.file.display());
        }
    }
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings in {} files", findings.len(), files.len());
    println!("{} files in order", files.len());
    Ok(())
}
