//! The transport of raft's messages: a link to each voter, a stream from each.
//!
//! *Which core*: metadata.
//! *Invariants*: one stream per peer and direction, in order (lesson 44): a newer one takes the older one's place; a message
//! counts only from the voter, and the directory, that its stream is of; a snapshot is handed on once it is whole, and begun anew
//! with the stream.
//! *Not here*: accepting and greeting (server).

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use net::peer_frame::{PeerFrameError, PeerFrameReader};
use net::stream::ReadHalf;
use raft::eraftpb::Message;
use storage::disk::SMALL_FILE_BYTES_MAX;

use super::link::Link;
use super::message::{self, Frame};
use super::peers::Peers;
use crate::limits;
use crate::metadata::node::Node;
use crate::metadata::request::Request;
use crate::model::BrokerId;
use crate::peer::hello::Hello;

/// See the module.
pub struct Transport {
    node: Rc<Node>,
    peers: Rc<Peers>,
    /// By raft id.
    links: BTreeMap<u64, Rc<Link>>,
    /// The number of the latest stream of each peer.
    streams: RefCell<BTreeMap<u64, u64>>,
}

/// Why a peer's stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The socket, or a frame.
    #[error(transparent)]
    Frame(#[from] PeerFrameError),
    /// A frame that means nothing.
    #[error("not a message of the metadata group: {0}")]
    Malformed(String),
    /// Of somebody else, or for somebody else.
    #[error("a message from {from} to {to} on the stream of {peer}")]
    Misdirected {
        /// Whose stream it is.
        peer: u64,
        /// Whose the message says it is.
        from: u64,
        /// For whom.
        to: u64,
    },
}

/// A snapshot of which pieces are missing.
struct Assembly {
    message: Message,
    image: BytesMut,
    image_bytes: usize,
}

impl Transport {
    /// Links this node to every other voter, for as long as the node runs.
    pub fn start(node: Rc<Node>, peers: Rc<Peers>) -> Rc<Transport> {
        let image = node.image();
        let others = image.voters().values().filter(|voter| voter.node_id != peers.local.node);
        let links =
            others.map(|voter| (voter.raft_id, Rc::new(Link::new(node.clone(), peers.clone(), *voter)))).collect();
        let transport = Rc::new(Transport { node, peers, links, streams: RefCell::default() });
        for link in transport.links.values() {
            transport.peers.rt.spawn(link.clone().run());
        }
        transport.peers.rt.spawn(transport.clone().route());
        transport
    }

    async fn route(self: Rc<Self>) {
        while let Some(message) = self.node.next_message().await {
            if let Some(link) = self.links.get(&message.to) {
                link.offer(message);
            }
        }
        self.links.values().for_each(|link| link.close());
    }

    /// Does a peer's voice count in the group? Gives its raft id. A voter that shows up for the first time is bound to its
    /// directory, by the controller, and heard when it comes again.
    ///
    /// # Errors
    /// A sentence for the peer.
    pub fn admit(&self, hello: &Hello) -> Result<u64, String> {
        let (image, BrokerId(node_id)) = (self.node.image(), hello.node);
        let voter = image.voter(hello.node);
        let voter = voter.ok_or_else(|| format!("broker {node_id} has no vote in cluster {}", image.cluster_id()))?;
        match voter.directory_id {
            Some(known) if known == hello.directory_id => Ok(voter.raft_id),
            Some(known) => Err(format!(
                "broker {node_id} votes from data directory {known}; {} has lost what it knew, and has no vote",
                hello.directory_id
            )),
            None => {
                self.bind(hello);
                Err(format!("broker {node_id} is new to this cluster; its data directory is being made known"))
            }
        }
    }

    fn bind(&self, hello: &Hello) {
        if !self.node.am_controller() {
            return;
        }
        let (node, bind) =
            (self.node.clone(), Request::BindVoter { node: hello.node, directory_id: hello.directory_id });
        self.peers.rt.spawn(async move {
            // It comes again until it is bound.
            if let Err(error) = node.submit(bind).await {
                tracing::info!("a voter is not bound to its directory yet: {error}");
            }
        });
    }

    /// Reads the messages of the voter `raft_id` until its stream ends, or a newer one takes its place.
    ///
    /// # Errors
    /// See [`StreamError`]; the stream is to be closed.
    pub async fn receive(&self, raft_id: u64, stream: ReadHalf) -> Result<(), StreamError> {
        let number = {
            let mut streams = self.streams.borrow_mut();
            let latest = streams.entry(raft_id).or_default();
            *latest += 1;
            *latest
        };
        let mut frames = PeerFrameReader::new(stream, limits::RAFT_FRAME_BYTES_MAX);
        let mut assembly: Option<Assembly> = None;
        while let Some(body) = frames.next().await? {
            if self.streams.borrow().get(&raft_id) != Some(&number) {
                return Ok(());
            }
            let malformed = StreamError::Malformed;
            match message::from_bytes(body).map_err(malformed)? {
                Frame::Message(message) => self.take(raft_id, message)?,
                Frame::Snapshot(message, bytes) => {
                    // More could not be kept.
                    let is_good = (1..=SMALL_FILE_BYTES_MAX).contains(&bytes);
                    let image_bytes = usize::try_from(bytes).ok().filter(|_| is_good);
                    let image_bytes = image_bytes.ok_or_else(|| malformed(format!("an image of {bytes} bytes")))?;
                    assembly = Some(Assembly { message, image: BytesMut::new(), image_bytes });
                }
                Frame::Piece(piece) => {
                    let whole = add_piece(&mut assembly, &piece).map_err(malformed)?;
                    whole.map_or(Ok(()), |message| self.take(raft_id, message))?;
                }
            }
        }
        Ok(())
    }

    fn take(&self, peer: u64, message: Message) -> Result<(), StreamError> {
        let (from, to) = (message.from, message.to);
        if from != peer || to != self.node.raft_id() {
            return Err(StreamError::Misdirected { peer, from, to });
        }
        self.node.receive(message);
        Ok(())
    }
}

/// Adds a piece of an image; gives the message once it is whole.
fn add_piece(assembly: &mut Option<Assembly>, piece: &Bytes) -> Result<Option<Message>, String> {
    let Some(begun) = assembly else { return Err("a piece of no image".into()) };
    begun.image.extend_from_slice(piece);
    if begun.image.len() > begun.image_bytes {
        return Err(format!("more than the {} bytes of the image", begun.image_bytes));
    }
    let whole = assembly.take_if(|begun| begun.image.len() == begun.image_bytes);
    Ok(whole.map(|mut whole| {
        whole.message.mut_snapshot().data = whole.image.freeze();
        whole.message
    }))
}
