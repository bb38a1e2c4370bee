//! What was measured, kept: one line of JSON for each run, in bench-results/.
//!
//! Invariants: a line names the commit it measured, and that commit is what ran: nothing is stored from a tree with changes.
//! Not here: measuring.

use std::fs::{self, File};
use std::io::Write;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::command::{command, output};
use crate::workspace;

/// Whether every file is as committed. What runs add to bench-results/ does not count.
pub fn tree_is_clean() -> Result<bool> {
    let changed = output(&mut command("git", ["status", "--porcelain", "--", ".", ":!bench-results"]))?;
    Ok(changed.trim().is_empty())
}

/// Refuses a tree with changes.
pub fn require_clean_tree() -> Result<()> {
    ensure!(tree_is_clean()?, "the tree has changes: a result must name the commit that it measured");
    Ok(())
}

/// Appends a run to `bench-results/<file>.jsonl`.
pub fn append(file: &str, what: Value) -> Result<()> {
    require_clean_tree()?;
    let mut line = json!({
        "commit": output(&mut command("git", ["rev-parse", "HEAD"]))?.trim(),
        "date": output(&mut command("date", ["-u", "+%FT%TZ"]))?.trim(),
        "machine": machine()?,
    });
    let fields = line.as_object_mut().expect("an object was just made");
    fields.extend(what.as_object().context("a run is an object")?.clone());
    let folder = workspace::root().join("bench-results");
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{file}.jsonl"));
    let mut results =
        File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())?;
    writeln!(results, "{line}").with_context(|| path.display().to_string())?;
    println!("kept in bench-results/{file}.jsonl");
    Ok(())
}

/// What a reader needs to compare: processor, cores, memory, kernel, file system.
fn machine() -> Result<Value> {
    let cpu_info = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu_info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let memory_info = fs::read_to_string("/proc/meminfo")?;
    let memory = memory_info.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kib: u64 = memory.trim().trim_end_matches(" kB").parse().unwrap_or(0);
    let file_system = output(command("stat", ["-f", "-c", "%T"]).arg(workspace::target()))?;
    Ok(json!({
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "cores": std::thread::available_parallelism()?.get(),
        "memory_gib": kib >> 20,
        "kernel": output(&mut command("uname", ["-r"]))?.trim(),
        "file_system": file_system.trim(),
    }))
}
