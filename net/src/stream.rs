//! TCP, by glommio or simulated. The only file of this crate that names glommio; its submodules see it as `ring`.
//!
//! *Which core*: a listener and a connection belong to the executor that listened, connected or bound; [`Accepted`] is the
//! one thing that travels.
//! *Invariants*: no byte is copied but into the caller's buffer. A connection closes when both halves are gone.
//! *Not here*: frames (`frame`), time-outs and limits (the server's).
//! *Why own system calls*: one `recv` into spare capacity and one `sendmsg` of all slices per turn, and the ring only to
//! wait: the reactor's own streams copy, or zero, or write one slice at a time.

pub mod sim;
mod socket;

use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;
use glommio as ring;

use sim::{SimAccepted, SimHost, SimListener, SimReadHalf, SimWriteHalf};
use socket::{RingAccepted, RingListener, RingReadHalf, RingWriteHalf};

/// A network. Cheap to clone.
#[derive(Clone)]
pub enum Net {
    /// The machine's.
    Ring,
    /// A simulated one, seen from one host.
    Sim(SimHost),
}

/// A socket that listens; it closes when dropped. Belongs to the executor it was made on.
pub enum Listener {
    /// On the machine.
    Ring(RingListener),
    /// Simulated.
    Sim(SimListener),
}

/// A connection on its way from the acceptor to the executor that will own it. `Send`; closes when dropped.
pub enum Accepted {
    /// On the machine.
    Ring(RingAccepted),
    /// Simulated.
    Sim(SimAccepted),
}

/// A connection's reading side. One task reads while another writes.
pub struct ReadHalf(ReadSide);
/// A connection's writing side.
pub struct WriteHalf(WriteSide);

enum ReadSide {
    Ring(RingReadHalf),
    Sim(SimReadHalf),
}

enum WriteSide {
    Ring(RingWriteHalf),
    Sim(SimWriteHalf),
}

impl Net {
    /// Listens, on the executor that this runs on. A second listener on the same address fails with `AddrInUse`
    /// (SO_REUSEADDR, never SO_REUSEPORT). `[::]` takes IPv4 too.
    pub fn listen(&self, address: SocketAddr, backlog: i32) -> io::Result<Listener> {
        match self {
            Net::Ring => socket::listen(address, backlog).map(Listener::Ring),
            Net::Sim(host) => host.listen(address, backlog).map(Listener::Sim),
        }
    }

    /// Connects, with TCP_NODELAY. Waits as long as the system does (minutes): bound it by dropping it.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<(ReadHalf, WriteHalf)> {
        match self {
            Net::Ring => socket::connect(address).await.map(halves),
            Net::Sim(host) => host.connect(address).await.map(sim_halves),
        }
    }
}

fn halves((read, write): (RingReadHalf, RingWriteHalf)) -> (ReadHalf, WriteHalf) {
    (ReadHalf(ReadSide::Ring(read)), WriteHalf(WriteSide::Ring(write)))
}

fn sim_halves((read, write): (SimReadHalf, SimWriteHalf)) -> (ReadHalf, WriteHalf) {
    (ReadHalf(ReadSide::Sim(read)), WriteHalf(WriteSide::Sim(write)))
}

impl Listener {
    /// The next connection. EMFILE and the like come back as errors at once: the caller backs off.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Listener::Ring(listener) => listener.accept().await.map(Accepted::Ring),
            Listener::Sim(listener) => listener.accept().await.map(Accepted::Sim),
        }
    }

    /// Where it listens (the port, if it asked for 0).
    pub fn local_address(&self) -> SocketAddr {
        match self {
            Listener::Ring(listener) => listener.local_address(),
            Listener::Sim(listener) => listener.local_address(),
        }
    }
}

impl Accepted {
    /// Who connected; an IPv4 peer of an IPv6 socket as IPv4.
    pub fn peer_address(&self) -> SocketAddr {
        match self {
            Accepted::Ring(accepted) => accepted.peer_address(),
            Accepted::Sim(accepted) => accepted.peer_address(),
        }
    }

    /// Who connected, without the port.
    pub fn peer_ip(&self) -> IpAddr {
        self.peer_address().ip()
    }

    /// Takes the connection onto the executor that this runs on; sets TCP_NODELAY.
    pub fn bind(self) -> io::Result<(ReadHalf, WriteHalf)> {
        match self {
            Accepted::Ring(accepted) => accepted.bind().map(halves),
            Accepted::Sim(accepted) => Ok(sim_halves(accepted.bind())),
        }
    }

    /// The reverse of [`Accepted::bind`]: takes a connection off this executor, for another to bind. What was read of it and
    /// not used does not travel. Nobody may be waiting on it.
    pub fn unbind(read: ReadHalf, write: WriteHalf) -> io::Result<Accepted> {
        match (read.0, write.0) {
            (ReadSide::Ring(read), WriteSide::Ring(write)) => RingAccepted::unbind(read, write).map(Accepted::Ring),
            (ReadSide::Sim(read), WriteSide::Sim(write)) => Ok(Accepted::Sim(SimAccepted::unbind(read, write))),
            _ => unreachable!("two halves of one connection are of one world"),
        }
    }
}

impl ReadHalf {
    /// Reads some bytes into the spare capacity of `buffer`, which must have some; 0 = the peer has closed. Dropping it
    /// loses nothing. Poll it in a task of its own: each poll that finds nothing costs memory until something comes.
    pub async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        assert!(buffer.capacity() > buffer.len(), "a read without room would look like the end");
        match &mut self.0 {
            ReadSide::Ring(half) => half.read_buf(buffer).await,
            ReadSide::Sim(half) => half.read_buf(buffer).await,
        }
    }

    /// Did the last read take all there was? Then the next one most likely waits for the peer.
    pub fn is_drained(&self) -> bool {
        match &self.0 {
            ReadSide::Ring(half) => half.is_drained(),
            ReadSide::Sim(half) => half.is_drained(),
        }
    }
}

impl WriteHalf {
    /// Writes all of all slices (one `sendmsg` where the kernel takes it). After an error, or dropped midway, an unknown
    /// part was written: the connection is good for nothing but [`WriteHalf::shutdown`].
    pub async fn write_all_vectored(&mut self, slices: &[&[u8]]) -> io::Result<()> {
        match &mut self.0 {
            WriteSide::Ring(half) => half.write_all_vectored(slices).await,
            WriteSide::Sim(half) => half.write_all_vectored(slices).await,
        }
    }

    /// Ends both directions now (FIN), whatever the other half is doing: a pending read returns 0.
    pub fn shutdown(&self) {
        match &self.0 {
            WriteSide::Ring(half) => half.shutdown(),
            WriteSide::Sim(half) => half.shutdown(),
        }
    }
}

/// Runs a future on an executor of this thread, under a watchdog: for this crate's tests and examples only.
#[doc(hidden)]
pub fn run_on_ring<T>(future: impl Future<Output = T>) -> T {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    let ended = Arc::new(AtomicBool::new(false));
    let waker = Arc::new(Mutex::new(None::<std::task::Waker>));
    let (seen, woken) = (ended.clone(), waker.clone());
    let watchdog = std::thread::spawn(move || {
        while !seen.load(Ordering::Relaxed) {
            if let Some(waker) = &*woken.lock().expect("nobody panics with it") {
                waker.wake_by_ref();
            }
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    });
    let executor = ring::LocalExecutorBuilder::new(ring::Placement::Unbound)
        .io_memory(64 << 10)
        .preempt_timer(std::time::Duration::from_millis(1))
        .make()
        .expect("io_uring works here");
    let result = executor.run(async move {
        let heartbeat = std::future::poll_fn(move |cx| {
            *waker.lock().expect("nobody panics with it") = Some(cx.waker().clone());
            std::task::Poll::<()>::Pending
        });
        ring::spawn_local(heartbeat).detach();
        future.await
    });
    ended.store(true, Ordering::Relaxed);
    watchdog.join().expect("the watchdog ends");
    result
}

/// Runs a task beside the one that calls, on [`run_on_ring`]'s executor, and resolves when it has ended: for this crate's
/// tests and examples only.
#[doc(hidden)]
pub fn spawn_on_ring(task: impl Future<Output = ()> + 'static) -> impl Future<Output = Option<()>> {
    ring::spawn_local(task).detach()
}

#[cfg(test)]
mod tests;
