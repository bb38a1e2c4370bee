//! A network of the test's own: a machine for each broker, on one bridge with the test, and any of them can be cut off from another.
//!
//! Invariants: it is gone when dropped. Each direction is cut by itself; the test always reaches everybody.
//! Needs root, iproute2 and nftables. Where that is missing the caller skips, and says why.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use super::{clients, skipped};

const LIMIT: Duration = Duration::from_secs(10);
/// The test's own address on the bridge.
const TEST: u8 = 254;

/// Where a broker runs, if not beside the test.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The network namespace.
    pub namespace: String,
    /// Its only address but for loopback.
    pub address: Ipv4Addr,
}

impl Machine {
    /// Runs a program there. Once there the process becomes the program.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).arg(program).env("PATH", path());
        command
    }
}

/// See the module.
pub struct Network {
    bridge: String,
    machines: Vec<Machine>,
}

impl Network {
    /// Machines for brokers 1 to `count`; `None`, with a word, where that is impossible.
    pub fn new(count: u8) -> Option<Self> {
        static NEXT: AtomicU8 = AtomicU8::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // Nobody else's, most likely: of the addresses for private use those that nobody takes by default.
        let address = |host| Ipv4Addr::new(10, 213 + number, (process % 256) as u8, host);
        let machine =
            |node| Machine { namespace: format!("chronik-{process}-{number}-{node}"), address: address(node) };
        let network = Self { bridge: format!("ch{process}-{number}"), machines: (1..=count).map(machine).collect() };
        match network.build(address(TEST)) {
            Ok(()) => Some(network),
            Err(why) => {
                skipped(&format!("no network can be made here: {why}"));
                None
            }
        }
    }

    fn build(&self, test: Ipv4Addr) -> Result<(), String> {
        let bridge = &self.bridge;
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!("address add {test}/24 dev {bridge}"))?;
        ip(&format!("link set {bridge} up"))?;
        for (index, Machine { namespace, address }) in self.machines.iter().enumerate() {
            let cable = format!("{bridge}-{index}");
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("link add {cable} type veth peer name eth0 netns {namespace}"))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
            ip(&format!("-n {namespace} address add {address}/24 dev eth0"))?;
            ip(&format!("-n {namespace} link set eth0 up"))?;
            nft(namespace, "add table ip cuts")?;
            nft(namespace, "add chain ip cuts input { type filter hook input priority 0 ; }")?;
        }
        Ok(())
    }

    /// Where a broker is to run.
    pub fn machine(&self, node: i32) -> &Machine {
        &self.machines[usize::try_from(node).expect("not negative") - 1]
    }

    /// From now on nothing that one broker sends reaches the other.
    pub fn cut(&self, from: i32, to: i32) {
        // It is lost on its way: who sends is told nothing.
        let rule = format!("add rule ip cuts input ip saddr {} drop", self.machine(from).address);
        nft(&self.machine(to).namespace, &rule).expect("a rule");
    }

    /// Everybody reaches everybody again.
    pub fn heal(&self) {
        for machine in &self.machines {
            nft(&machine.namespace, "flush chain ip cuts input").expect("it is there");
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What was never made cannot be removed. A namespace takes its end of a cable along, and that the other one.
        for machine in &self.machines {
            let _removed = ip(&format!("netns del {}", machine.namespace));
        }
        let _removed = ip(&format!("link del {}", self.bridge));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    run("ip", arguments)
}

fn nft(namespace: &str, arguments: &str) -> Result<(), String> {
    run("ip", &format!("netns exec {namespace} nft {arguments}"))
}

/// Such programs lie where only root's path looks.
fn path() -> String {
    format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default())
}

fn run(program: &str, arguments: &str) -> Result<(), String> {
    if !std::env::split_paths(&path()).any(|folder| folder.join(program).exists()) {
        return Err(format!("{program} is not installed"));
    }
    let mut command = Command::new(program);
    command.args(arguments.split(' ')).env("PATH", path());
    let output = clients::run(command, b"", LIMIT);
    if output.status.success() { Ok(()) } else { Err(format!("{program} {arguments}: {}", output.stderr.trim())) }
}
