//! The state of a simulated network, and what happens in it when.
//!
//! *Invariants*: an event that comes late finds its connection gone, or does what is right now: it never assumes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Waker;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::SimNetOptions;
use super::connection::{Connection, Packet};

/// How long a host waits before it asks again for a connection that nobody answered.
const SYN_RETRY_NS: u64 = 1_000_000_000;

/// First of the ports that connecting sockets get.
const EPHEMERAL_PORT_MIN: u16 = 32768;

pub(super) type ConnectionId = u64;
pub(super) type AttemptId = u64;

/// Which end of a connection: 0 connected, 1 accepted.
pub(super) type Side = usize;

/// How a host goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Crash {
    /// Its kernel lives on, and says goodbye.
    Process,
    /// Silently.
    Power,
}

pub(super) struct Host {
    /// Counts processes of this host: sockets of an earlier one are dead.
    boot: u64,
    is_powered: bool,
    next_port: u16,
}

pub(super) struct Backlog {
    pub(super) waiting: VecDeque<(ConnectionId, SocketAddr)>,
    pub(super) waiting_max: usize,
    pub(super) waker: Option<Waker>,
}

/// Somebody wants to connect.
pub(super) struct Attempt {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) outcome: Option<io::Result<ConnectionId>>,
    pub(super) waker: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The head of what is on its way to this end of this connection.
    Arrive(ConnectionId, Side),
    /// A wish to connect reaches the other host.
    Knock(AttemptId),
    /// The answer reaches the one who wished.
    Answer(AttemptId, Answer),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Welcome(ConnectionId),
    Refused,
}

pub(super) struct Network {
    pub(super) now_ns: u64,
    pub(super) options: SimNetOptions,
    pub(super) dice: SmallRng,
    next_number: u64,
    hosts: BTreeMap<IpAddr, Host>,
    pub(super) listeners: BTreeMap<SocketAddr, Backlog>,
    pub(super) attempts: BTreeMap<AttemptId, Attempt>,
    pub(super) connections: BTreeMap<ConnectionId, Connection>,
    /// Directions through which nothing gets.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
    /// Directions that take longer, by up to so many ns.
    delays: BTreeMap<(IpAddr, IpAddr), u64>,
    events: BTreeSet<(u64, u64, Event)>,
}

impl Network {
    pub(super) fn new(seed: u64, options: SimNetOptions) -> Network {
        assert!(options.latency_min_ns <= options.latency_max_ns && options.window_bytes > 0);
        Network {
            now_ns: 0,
            options,
            dice: SmallRng::seed_from_u64(seed),
            next_number: 0,
            hosts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            attempts: BTreeMap::new(),
            connections: BTreeMap::new(),
            cuts: BTreeSet::new(),
            delays: BTreeMap::new(),
            events: BTreeSet::new(),
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// True once in `one_in`; never if that is 0.
    pub(super) fn chance(&mut self, one_in: u32) -> bool {
        one_in > 0 && self.dice.random_range(0..one_in) == 0
    }

    /// How long one packet takes from one host to another.
    fn travel_ns(&mut self, from: IpAddr, to: IpAddr) -> u64 {
        let delay_ns = self.delays.get(&(from, to)).copied().map_or(0, |most_ns| self.dice.random_range(0..=most_ns));
        self.latency_ns() + delay_ns
    }

    fn latency_ns(&mut self) -> u64 {
        let options = self.options;
        let usual = self.dice.random_range(options.latency_min_ns..=options.latency_max_ns);
        if self.chance(options.slow_one_in) { usual * self.dice.random_range(2..=100) } else { usual }
    }

    fn schedule(&mut self, due_ns: u64, event: Event) {
        let number = self.number();
        self.events.insert((due_ns, number, event));
    }

    pub(super) fn schedule_arrival(&mut self, due_ns: u64, connection: ConnectionId, side: Side) {
        self.schedule(due_ns, Event::Arrive(connection, side));
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.events.first().map(|(due_ns, _, _)| *due_ns)
    }

    pub(super) fn run_due(&mut self, now_ns: u64) {
        assert!(now_ns >= self.now_ns, "time never goes back");
        self.now_ns = now_ns;
        while let Some((due_ns, number, event)) = self.events.first().copied()
            && due_ns <= now_ns
        {
            self.events.remove(&(due_ns, number, event));
            match event {
                Event::Arrive(connection, side) => self.arrive(connection, side),
                Event::Knock(attempt) => self.knock(attempt),
                Event::Answer(attempt, answer) => self.answer(attempt, answer),
            }
        }
    }

    /// Does the process `boot` of a host live?
    pub(super) fn lives(&self, ip: IpAddr, boot: u64) -> bool {
        self.hosts.get(&ip).is_some_and(|host| host.is_powered && host.boot == boot)
    }

    pub(super) fn is_powered(&self, ip: IpAddr) -> bool {
        self.hosts.get(&ip).is_some_and(|host| host.is_powered)
    }

    pub(super) fn is_cut(&self, from: IpAddr, to: IpAddr) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub(super) fn free_port(&mut self, ip: IpAddr) -> u16 {
        let host = self.hosts.get_mut(&ip).expect("only a live host asks");
        host.next_port = host.next_port.checked_add(1).unwrap_or(EPHEMERAL_PORT_MIN);
        host.next_port
    }

    pub(super) fn switch_on(&mut self, ip: IpAddr) -> u64 {
        let host = Host { boot: 0, is_powered: true, next_port: EPHEMERAL_PORT_MIN };
        let host = self.hosts.entry(ip).or_insert(host);
        if !host.is_powered {
            host.is_powered = true;
            let boot = host.boot;
            // What its peers still send belongs to nobody: they learn it now.
            self.end_connections_of(ip, |network, id, peer| network.reset_towards(id, peer, true));
            return boot;
        }
        host.boot
    }

    pub(super) fn crash(&mut self, ip: IpAddr, crash: Crash) {
        let Some(host) = self.hosts.get_mut(&ip) else { return };
        host.boot += 1;
        host.is_powered = crash == Crash::Process;
        self.listeners.retain(|address, _| address.ip() != ip);
        self.attempts.retain(|_, attempt| attempt.from.ip() != ip);
        self.end_connections_of(ip, |network, id, peer| match crash {
            Crash::Process => {
                let loses_bytes = network.dice.random();
                network.reset_towards(id, peer, loses_bytes);
            }
            Crash::Power => network.fall_silent(id, peer),
        });
    }

    /// Marks this host's end of each of its connections dead, and calls `then` with the connection and its peer's side.
    fn end_connections_of(&mut self, ip: IpAddr, then: impl Fn(&mut Network, ConnectionId, Side)) {
        let ends: Vec<(ConnectionId, Side)> = self
            .connections
            .iter()
            .flat_map(|(id, connection)| (0..2).map(move |side| (*id, side, connection.ends[side].address.ip())))
            .filter(|(_, _, end_ip)| *end_ip == ip)
            .map(|(id, side, _)| (id, side))
            .collect();
        for (id, side) in ends {
            self.kill_end(id, side);
            then(self, id, 1 - side);
        }
    }

    pub(super) fn cut(&mut self, from: IpAddr, to: IpAddr) {
        self.cuts.insert((from, to));
    }

    pub(super) fn delay(&mut self, from: IpAddr, to: IpAddr, most_ns: u64) {
        self.delays.insert((from, to), most_ns);
    }

    pub(super) fn heal(&mut self, heals: impl Fn((IpAddr, IpAddr)) -> bool) {
        self.cuts.retain(|cut| !heals(*cut));
        self.delays.retain(|direction, _| !heals(*direction));
        let now_ns = self.now_ns;
        // TCP tries again with what was held back.
        let late: Vec<(ConnectionId, Side)> = self
            .connections
            .iter()
            .flat_map(|(id, connection)| (0..2).map(move |side| (*id, side, connection)))
            .filter(|(_, side, connection)| connection.ends[*side].incoming.is_late(now_ns))
            .map(|(id, side, _)| (id, side))
            .collect();
        for (id, side) in late {
            let due_ns = now_ns + self.latency_ns();
            self.schedule_arrival(due_ns, id, side);
        }
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            self.acknowledge(id);
        }
    }

    pub(super) fn connection_count(&self) -> usize {
        self.connections.values().filter(|connection| connection.ends.iter().all(|end| !end.is_closed)).count()
    }

    pub(super) fn begin_attempt(&mut self, from: SocketAddr, to: SocketAddr) -> AttemptId {
        let attempt = self.number();
        self.attempts.insert(attempt, Attempt { from, to, outcome: None, waker: None });
        let due_ns = self.now_ns + self.travel_ns(from.ip(), to.ip());
        self.schedule(due_ns, Event::Knock(attempt));
        attempt
    }

    /// The one who wished does not wait any more.
    pub(super) fn give_up_attempt(&mut self, attempt: AttemptId) {
        if let Some(Attempt { outcome: Some(Ok(connection)), .. }) = self.attempts.remove(&attempt) {
            self.release(connection, 0);
        }
    }

    fn knock(&mut self, attempt: AttemptId) {
        let Some(Attempt { from, to, .. }) = self.attempts.get(&attempt) else { return };
        let (from, to) = (*from, *to);
        let is_reachable = self.is_powered(to.ip());
        let is_full = self.listeners.get(&to).is_some_and(|listener| listener.waiting.len() >= listener.waiting_max);
        let is_cut = self.is_cut(from.ip(), to.ip()) || self.is_cut(to.ip(), from.ip());
        if !is_reachable || is_cut || is_full {
            let due_ns = self.now_ns + SYN_RETRY_NS;
            return self.schedule(due_ns, Event::Knock(attempt));
        }
        let refused_one_in = self.options.refused_one_in;
        let answer = if !self.listeners.contains_key(&to) || self.chance(refused_one_in) {
            Answer::Refused
        } else {
            let id = self.number();
            self.connections.insert(id, Connection::new(from, to));
            let listener = self.listeners.get_mut(&to).expect("it was there just now");
            listener.waiting.push_back((id, from));
            wake(&mut listener.waker);
            Answer::Welcome(id)
        };
        let due_ns = self.now_ns + self.travel_ns(to.ip(), from.ip());
        self.schedule(due_ns, Event::Answer(attempt, answer));
    }

    fn answer(&mut self, attempt: AttemptId, answer: Answer) {
        let outcome = match answer {
            Answer::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
            Answer::Welcome(id) => Ok(id),
        };
        match (self.attempts.get_mut(&attempt), outcome) {
            (Some(attempt), outcome) => {
                attempt.outcome = Some(outcome);
                wake(&mut attempt.waker);
            }
            // Nobody waits for it any more.
            (None, Ok(id)) => self.release(id, 0),
            (None, Err(_)) => {}
        }
    }

    /// Puts a packet on its way to an end; it arrives after all before it.
    pub(super) fn dispatch(&mut self, id: ConnectionId, to: Side, packet: Packet) {
        let Some(connection) = self.connections.get(&id) else { return };
        let [from_ip, to_ip] = [1 - to, to].map(|side| connection.ends[side].address.ip());
        let due_ns = self.now_ns + self.travel_ns(from_ip, to_ip);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let due_ns = connection.ends[to].incoming.push(due_ns, packet);
        self.schedule_arrival(due_ns, id, to);
    }
}

/// Wakes whoever waits.
pub(super) fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
