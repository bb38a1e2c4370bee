//! TCP, by glommio or simulated. The only file of this crate that names glommio.
//!
//! Contract (bodies are being written):

use std::io;
use std::net::{IpAddr, SocketAddr};

/// A network. Cheap to clone.
#[derive(Clone)]
pub enum Net {
    /// The machine's.
    Ring,
    /// A simulated one, seen from one host.
    Sim(SimHost),
}

/// A host on a simulated network.
#[derive(Clone)]
pub struct SimHost;

/// A socket that listens.
pub enum Listener {
    /// On the machine.
    Ring(()),
    /// Simulated.
    Sim(()),
}

/// A connection on its way from the acceptor to the executor that will own it. `Send`; closes when dropped.
pub enum Accepted {
    /// On the machine.
    Ring(()),
    /// Simulated.
    Sim(()),
}

/// A connection's reading side.
pub struct ReadHalf(());
/// A connection's writing side.
pub struct WriteHalf(());

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async, clippy::missing_errors_doc)]
impl Net {
    /// Listens. A second listener on the same address fails (SO_REUSEADDR, never SO_REUSEPORT).
    pub fn listen(&self, address: SocketAddr, backlog: i32) -> io::Result<Listener> {
        unimplemented!()
    }
    /// Connects, with TCP_NODELAY.
    pub async fn connect(&self, address: SocketAddr) -> io::Result<(ReadHalf, WriteHalf)> {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async, clippy::missing_errors_doc)]
impl Listener {
    /// The next connection. EMFILE and the like come back as errors at once: the caller backs off.
    pub async fn accept(&self) -> io::Result<Accepted> {
        unimplemented!()
    }
    /// Where it listens (the port, if it asked for 0).
    pub fn local_address(&self) -> SocketAddr {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unimplemented, clippy::missing_errors_doc)]
impl Accepted {
    /// Who connected.
    pub fn peer_ip(&self) -> IpAddr {
        unimplemented!()
    }
    /// Takes the connection onto the executor that this runs on; sets TCP_NODELAY.
    pub fn bind(self) -> io::Result<(ReadHalf, WriteHalf)> {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async, clippy::missing_errors_doc)]
impl ReadHalf {
    /// Reads some bytes into the spare capacity of `buffer`; 0 = the peer has closed.
    pub async fn read_buf(&mut self, buffer: &mut bytes::BytesMut) -> io::Result<usize> {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unimplemented, clippy::unused_async, clippy::missing_errors_doc)]
impl WriteHalf {
    /// Writes all of all slices (one writev where the kernel takes it).
    pub async fn write_all_vectored(&mut self, slices: &[&[u8]]) -> io::Result<()> {
        unimplemented!()
    }
    /// Ends both directions now (FIN), whatever the other half is doing: a pending read returns 0.
    pub fn shutdown(&self) {
        unimplemented!()
    }
}
