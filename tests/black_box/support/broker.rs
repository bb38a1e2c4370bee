//! One broker process: start, wait until it is ready, stop, kill, start again on the same data.
//!
//! Invariants: only our own process is ever signalled; dropping a broker kills it and removes its data.
//! Not here: what is said to it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use super::network::Machine;
use super::{eventually, guard};

/// The admin listener's port is the Kafka port plus this.
const ADMIN_OFFSET: u16 = 4000;
const START_LIMIT: Duration = Duration::from_secs(30);

/// What differs from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--set name=value`.
    pub settings: Vec<String>,
    /// Where the data lies, if not in a folder of the broker's own.
    pub data_dir: Option<PathBuf>,
    /// What it runs as, and that command's own arguments; `standalone` if there are none.
    pub command: Vec<String>,
    /// More arguments, as they are.
    pub arguments: Vec<String>,
    /// Where it runs, if not beside the test.
    pub machine: Option<Machine>,
}

/// A running broker, or one between two runs.
pub struct Broker {
    options: Options,
    port: u16,
    home: tempfile::TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Starts one with the defaults.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts one and waits until it is ready.
    pub fn start_with(options: Options) -> Self {
        let mut broker = Self::new(options);
        broker.launch();
        broker
    }

    /// One that does not run yet.
    pub fn new(options: Options) -> Self {
        let home =
            tempfile::Builder::new().prefix("broker-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        Self { options, port: free_port(), home, child: None }
    }

    /// Starts it again after [`Self::kill`] or [`Self::stop`].
    pub fn launch(&mut self) {
        self.launch_only();
        self.await_ready();
    }

    /// Waits until a process that was launched is ready.
    pub fn await_ready(&mut self) {
        eventually(START_LIMIT, "the broker is ready", || {
            let child = self.child.as_mut().expect("it was just started");
            let ended = child.try_wait().expect("our own child");
            assert!(ended.is_none(), "the broker ended at start: {ended:?}\n{}", self.log_tail());
            self.is_ready().then_some(())
        });
    }

    /// Starts the process without waiting for anything.
    pub fn launch_only(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("the log can be written");
        let mut command = server_command(self.options.machine.as_ref());
        match &self.options.command[..] {
            [] => command.arg("standalone"),
            given => command.args(given),
        };
        command.args(["--kafka-port", &self.port.to_string(), "--data-dir"]).arg(self.data_dir());
        if let Some(Machine { address, .. }) = &self.options.machine {
            command.args(["--advertised-addr", &address.to_string(), "--admin-bind-addr", &address.to_string()]);
        }
        command.args(self.options.settings.iter().flat_map(|setting| ["--set", setting]));
        command.args(&self.options.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(guard::spawn(command).expect("the server binary runs"));
    }

    /// Runs one to its end, for those that must refuse to start; returns how it ended and what it said.
    pub fn run_to_end(arguments: &[&str], limit: Duration) -> (ExitStatus, String) {
        let mut command = server_command(None);
        command.args(arguments).stdin(Stdio::null());
        let output = super::clients::run(command, &[], limit);
        (output.status, format!("{}{}", output.stdout, output.stderr))
    }

    /// Whether its process runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().expect("our own child").is_none())
    }

    /// Whether `/ready` says so.
    pub fn is_ready(&self) -> bool {
        self.admin_get("/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// The whole answer of the admin listener, head included; `None` where there is none.
    pub fn admin_get(&self, path: &str) -> Option<String> {
        let address = SocketAddr::from((self.address(), self.port + ADMIN_OFFSET));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// SIGTERM; returns how it ended. Panics if it has not after `limit`.
    pub fn stop(&mut self, limit: Duration) -> ExitStatus {
        self.signal(libc::SIGTERM);
        self.wait(limit)
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self) {
        self.signal(libc::SIGKILL);
        self.wait(Duration::from_secs(20));
    }

    /// SIGKILL, unless it has ended by itself.
    pub fn kill_if_running(&mut self) {
        if self.is_running() {
            self.kill();
        }
        self.child = None;
    }

    /// Waits for an end that comes by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let status = eventually(limit, "the broker has ended", || {
            self.child.as_mut().expect("it was started").try_wait().expect("our own child")
        });
        self.child = None;
        status
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.pid()).expect("a pid fits");
        // SAFETY: plain system call; the pid is of a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "our own child can be signalled");
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// `host:port` for clients.
    pub fn bootstrap(&self) -> String {
        format!("{}:{}", self.address(), self.port)
    }

    fn address(&self) -> Ipv4Addr {
        self.options.machine.as_ref().map_or(Ipv4Addr::LOCALHOST, |machine| machine.address)
    }

    /// The Kafka port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its data lies.
    pub fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.home.path().join("data"))
    }

    /// The folder of one partition.
    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.data_dir().join("partitions").join(format!("{topic}-{partition}"))
    }

    /// Everything it has said, over all its runs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("broker.log")
    }

    /// Seconds of CPU it has used, user and system.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(") ").next().expect("a name in brackets").split(' ').collect();
        let ticks: f64 = [11, 12].iter().map(|index: &usize| fields[*index].parse::<f64>().expect("a number")).sum();
        // SAFETY: plain library call.
        ticks / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64
    }

    /// Every series of `/metrics` and its value.
    pub fn scrape(&self) -> BTreeMap<String, f64> {
        let answer = self.admin_get("/metrics").expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let samples =
            body.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(series, _)| !series.starts_with('#'));
        samples.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect()
    }

    /// Bytes that requests hold, as `/metrics` has it; a few seconds old.
    pub fn request_bytes(&self) -> f64 {
        let is_held = |series: &str| series.starts_with("chronik_memory_used_bytes") && series.contains("requests");
        self.scrape().into_iter().filter(|(series, _)| is_held(series)).map(|(_, bytes)| bytes).sum()
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- the end of the broker's log\n{}\n--", self.log_tail());
            if std::env::var_os("CHRONIK_TEST_KEEP").is_some() {
                eprintln!("-- kept: {}", self.home.path().display());
                self.home.disable_cleanup(true);
            }
        }
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way it is waited for.
            let _ended = child.kill();
            let _status = child.wait();
        }
    }
}

/// The binary to test, without this harness's own variables: a broker refuses those that it does not know.
fn server_command(machine: Option<&Machine>) -> Command {
    let mut command = machine.map_or_else(|| Command::new(server()), |machine| machine.command(&server()));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CHRONIK_")) {
        command.env_remove(name);
    }
    command
}

/// The binary to test.
pub fn server() -> PathBuf {
    std::env::var_os("CHRONIK_TEST_SERVER")
        .map_or_else(|| Path::new(env!("CARGO_BIN_EXE_chronik-server")).to_path_buf(), PathBuf::from)
}

/// A port that is free now, with a free one for the admin listener. Below the ephemeral range, and never given twice by this process.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 200).expect("below 200") * 20;
    for _ in 0..4000 {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 4000;
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free(port) && free(port + ADMIN_OFFSET) {
            return port;
        }
    }
    panic!("no free port from 20000 to 23999");
}
