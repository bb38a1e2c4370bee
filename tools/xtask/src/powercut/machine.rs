//! The machine: one boot of user-mode Linux, from a disk image, with a log of every write.
//!
//! Invariants: the image before the boot is kept; the machine is stopped when its time is up.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::command::{command, quietly};

/// Boot, mount, recovery and audit take less, and then comes the load.
const LIMIT: Duration = Duration::from_secs(240);
/// What the test says before it begins to load.
const FOUND: &str = "everything is there";
const MEMORY: &str = "mem=1200M";

/// What the guest is told, and where its things lie. Written to `boot.json`, which the guest reads through its root.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Boot {
    /// For `mount -t`.
    pub file_system: String,
    /// Size of the disk.
    pub disk_bytes: u64,
    /// Process 1 of the machine: this program.
    pub guest: PathBuf,
    /// The test that audits and loads.
    pub test_binary: PathBuf,
    /// The broker.
    pub server: PathBuf,
    /// A folder that the test wants to write to; the guest covers it with one of its own.
    pub scratch: PathBuf,
    /// Images, logs and results.
    pub home: PathBuf,
    /// What must be found, as the test wrote it.
    pub ledger: String,
    /// Of load.
    pub seconds: u32,
}

/// How one boot went.
pub enum Life {
    /// Everything was found, and the load ran to its end.
    Sound,
    /// Something was not found; what the test said.
    Lost(String),
}

impl Boot {
    /// The image to boot from; the one that the next cut leaves goes to the same place.
    pub fn disk(&self) -> PathBuf {
        self.home.join("disk")
    }

    /// The image as it was before the last boot.
    pub fn disk_before(&self) -> PathBuf {
        self.home.join("disk-before")
    }

    /// Every write of the last boot.
    pub fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Where the guest says how it went.
    pub fn results(&self) -> PathBuf {
        self.home.join("results")
    }

    /// Boots, and waits until the machine is off. Err: the test did not run.
    pub fn run(&self, log_bytes: u64) -> Result<Life> {
        quietly(command("cp", ["--sparse=always"]).arg(self.disk()).arg(self.disk_before()))?;
        File::create(self.log())?.set_len(log_bytes)?;
        if self.results().exists() {
            fs::remove_dir_all(self.results())?;
        }
        fs::create_dir_all(self.results())?;
        let settings = self.home.join("boot.json");
        fs::write(&settings, serde_json::to_vec_pretty(self)?)?;
        let console = self.home.join("console");
        self.power_on(&settings, &console)?;
        let outcome = fs::read_to_string(self.results().join("outcome")).unwrap_or_else(|_| "no word".to_owned());
        if outcome.trim() == "ok" {
            return Ok(Life::Sound);
        }
        let said = String::from_utf8_lossy(&fs::read(&console)?).into_owned();
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        if said.contains("test result: FAILED") && !said.contains(FOUND) {
            return Ok(Life::Lost(tail));
        }
        bail!("the machine says: {outcome}; everything is in {}\n{tail}", self.home.display())
    }

    /// Compiles what lets this kernel run on newer processors; see xstate.c.
    fn state_shim(&self) -> Result<PathBuf> {
        let (source, library) = (self.home.join("xstate.c"), self.home.join("xstate.so"));
        if !library.exists() {
            fs::write(&source, include_str!("xstate.c"))?;
            let mut compiler = command("cc", ["-O2", "-shared", "-fPIC", "-o"]);
            quietly(compiler.arg(&library).arg(&source).arg("-ldl"))?;
        }
        Ok(library)
    }

    fn power_on(&self, settings: &Path, console: &Path) -> Result<()> {
        let console = File::create(console)?;
        let mut machine = Command::new("linux.uml");
        machine.env("LD_PRELOAD", self.state_shim()?);
        machine.args([MEMORY, "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet"]);
        machine.arg(format!("ubd0={}", self.disk().display())).arg(format!("ubd1={}", self.log().display()));
        machine.args(["con0=null,fd:1", "con=null", "ssl=null"]).arg(format!("uml_dir={}", self.home.display()));
        machine.arg(format!("init={}", self.guest.display()));
        machine.args(["--", "powercut-guest"]).arg(settings);
        machine.stdin(Stdio::null()).stdout(console.try_clone()?).stderr(console);
        // A group of its own: the kernel is several processes, and all of them must be stopped if it hangs.
        machine.process_group(0);
        let mut machine = machine.spawn().context("linux.uml")?;
        let deadline = Instant::now() + LIMIT;
        while machine.try_wait()?.is_none() {
            if Instant::now() > deadline {
                let group = i32::try_from(machine.id()).context("a pid")?;
                // SAFETY: plain system call; the group is that of our own child, which has not been waited for.
                if unsafe { libc::kill(-group, libc::SIGKILL) } != 0 {
                    return Err(io::Error::last_os_error()).context("stopping the machine");
                }
                machine.wait()?;
                bail!("the machine was not off after {LIMIT:?}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }
}
