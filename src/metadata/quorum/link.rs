//! A link: the stream of raft messages to one peer, dialed again whenever it breaks.
//!
//! *Which core*: metadata.
//! *Invariants*: messages leave in the order in which raft gave them, but that a snapshot's image goes in pieces between those
//! that come after it; what does not leave is reported to raft, which sends it again (lesson 48); the queue is bounded in
//! messages and bytes, and empty while the link is down; one snapshot is on its way at most.
//! *Not here*: which messages there are (node), their bytes (message).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use net::peer_frame;
use net::stream::WriteHalf;
use raft::SnapshotStatus;
use raft::eraftpb::{Message, MessageType};

use super::message;
use super::peers::Peers;
use crate::limits;
use crate::metadata::image::Voter;
use crate::metadata::node::Node;
use crate::metadata::wait::Signal;
use crate::peer::Connection;
use crate::peer::hello::{HELLO_BYTES_MAX, Purpose};

/// Bytes of a snapshot's image that one frame holds.
const PIECE_BYTES: usize = 256 << 10;

/// See the module.
pub(super) struct Link {
    node: Rc<Node>,
    peers: Rc<Peers>,
    /// Whom it leads to.
    voter: Voter,
    state: RefCell<State>,
    changed: Signal,
}

#[derive(Default)]
struct State {
    /// The connection's number, while there is one.
    connection: Option<u64>,
    connections: u64,
    queue: VecDeque<Message>,
    queue_bytes: usize,
    /// What is left of a snapshot's image.
    image: Option<Bytes>,
    is_closed: bool,
}

/// What goes next.
enum Next {
    Message(Message),
    Piece(Bytes),
    End,
}

impl State {
    fn is_sending_snapshot(&self) -> bool {
        self.image.is_some() || self.queue.iter().any(|message| message.get_msg_type() == MessageType::MsgSnapshot)
    }

    fn has_room_for(&self, message: &Message) -> bool {
        let is_small = self.queue.len() < limits::RAFT_QUEUE_MESSAGES_MAX
            && self.queue_bytes + entry_bytes(message) <= limits::RAFT_QUEUE_BYTES_MAX;
        self.connection.is_some()
            && (is_small || self.queue.is_empty())
            && !(message.get_msg_type() == MessageType::MsgSnapshot && self.is_sending_snapshot())
    }

    fn next(&mut self, connection: u64) -> Option<Next> {
        if self.connection != Some(connection) {
            return Some(Next::End);
        }
        if let Some(message) = self.queue.pop_front() {
            self.queue_bytes -= entry_bytes(&message);
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.image = Some(message.get_snapshot().data.clone());
            }
            return Some(Next::Message(message));
        }
        let image = self.image.as_mut()?;
        Some(Next::Piece(image.split_to(image.len().min(PIECE_BYTES))))
    }
}

fn entry_bytes(message: &Message) -> usize {
    message.entries.iter().map(|entry| entry.data.len()).sum()
}

impl Link {
    pub(super) fn new(node: Rc<Node>, peers: Rc<Peers>, voter: Voter) -> Link {
        Link { node, peers, voter, state: RefCell::default(), changed: Signal::default() }
    }

    /// Takes a message to send, or reports that it cannot be sent.
    pub(super) fn offer(&self, message: Message) {
        let mut state = self.state.borrow_mut();
        if state.has_room_for(&message) {
            state.queue_bytes += entry_bytes(&message);
            state.queue.push_back(message);
            drop(state);
            return self.changed.raise();
        }
        drop(state);
        match message.get_msg_type() {
            MessageType::MsgSnapshot => self.node.snapshot_sent(self.voter.raft_id, SnapshotStatus::Failure),
            _ => self.node.unreachable(self.voter.raft_id),
        }
    }

    /// Ends the link.
    pub(super) fn close(&self) {
        let mut state = self.state.borrow_mut();
        (state.is_closed, state.connection) = (true, None);
        drop(state);
        self.changed.raise();
    }

    /// Keeps a connection until the link is closed.
    pub(super) async fn run(self: Rc<Self>) {
        let (mut backoff_ms, mut told) = (limits::PEER_BACKOFF_MS_MIN, String::new());
        let peer = self.voter.node_id.0;
        while !self.state.borrow().is_closed {
            match self.connect().await {
                Ok(connection) => {
                    tracing::info!("metadata: broker {peer} is reached");
                    (backoff_ms, told) = (limits::PEER_BACKOFF_MS_MIN, String::new());
                    self.send_over(connection).await;
                }
                // Said once: it is tried again several times a second.
                Err(error) if error != told => {
                    tracing::warn!("metadata: broker {peer} is not reached: {error}");
                    told = error;
                }
                Err(_) => {}
            }
            self.peers.rt.sleep(Duration::from_millis(backoff_ms)).await;
            backoff_ms = (backoff_ms * 2).min(limits::PEER_BACKOFF_MS_MAX);
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        let dialed = self.peers.dial(self.voter.node_id, Purpose::Raft, HELLO_BYTES_MAX).await;
        let connection = dialed.map_err(|error| error.to_string())?;
        let bound = self.node.image().voters().get(&self.voter.raft_id).and_then(|voter| voter.directory_id);
        match bound {
            Some(bound) if bound != connection.peer.directory_id => {
                Err(format!("its data directory is {}, the voter's is {bound}", connection.peer.directory_id))
            }
            Some(_) | None => Ok(connection),
        }
    }

    async fn send_over(self: &Rc<Self>, connection: Connection) {
        let Connection { mut reader, mut writer, .. } = connection;
        let number = {
            let mut state = self.state.borrow_mut();
            if state.is_closed {
                return;
            }
            state.connections += 1;
            state.connection = Some(state.connections);
            state.connections
        };
        let link = self.clone();
        self.peers.rt.spawn(async move {
            // Nothing is ever said here; it only ends.
            while let Ok(Some(_)) = reader.next().await {}
            link.lose(number);
        });
        if let Err(error) = self.send_all(number, &mut writer).await {
            tracing::info!("metadata: broker {} is lost: {error}", self.voter.node_id.0);
        }
        writer.shutdown();
        self.lose(number);
    }

    async fn send_all(&self, number: u64, writer: &mut WriteHalf) -> std::io::Result<()> {
        loop {
            let next = self.changed.until(|| self.state.borrow_mut().next(number)).await;
            match next {
                Next::End => return Ok(()),
                Next::Message(message) => {
                    peer_frame::write(writer, &[&message::to_bytes(&message)]).await?;
                }
                Next::Piece(piece) => {
                    peer_frame::write(writer, &[&message::piece_to_bytes(piece)]).await?;
                    let is_done = self.state.borrow_mut().image.take_if(|image| image.is_empty()).is_some();
                    if is_done {
                        self.node.snapshot_sent(self.voter.raft_id, SnapshotStatus::Finish);
                    }
                }
            }
        }
    }

    /// A connection is no more: whatever had not left is lost with it.
    fn lose(&self, number: u64) {
        let mut state = self.state.borrow_mut();
        if state.connection != Some(number) {
            return;
        }
        let lost_snapshot = state.is_sending_snapshot();
        *state = State { connections: state.connections, ..State::default() };
        drop(state);
        self.changed.raise();
        self.node.unreachable(self.voter.raft_id);
        if lost_snapshot {
            self.node.snapshot_sent(self.voter.raft_id, SnapshotStatus::Failure);
        }
    }
}
