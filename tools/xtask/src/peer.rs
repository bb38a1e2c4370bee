//! Brokers under measurement: Apache Kafka and ours, one node or a cluster, in a folder of their own.
//!
//! Invariants: a peer ends with this process, however that ends; its data goes with it.
//! Not here: load.

mod chronik;
mod kafka;
mod node;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub use chronik::metric;
pub use kafka::tool;
pub use node::Node;
use node::Start;

const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running broker, or cluster of brokers. Node `n` (from 1) has the ports from `port + 2 * (n - 1)`: for clients, and for peers.
pub struct Peer {
    /// What it is called in tables.
    pub name: &'static str,
    nodes: Vec<Node>,
    home: PathBuf,
}

impl Peer {
    /// Apache Kafka at its defaults; with `flush` it syncs every append, as ours does.
    pub fn kafka(port: u16, nodes: u16, flush: bool) -> Result<Self> {
        let name = if flush { "kafka-flush" } else { "kafka" };
        let home = fresh_home(name)?;
        let commands = kafka::commands(&home, port, nodes, flush)?;
        Self::start(name, home, port, commands, kafka::is_ready)
    }

    /// Ours, release build, with these `name=value` settings.
    pub fn chronik(port: u16, nodes: u16, settings: &[String]) -> Result<Self> {
        let home = fresh_home("chronik")?;
        let commands = chronik::commands(&home, port, nodes, settings);
        Self::start("chronik", home, port, commands, chronik::is_ready)
    }

    fn start(
        name: &'static str,
        home: PathBuf,
        port: u16,
        commands: Vec<std::process::Command>,
        is_ready: fn(u16) -> bool,
    ) -> Result<Self> {
        let mut peer = Self { name, nodes: Vec::new(), home };
        for (port, command) in client_ports(port).zip(commands) {
            let log = peer.home.join(format!("log-{port}"));
            peer.nodes.push(Node::start(Start { name, port, command, is_ready, log })?);
        }
        peer.await_ready()?;
        Ok(peer)
    }

    /// Waits until every node serves.
    pub fn await_ready(&mut self) -> Result<()> {
        self.nodes.iter_mut().try_for_each(Node::await_ready)
    }

    /// Stops it and starts it again on the same data; how long it then took until it was ready.
    pub fn restart(&mut self) -> Result<Duration> {
        self.stop();
        let started = Instant::now();
        self.nodes.iter_mut().try_for_each(Node::start_again)?;
        self.await_ready()?;
        Ok(started.elapsed())
    }

    /// The processes, from node 1.
    pub fn nodes(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// SIGTERM, and SIGKILL for what has not ended by then.
    fn stop(&mut self) {
        self.nodes.iter().for_each(Node::ask_to_stop);
        self.nodes.iter_mut().for_each(Node::await_end);
    }

    /// `host:port,...` for clients.
    pub fn bootstrap(&self) -> String {
        self.nodes.iter().map(Node::bootstrap).collect::<Vec<_>>().join(",")
    }

    /// Seconds of CPU that all its nodes have used, user and system.
    pub fn cpu_seconds(&self) -> Result<f64> {
        self.nodes.iter().map(Node::cpu_seconds).sum()
    }

    /// Resident memory of all its nodes, in units of 2^20 bytes.
    pub fn resident_mib(&self) -> Result<f64> {
        self.nodes.iter().map(Node::resident_mib).sum()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop();
        // A folder that stays is emptied by the next run.
        let _left = fs::remove_dir_all(&self.home);
    }
}

/// Where clients reach node 1, 2, ...; the port after each is for its peers.
fn client_ports(first: u16) -> impl Iterator<Item = u16> {
    (first..).step_by(2)
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
