//! Real sockets: system calls that never block, and the ring to wait for readiness.
//!
//! *Which core*: any executor; a socket is waited for only by the one it was bound to.
//! *Invariants*: no call here blocks: `MSG_DONTWAIT` on every receive and send, `O_NONBLOCK` on what listens and connects.
//! *Why wait before a read that follows a short one*: the kernel had no more then, so the next `recv` would most often say
//! so again; one entry in the ring is cheaper than a system call.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use smallvec::SmallVec;
use socket2::{Domain, Protocol, Socket, Type};

use super::ring::io::PollableFd;

/// Slices that one system call takes.
const SLICES_MAX: usize = libc::UIO_MAXIOV as usize;

/// A connection that was made from here ends when its peer has acknowledged nothing for so long: a dead machine says no more,
/// and the kernel would go on asking for a quarter of an hour, ever more rarely.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(5);

/// A real listener.
pub struct RingListener {
    socket: PollableFd<Socket>,
    local_address: SocketAddr,
}

/// A real connection on its way to an executor.
pub struct RingAccepted {
    socket: Socket,
    peer_address: SocketAddr,
}

/// A connection on its executor, shared by its halves.
struct Connection {
    socket: PollableFd<Socket>,
    /// It lives on under another descriptor.
    is_handed_on: Cell<bool>,
}

/// The reading half of a real connection.
pub(super) struct RingReadHalf {
    connection: Rc<Connection>,
    /// The last read took all there was.
    is_drained: bool,
}

/// The writing half of a real connection.
pub(super) struct RingWriteHalf {
    connection: Rc<Connection>,
}

/// Listens.
pub(super) fn listen(address: SocketAddr, backlog: i32) -> io::Result<RingListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    let local_address = ip_address(&socket.local_addr()?)?;
    Ok(RingListener { socket: on_this_executor(socket)?, local_address })
}

/// Connects.
pub(super) async fn connect(address: SocketAddr) -> io::Result<(RingReadHalf, RingWriteHalf)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    match socket.connect(&address.into()) {
        Ok(()) => return split(on_this_executor(socket)?),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let socket = on_this_executor(socket)?;
    socket.writable().await?;
    match socket.get_ref().take_error()? {
        None => split(socket),
        Some(error) => Err(error),
    }
}

fn on_this_executor(socket: Socket) -> io::Result<PollableFd<Socket>> {
    Ok(PollableFd::new(socket)?)
}

fn split(socket: PollableFd<Socket>) -> io::Result<(RingReadHalf, RingWriteHalf)> {
    let connection = Rc::new(Connection { socket, is_handed_on: Cell::new(false) });
    Ok((RingReadHalf { connection: connection.clone(), is_drained: false }, RingWriteHalf { connection }))
}

fn ip_address(address: &socket2::SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::other("not an IP address"))
}

impl RingListener {
    pub(super) async fn accept(&self) -> io::Result<RingAccepted> {
        loop {
            match self.socket.get_ref().accept() {
                Ok((socket, address)) => {
                    let peer = ip_address(&address).unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
                    let peer_address = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                    return Ok(RingAccepted { socket, peer_address });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.socket.readable().await?,
                // The peer gave up before we came: not our trouble, and no reason to back off.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn local_address(&self) -> SocketAddr {
        self.local_address
    }
}

impl RingAccepted {
    pub(super) fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    pub(super) fn bind(self) -> io::Result<(RingReadHalf, RingWriteHalf)> {
        self.socket.set_tcp_nodelay(true)?;
        split(on_this_executor(self.socket)?)
    }

    pub(super) fn unbind(read: RingReadHalf, write: RingWriteHalf) -> io::Result<RingAccepted> {
        assert!(Rc::ptr_eq(&read.connection, &write.connection), "the halves are of one connection");
        let socket = read.connection.socket.get_ref().try_clone()?;
        let peer_address = ip_address(&socket.peer_addr()?)?;
        read.connection.is_handed_on.set(true);
        let peer_address = SocketAddr::new(peer_address.ip().to_canonical(), peer_address.port());
        Ok(RingAccepted { socket, peer_address })
    }
}

impl Connection {
    fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    fn shutdown(&self) {
        // Fails only where the connection is gone already.
        let _ = self.socket.get_ref().shutdown(std::net::Shutdown::Both);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A wait that is still in the kernel holds the file until the reactor's next turn: say goodbye now, not then.
        if !self.is_handed_on.get() {
            self.shutdown();
        }
    }
}

impl RingReadHalf {
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained
    }

    pub(super) async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        if self.is_drained {
            self.connection.socket.readable().await?;
            self.is_drained = false;
        }
        loop {
            match receive(self.connection.fd(), buffer) {
                Ok((bytes, room)) => {
                    self.is_drained = bytes < room;
                    return Ok(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connection.socket.readable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Receives into the spare capacity: how many bytes, and how many there was room for.
fn receive(fd: RawFd, buffer: &mut BytesMut) -> io::Result<(usize, usize)> {
    let spare = buffer.spare_capacity_mut();
    let room = spare.len();
    // SAFETY: the kernel writes at most `room` bytes into memory that is ours alone during the call.
    let result = unsafe { libc::recv(fd, spare.as_mut_ptr().cast(), room, libc::MSG_DONTWAIT) };
    let bytes = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has initialised the first `bytes` of the spare capacity.
    unsafe { buffer.set_len(buffer.len() + bytes) };
    Ok((bytes, room))
}

impl RingWriteHalf {
    pub(super) async fn write_all_vectored(&mut self, slices: &[&[u8]]) -> io::Result<()> {
        let mut slices: SmallVec<[IoSlice<'_>; 16]> =
            slices.iter().filter(|slice| !slice.is_empty()).map(|slice| IoSlice::new(slice)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            match send(self.connection.fd(), rest) {
                Ok(bytes) => IoSlice::advance_slices(&mut rest, bytes),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connection.socket.writable().await?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub(super) fn shutdown(&self) {
        self.connection.shutdown();
    }
}

/// Sends what the kernel takes of the slices, at least a byte.
fn send(fd: RawFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    // SAFETY: a zeroed msghdr is an empty one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // An IoSlice is an iovec; the kernel only reads it.
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len().min(SLICES_MAX) as _;
    // SAFETY: the message and all it points to live through the call.
    let result = unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
