//! A simulated connection: two ends, and a pipe towards each.
//!
//! *Invariants*: what is outstanding in a direction never exceeds the window; packets of a pipe arrive in the order in which
//! they were pushed. An end that is gone (dropped, or its process dead) is never touched by its handles again.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use rand::Rng;

use super::network::{ConnectionId, Network, Side, wake};
use super::{Shared, lock};

/// What travels in one direction.
pub(super) enum Packet {
    Data(Bytes),
    /// No more data.
    Fin,
    /// The connection is no more.
    Reset,
}

/// What is on its way to an end, and what has arrived there.
#[derive(Default)]
pub(super) struct Pipe {
    /// By arrival time, in ns.
    on_its_way: VecDeque<(u64, Packet)>,
    arrived: BytesMut,
    has_ended: bool,
}

impl Pipe {
    /// Says when it arrives: never before what is ahead of it.
    pub(super) fn push(&mut self, due_ns: u64, packet: Packet) -> u64 {
        let due_ns = self.on_its_way.back().map_or(due_ns, |(last_ns, _)| due_ns.max(*last_ns));
        self.on_its_way.push_back((due_ns, packet));
        due_ns
    }

    /// Something should have arrived by now, but was held back.
    pub(super) fn is_late(&self, now_ns: u64) -> bool {
        self.on_its_way.front().is_some_and(|(due_ns, _)| *due_ns <= now_ns)
    }

    fn pop_due(&mut self, now_ns: u64) -> Option<Packet> {
        if self.is_late(now_ns) { self.on_its_way.pop_front().map(|(_, packet)| packet) } else { None }
    }
}

pub(super) struct End {
    pub(super) address: SocketAddr,
    pub(super) incoming: Pipe,
    /// Shut down on this side: reads end, writes fail.
    pub(super) is_closed: bool,
    /// Its handles are dropped, or its process is dead.
    is_gone: bool,
    is_reset: bool,
    /// Bytes written here that the peer has not acknowledged.
    outstanding: usize,
    /// Bytes read here that were not acknowledged yet.
    unacknowledged: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl End {
    fn new(address: SocketAddr) -> End {
        End {
            address,
            incoming: Pipe::default(),
            is_closed: false,
            is_gone: false,
            is_reset: false,
            outstanding: 0,
            unacknowledged: 0,
            reader: None,
            writer: None,
        }
    }

    fn wake_both(&mut self) {
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    fn reset(&mut self) {
        self.is_reset = true;
        self.incoming.on_its_way.clear();
        self.wake_both();
    }
}

pub(super) struct Connection {
    pub(super) ends: [End; 2],
}

impl Connection {
    pub(super) fn new(from: SocketAddr, to: SocketAddr) -> Connection {
        Connection { ends: [End::new(from), End::new(to)] }
    }
}

impl Network {
    /// Delivers what is due at an end, unless its direction is cut.
    pub(super) fn arrive(&mut self, id: ConnectionId, side: Side) {
        let now_ns = self.now_ns;
        let Some(connection) = self.connections.get(&id) else { return };
        let (own_ip, peer_ip) = (connection.ends[side].address.ip(), connection.ends[1 - side].address.ip());
        if self.is_cut(peer_ip, own_ip) {
            return;
        }
        let is_powered = self.is_powered(own_ip);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = &mut connection.ends[side];
        let mut is_unwanted = false;
        while let Some(packet) = end.incoming.pop_due(now_ns) {
            match packet {
                Packet::Data(_) if end.is_closed => is_unwanted = true,
                Packet::Data(bytes) => end.incoming.arrived.extend_from_slice(&bytes),
                Packet::Fin => end.incoming.has_ended = true,
                Packet::Reset => end.reset(),
            }
            wake(&mut end.reader);
        }
        if is_unwanted && is_powered && !end.is_reset {
            end.is_reset = true;
            self.dispatch(id, 1 - side, Packet::Reset);
        }
    }

    fn poll_read(
        &mut self,
        id: ConnectionId,
        side: Side,
        buffer: &mut BytesMut,
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let is_piece = self.chance(self.options.pieces_one_in);
        let Some(connection) = self.connections.get_mut(&id) else { return Poll::Ready(Ok(0)) };
        let end = &mut connection.ends[side];
        if end.is_closed {
            return Poll::Ready(Ok(0));
        }
        let available = end.incoming.arrived.len().min(buffer.capacity() - buffer.len());
        if available > 0 {
            let bytes = if is_piece { self.dice.random_range(1..=available) } else { available };
            buffer.extend_from_slice(&end.incoming.arrived[..bytes]);
            end.incoming.arrived.advance(bytes);
            end.unacknowledged += bytes;
            self.acknowledge(id);
            return Poll::Ready(Ok(bytes));
        }
        if end.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if end.incoming.has_ended {
            return Poll::Ready(Ok(0));
        }
        end.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes some of `bytes`: how many.
    fn poll_write(&mut self, id: ConnectionId, side: Side, bytes: &[u8], cx: &Context<'_>) -> Poll<io::Result<usize>> {
        let is_piece = self.chance(self.options.pieces_one_in);
        let window_bytes = self.options.window_bytes;
        let Some(connection) = self.connections.get_mut(&id) else { return broken_pipe() };
        let end = &mut connection.ends[side];
        if end.is_closed {
            return broken_pipe();
        }
        if end.is_reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = (window_bytes - end.outstanding).min(bytes.len());
        if room == 0 {
            end.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = if is_piece { self.dice.random_range(1..=room) } else { room };
        end.outstanding += taken;
        self.dispatch(id, 1 - side, Packet::Data(Bytes::copy_from_slice(&bytes[..taken])));
        Poll::Ready(Ok(taken))
    }

    /// Tells each end what the other has read, unless that direction is cut.
    pub(super) fn acknowledge(&mut self, id: ConnectionId) {
        for side in 0..2 {
            let Some(connection) = self.connections.get(&id) else { return };
            let (own_ip, peer_ip) = (connection.ends[side].address.ip(), connection.ends[1 - side].address.ip());
            let is_cut = self.is_cut(own_ip, peer_ip);
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let read = connection.ends[side].unacknowledged;
            if read > 0 && !is_cut {
                connection.ends[side].unacknowledged = 0;
                connection.ends[1 - side].outstanding -= read;
                wake(&mut connection.ends[1 - side].writer);
            }
        }
    }

    /// Ends both directions from one side; the peer learns it by a FIN, or a reset if bytes were left unread.
    fn close(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = &mut connection.ends[side];
        if end.is_closed {
            return;
        }
        end.is_closed = true;
        end.wake_both();
        if !end.is_reset {
            let packet = if end.incoming.arrived.is_empty() { Packet::Fin } else { Packet::Reset };
            self.dispatch(id, 1 - side, packet);
        }
    }

    /// The handles of an end are gone.
    pub(super) fn release(&mut self, id: ConnectionId, side: Side) {
        self.close(id, side);
        self.forget_end(id, side);
    }

    /// The process of an end is dead: the end neither does nor says anything any more.
    pub(super) fn kill_end(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let end = &mut connection.ends[side];
        end.is_closed = true;
        end.reader = None;
        end.writer = None;
        self.forget_end(id, side);
    }

    fn forget_end(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.ends[side].is_gone = true;
        if connection.ends.iter().all(|end| end.is_gone) {
            self.connections.remove(&id);
        }
    }

    /// A dead process's kernel says goodbye to an end; what was on its way there may be lost.
    pub(super) fn reset_towards(&mut self, id: ConnectionId, side: Side, loses_bytes: bool) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if loses_bytes {
            connection.ends[side].incoming.on_its_way.clear();
            return self.dispatch(id, side, Packet::Reset);
        }
        self.dispatch(id, side, Packet::Fin);
    }

    /// Nothing more reaches an end.
    pub(super) fn fall_silent(&mut self, id: ConnectionId, side: Side) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ends[side].incoming.on_its_way.clear();
        }
    }

    pub(super) fn reset_between(&mut self, one: std::net::IpAddr, other: std::net::IpAddr) -> usize {
        let mut count = 0;
        for connection in self.connections.values_mut() {
            let [a, b] = &mut connection.ends;
            let ips = (a.address.ip(), b.address.ip());
            if (ips == (one, other) || ips == (other, one)) && !a.is_gone && !b.is_gone {
                a.reset();
                b.reset();
                count += 1;
            }
        }
        count
    }
}

fn broken_pipe() -> Poll<io::Result<usize>> {
    Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
}

/// An end as its owner holds it; the end is released with the last half.
pub(super) struct Handle {
    shared: Shared,
    id: ConnectionId,
    side: Side,
    pub(super) peer_address: SocketAddr,
}

impl Handle {
    pub(super) fn new(shared: Shared, id: ConnectionId, side: Side, peer_address: SocketAddr) -> Handle {
        Handle { shared, id, side, peer_address }
    }

    pub(super) fn split(self) -> (SimReadHalf, SimWriteHalf) {
        let handle = Arc::new(self);
        (SimReadHalf(handle.clone()), SimWriteHalf(handle))
    }

    /// The reverse of [`Handle::split`].
    pub(super) fn join(read: SimReadHalf, write: SimWriteHalf) -> Handle {
        assert!(Arc::ptr_eq(&read.0, &write.0), "the halves are of one connection");
        drop(read);
        Arc::into_inner(write.0).expect("a connection has two halves")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        lock(&self.shared).release(self.id, self.side);
    }
}

/// The reading half of a simulated connection.
pub(in crate::stream) struct SimReadHalf(Arc<Handle>);
/// The writing half of a simulated connection.
pub(in crate::stream) struct SimWriteHalf(Arc<Handle>);

impl SimReadHalf {
    pub(in crate::stream) async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let Handle { shared, id, side, .. } = &*self.0;
        poll_fn(|cx| lock(shared).poll_read(*id, *side, buffer, cx)).await
    }

    pub(in crate::stream) fn is_drained(&self) -> bool {
        let Handle { shared, id, side, .. } = &*self.0;
        lock(shared).connections.get(id).is_none_or(|connection| connection.ends[*side].incoming.arrived.is_empty())
    }
}

impl SimWriteHalf {
    pub(in crate::stream) async fn write_all_vectored(&mut self, slices: &[&[u8]]) -> io::Result<()> {
        let Handle { shared, id, side, .. } = &*self.0;
        for slice in slices {
            let mut rest = *slice;
            while !rest.is_empty() {
                let taken = poll_fn(|cx| lock(shared).poll_write(*id, *side, rest, cx)).await?;
                rest = &rest[taken..];
            }
        }
        Ok(())
    }

    pub(in crate::stream) fn shutdown(&self) {
        lock(&self.0.shared).close(self.0.id, self.0.side);
    }
}
