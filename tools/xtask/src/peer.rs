//! Brokers under measurement: Apache Kafka and ours, each a process in a folder of its own.
//!
//! Invariants: a peer ends with this process, however that ends; its data goes with it.
//! Not here: load.

mod chronik;
mod kafka;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

pub use kafka::tool;

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running broker.
pub struct Peer {
    /// What it is called in tables.
    pub name: &'static str,
    port: u16,
    /// How it is started.
    command: Command,
    is_ready: fn(u16) -> bool,
    child: Child,
    home: PathBuf,
}

impl Peer {
    /// Apache Kafka, one node, at its defaults; with `flush` it syncs every append, as ours does.
    pub fn kafka(port: u16, flush: bool) -> Result<Self> {
        let name = if flush { "kafka-flush" } else { "kafka" };
        let home = fresh_home(name)?;
        let command = kafka::command(&home, port, flush)?;
        Self::start(name, port, home, command, kafka::is_ready)
    }

    /// Ours, release build, standalone, with these `name=value` settings.
    pub fn chronik(port: u16, settings: &[String]) -> Result<Self> {
        let home = fresh_home("chronik")?;
        let command = chronik::command(&home, port, settings);
        Self::start("chronik", port, home, command, chronik::is_ready)
    }

    fn start(
        name: &'static str,
        port: u16,
        home: PathBuf,
        mut command: Command,
        is_ready: fn(u16) -> bool,
    ) -> Result<Self> {
        ensure!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "something listens on port {port} already");
        let log_path = home.join("log");
        let log = File::create(&log_path).with_context(|| log_path.display().to_string())?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: prctl is async-signal-safe and touches only the new process. This is the main thread, which lives to the end.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        let mut peer = Self { name, port, command, is_ready, child, home };
        peer.await_ready()?;
        Ok(peer)
    }

    fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !(self.is_ready)(self.port) {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!(
                    "{} did not start:\n{}",
                    self.name,
                    fs::read_to_string(self.home.join("log")).unwrap_or_default()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Stops it and starts it again on the same data; how long it then took until it was ready.
    pub fn restart(&mut self) -> Result<Duration> {
        self.stop();
        let started = Instant::now();
        self.child = self.command.spawn().with_context(|| format!("starting {} again", self.name))?;
        self.await_ready()?;
        Ok(started.elapsed())
    }

    /// SIGTERM, and SIGKILL for what has not ended by then.
    fn stop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: plain system call on our own child, which has not been waited for.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        // An error says that it has ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Seconds of CPU it has used, user and system.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context(self.name)?;
        let fields = stat.rsplit(") ").next().context("no fields")?.split(' ');
        let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        // SAFETY: plain library call.
        Ok(ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
    }

    /// Resident memory, in units of 2^20 bytes.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).context(self.name)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
        // A folder that stays is emptied by the next run.
        let _left = fs::remove_dir_all(&self.home);
    }
}

/// An empty folder on the file system of the build folder (never a tmpfs: the disk is what is measured).
fn fresh_home(name: &str) -> Result<PathBuf> {
    let home = crate::workspace::target().join("peers").join(name);
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| home.display().to_string())?;
    }
    fs::create_dir_all(&home).with_context(|| home.display().to_string())?;
    Ok(home)
}
