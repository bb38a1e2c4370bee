//! One process of a peer.
//!
//! Invariants: it ends with this process, however that ends.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::{START_LIMIT, STOP_LIMIT};

/// A broker to start.
pub struct Start {
    /// What it is called in messages.
    pub name: &'static str,
    /// Where clients reach it.
    pub port: u16,
    /// Its process.
    pub command: Command,
    /// Does it serve?
    pub is_ready: fn(u16) -> bool,
    /// Where its output goes.
    pub log: PathBuf,
}

/// A running one.
pub struct Node {
    start: Start,
    child: Child,
}

impl Node {
    /// Starts it; that it serves is for [`Node::await_ready`] to see.
    pub fn start(mut start: Start) -> Result<Self> {
        let port = start.port;
        ensure!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(), "something listens on port {port} already");
        let log = File::create(&start.log).with_context(|| start.log.display().to_string())?;
        start.command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // SAFETY: prctl is async-signal-safe and touches only the new process. This is the main thread, which lives to the end.
        unsafe {
            start.command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let child = start.command.spawn().with_context(|| format!("starting {}", start.name))?;
        Ok(Self { start, child })
    }

    /// Starts it again, on the same data.
    pub fn start_again(&mut self) -> Result<()> {
        self.child = self.start.command.spawn().with_context(|| format!("starting {} again", self.start.name))?;
        Ok(())
    }

    /// Waits until it serves.
    pub fn await_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !(self.start.is_ready)(self.start.port) {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                let said = fs::read_to_string(&self.start.log).unwrap_or_default();
                bail!("{} did not start:\n{said}", self.start.name);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        Ok(())
    }

    /// SIGTERM.
    pub fn ask_to_stop(&self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SAFETY: plain system call on our own child, which has not been waited for.
            unsafe { libc::kill(pid, libc::SIGTERM) };
        }
    }

    /// Waits for its end, and kills what has not ended by then.
    pub fn await_end(&mut self) {
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        // An error says that it has ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context(self.start.name)?;
        self.child.wait().context(self.start.name)?;
        Ok(())
    }

    /// Where clients reach it.
    pub fn port(&self) -> u16 {
        self.start.port
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.start.port)
    }

    /// Seconds of CPU it has used, user and system.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context(self.start.name)?;
        let fields = stat.rsplit(") ").next().context("no fields")?.split(' ');
        let ticks: f64 = fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
        // SAFETY: plain library call.
        Ok(ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64)
    }

    /// Resident memory, in units of 2^20 bytes.
    pub fn resident_mib(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).context(self.start.name)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    }
}
