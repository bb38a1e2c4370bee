//! A simulated network as one host's process sees it: listening, connecting, accepting.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Poll;

use super::connection::{Handle, SimReadHalf, SimWriteHalf};
use super::network::{AttemptId, Backlog, ConnectionId};
use super::{Shared, lock};

/// A host on a simulated network, as one process of it sees it.
#[derive(Clone)]
pub struct SimHost {
    pub(super) shared: Shared,
    pub(super) ip: IpAddr,
    /// Which process of the host.
    pub(super) boot: u64,
}

/// A simulated listener; it closes when dropped.
pub struct SimListener {
    host: SimHost,
    address: SocketAddr,
}

/// A simulated connection on its way to an executor.
pub struct SimAccepted(Handle);

impl SimHost {
    /// The host's address.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    pub(in crate::stream) fn listen(&self, address: SocketAddr, backlog: i32) -> io::Result<SimListener> {
        let mut network = lock(&self.shared);
        if !network.lives(self.ip, self.boot) {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        if address.ip() != self.ip && !address.ip().is_unspecified() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = if address.port() == 0 { network.free_port(self.ip) } else { address.port() };
        let address = SocketAddr::new(self.ip, port);
        if network.listeners.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let waiting_max = usize::try_from(backlog).unwrap_or(0).max(1);
        network.listeners.insert(address, Backlog { waiting: VecDeque::new(), waiting_max, waker: None });
        Ok(SimListener { host: self.clone(), address })
    }

    pub(in crate::stream) async fn connect(&self, address: SocketAddr) -> io::Result<(SimReadHalf, SimWriteHalf)> {
        let wish = {
            let mut network = lock(&self.shared);
            if !network.lives(self.ip, self.boot) {
                return Err(io::ErrorKind::NetworkDown.into());
            }
            let from = SocketAddr::new(self.ip, network.free_port(self.ip));
            Wish { shared: &self.shared, attempt: network.begin_attempt(from, address) }
        };
        let id = wish.granted().await?;
        Ok(Handle::new(self.shared.clone(), id, 0, address).split())
    }
}

/// An attempt to connect that somebody waits for.
struct Wish<'a> {
    shared: &'a Shared,
    attempt: AttemptId,
}

impl Wish<'_> {
    async fn granted(self) -> io::Result<ConnectionId> {
        poll_fn(|cx| {
            let mut network = lock(self.shared);
            let Some(attempt) = network.attempts.get_mut(&self.attempt) else {
                return Poll::Ready(Err(io::ErrorKind::NetworkDown.into()));
            };
            match attempt.outcome.take() {
                Some(outcome) => {
                    network.attempts.remove(&self.attempt);
                    Poll::Ready(outcome)
                }
                None => {
                    attempt.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        lock(self.shared).give_up_attempt(self.attempt);
    }
}

impl SimListener {
    pub(in crate::stream) async fn accept(&self) -> io::Result<SimAccepted> {
        let SimHost { shared, ip, boot } = &self.host;
        poll_fn(|cx| {
            let mut network = lock(shared);
            if !network.lives(*ip, *boot) {
                return Poll::Ready(Err(io::ErrorKind::NetworkDown.into()));
            }
            let backlog = network.listeners.get_mut(&self.address).expect("a live process's listener is listed");
            match backlog.waiting.pop_front() {
                Some((id, peer_address)) => {
                    Poll::Ready(Ok(SimAccepted(Handle::new(shared.clone(), id, 1, peer_address))))
                }
                None => {
                    backlog.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    pub(in crate::stream) fn local_address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut network = lock(&self.host.shared);
        // A later process of this host may listen there by now.
        if network.lives(self.host.ip, self.host.boot)
            && let Some(backlog) = network.listeners.remove(&self.address)
        {
            for (id, _) in backlog.waiting {
                network.kill_end(id, 1);
                network.reset_towards(id, 0, true);
            }
        }
    }
}

impl SimAccepted {
    pub(in crate::stream) fn peer_address(&self) -> SocketAddr {
        self.0.peer_address
    }

    pub(in crate::stream) fn bind(self) -> (SimReadHalf, SimWriteHalf) {
        self.0.split()
    }

    pub(in crate::stream) fn unbind(read: SimReadHalf, write: SimWriteHalf) -> SimAccepted {
        SimAccepted(Handle::join(read, write))
    }
}
