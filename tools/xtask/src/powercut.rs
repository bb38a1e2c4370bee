//! Power cuts under load: the broker in a machine of its own (user-mode Linux), whose disk forgets what was not flushed.
//!
//! Owns: the chain of boots. Each mounts what the cut before has left, starts the broker, finds every record that was acknowledged,
//! and goes on producing until the next cut; so recovery is cut as well as load.
//! Invariants: a cut leaves what was written before the last flush, and any part of what came after, down to single sectors. What
//! was acknowledged before the cut is known from marks in the very log of writes that the cut is made in.
//! Not here: the audit and the load (tests/black_box/powercut.rs).
//! Why not just a mount that drops writes from some moment on: with O_DIRECT a write that was never flushed would survive it, and a
//! broker that never flushes would pass. The log of writes (dm-log-writes) knows what each flush covered.

mod crash;
mod guest;
mod machine;
mod write_log;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::command::{cargo, command, output, quietly, run as run_command};
use crate::tools::{Need, ensure_packages};
use crate::workspace;
pub use guest::{GuestOptions, run as run_guest};
use machine::{Boot, Life};
use write_log::WriteLog;

/// XFS has no smaller ones.
const DISK_BYTES: u64 = 320 << 20;
const LOG_BYTES: u64 = 8 << 30;

/// Arguments of `cargo xtask powercut`.
#[derive(Args)]
pub struct Options {
    /// How many cuts.
    #[arg(long, default_value_t = 50)]
    cuts: u32,
    /// The file system under the broker.
    #[arg(long, value_enum, default_value = "ext4")]
    fs: FileSystem,
    /// Seconds of load between two cuts.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Chooses the moments and what survives.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Takes a broker that acknowledges before the flush: fails unless a cut finds it out.
    #[arg(long)]
    broken: bool,
}

/// What can be mounted in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FileSystem {
    /// ext4, with its journal.
    Ext4,
    /// XFS.
    Xfs,
}

impl FileSystem {
    fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }
}

/// Runs the chain.
pub fn run(options: &Options) -> Result<()> {
    let mut boot = prepare(options)?;
    let mut random = SmallRng::seed_from_u64(options.seed);
    for cut in 1..=options.cuts {
        let started = Instant::now();
        if let Life::Lost(said) = boot.run(LOG_BYTES)? {
            return options.judge(&boot, cut - 1, &said);
        }
        let log = WriteLog::read(&boot.log())?;
        let crash = crash::choose(&log, &mut random);
        if let Some(ledger) = crash.ledger(&log) {
            boot.ledger = ledger.to_owned();
        }
        crash.apply(&log, &boot.disk_before(), &boot.disk(), &mut random)?;
        println!("cut {cut}: {}, known {}, {:.1} s", crash, boot.ledger, started.elapsed().as_secs_f64());
    }
    boot.seconds = 0;
    if let Life::Lost(said) = boot.run(LOG_BYTES)? {
        return options.judge(&boot, options.cuts, &said);
    }
    ensure!(!options.broken, "{} cuts, and no one showed that it acknowledges before the flush", options.cuts);
    println!("{} cuts on {}: nothing acknowledged was lost", options.cuts, options.fs.name());
    Ok(())
}

impl Options {
    /// Something was lost: well so, if a fault was planted.
    fn judge(&self, boot: &Boot, cut: u32, said: &str) -> Result<()> {
        if self.broken {
            println!("cut {cut} shows what is broken:\n{said}");
            return Ok(());
        }
        bail!("after cut {cut} of seed {}; everything is in {}\n{said}", self.seed, boot.home.display())
    }
}

/// Builds what is run in the machine, and makes its disk.
fn prepare(options: &Options) -> Result<Boot> {
    ensure_packages(Need::PowerCut)?;
    let (kind, name, path) = match options.broken {
        false => ("--bin", "chronik-server", "chronik-server"),
        true => ("--example", "broken-server", "examples/broken-server"),
    };
    run_command(&mut cargo(["build", "--quiet", "--release", "--package", "chronik", kind, name]))?;
    let home = workspace::target().join("powercut").join(options.fs.name());
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| home.display().to_string())?;
    }
    fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    // Copies: what is built meanwhile does not change what runs.
    let copy = |from: &Path, name: &str| {
        let to = home.join(name);
        fs::copy(from, &to).with_context(|| from.display().to_string()).map(|_| to)
    };
    let boot = Boot {
        file_system: options.fs.name().to_owned(),
        disk_bytes: DISK_BYTES,
        guest: copy(&std::env::current_exe()?, "guest")?,
        test_binary: copy(&black_box_binary()?, "test")?,
        server: copy(&workspace::release_binary(path), "server")?,
        scratch: workspace::target().join("tmp"),
        home,
        ledger: String::new(),
        seconds: options.seconds,
    };
    make_file_system(options.fs, &boot.disk())?;
    Ok(boot)
}

/// An empty file system in a sparse file.
fn make_file_system(kind: FileSystem, disk: &Path) -> Result<()> {
    fs::File::create(disk)?.set_len(DISK_BYTES)?;
    let program = format!("/sbin/mkfs.{}", kind.name());
    let arguments: &[&str] = match kind {
        // Blocks as a disk of ordinary size gets them, and nothing left to write in the background.
        FileSystem::Ext4 => &["-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
        FileSystem::Xfs => &["-q", "-f", "-b", "size=4096"],
    };
    quietly(command(&program, arguments).arg(disk))
}

/// The black-box tests, built; cargo says where.
fn black_box_binary() -> Result<PathBuf> {
    let build = ["test", "--quiet", "--package", "chronik", "--test", "black_box", "--no-run", "--message-format=json"];
    let said = output(&mut cargo(build))?;
    let executable = said.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_it = message["target"]["name"] == "black_box";
        is_it.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    let executable = executable.context("cargo did not say where the tests are")?;
    ensure!(executable.exists(), "{} is not there", executable.display());
    Ok(executable)
}
