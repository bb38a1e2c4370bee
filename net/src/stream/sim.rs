//! A simulated network: hosts, listeners, connections, in virtual time, all chance drawn from one seed.
//!
//! *Which core*: the simulation's one thread; the driver ([`SimNet`]) is owned by `tools/sim`. `Arc` and `Mutex` only
//! because an accepted connection must be `Send`.
//! *Invariants*: a connection's bytes arrive in order, once, or it ends; a direction holds at most
//! [`SimNetOptions::window_bytes`] unread bytes; same seed and same calls, same everything. A crashed host's sockets do
//! nothing any more, even while their owners are being dropped.
//! *Not here*: bytes damaged or sent twice: TCP and the frames' own checksums see to that.
//! *Why cut directions hold bytes back instead of dropping them*: TCP sends them again; they arrive after the cut has healed.

mod connection;
mod host;
mod network;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Net;
use network::Network;

pub(super) use connection::{SimReadHalf, SimWriteHalf};
pub use host::{SimAccepted, SimHost, SimListener};

/// How a simulated network behaves; times in ns of virtual time.
#[derive(Clone, Copy, Debug)]
pub struct SimNetOptions {
    /// Least time for one way.
    pub latency_min_ns: u64,
    /// Most time for one way, but for the slow ones.
    pub latency_max_ns: u64,
    /// One packet in so many takes up to 100 times as long; 0: none does.
    pub slow_one_in: u32,
    /// One attempt to connect in so many is refused, though somebody listens; 0: none is.
    pub refused_one_in: u32,
    /// One read or write in so many is cut into small pieces; 0: none is.
    pub pieces_one_in: u32,
    /// Unread bytes that one direction of a connection holds.
    pub window_bytes: usize,
}

impl Default for SimNetOptions {
    fn default() -> SimNetOptions {
        SimNetOptions {
            latency_min_ns: 20_000,
            latency_max_ns: 300_000,
            slow_one_in: 500,
            refused_one_in: 200,
            pieces_one_in: 4,
            window_bytes: 256 << 10,
        }
    }
}

type Shared = Arc<Mutex<Network>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Network> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The driver of a simulated network. Cheap to clone.
#[derive(Clone)]
pub struct SimNet(Shared);

impl SimNet {
    /// A network without hosts, at time 0.
    pub fn new(seed: u64, options: SimNetOptions) -> SimNet {
        SimNet(Arc::new(Mutex::new(Network::new(seed, options))))
    }

    /// The network as seen from the host `ip`, which is switched on if it was not. After [`SimNet::crash_host`] the next
    /// process of that host takes a new one: the old one stays dead.
    pub fn host(&self, ip: IpAddr) -> Net {
        let boot = lock(&self.0).switch_on(ip);
        Net::Sim(SimHost { shared: self.0.clone(), ip, boot })
    }

    /// The host's process dies, the host lives: its listeners close, its peers see the end or a reset of every connection
    /// (bytes on their way may still arrive). Call it before the process's tasks are dropped.
    pub fn crash_host(&self, ip: IpAddr) {
        lock(&self.0).crash(ip, network::Crash::Process);
    }

    /// The host loses its power: nobody hears from it again. Peers' connections hang until it is switched on again, and
    /// are reset then.
    pub fn power_off_host(&self, ip: IpAddr) {
        lock(&self.0).crash(ip, network::Crash::Power);
    }

    /// From now on nothing gets from `from` to `to` (the other direction goes on).
    pub fn cut(&self, from: IpAddr, to: IpAddr) {
        lock(&self.0).cut(from, to);
    }

    /// From now on what goes from `from` to `to` takes longer, by up to `most_ns`; it still arrives in order.
    pub fn delay(&self, from: IpAddr, to: IpAddr, most_ns: u64) {
        lock(&self.0).delay(from, to, most_ns);
    }

    /// Ends a cut or a delay of one direction: what was held back arrives, late.
    pub fn heal(&self, from: IpAddr, to: IpAddr) {
        lock(&self.0).heal(|cut| cut == (from, to));
    }

    /// Ends every cut and delay.
    pub fn heal_all(&self) {
        lock(&self.0).heal(|_| true);
    }

    /// Resets every connection between two hosts, on both sides; says how many there were.
    pub fn reset_between(&self, one: IpAddr, other: IpAddr) -> usize {
        lock(&self.0).reset_between(one, other)
    }

    /// Open connections, both ends alive.
    pub fn connection_count(&self) -> usize {
        lock(&self.0).connection_count()
    }

    /// When the next thing happens, in ns of virtual time.
    pub fn next_due(&self) -> Option<u64> {
        lock(&self.0).next_due()
    }

    /// Moves time to `now_ns` and lets everything due happen, waking whoever waits for it. Call it with every step of time,
    /// also when nothing here is due.
    pub fn run_due(&self, now_ns: u64) {
        lock(&self.0).run_due(now_ns);
    }
}

#[cfg(test)]
mod tests;
