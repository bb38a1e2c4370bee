//! Founding: how brokers that hold nothing become a cluster, once, or find the one that their peers belong to.
//!
//! *Which core*: metadata; it answers its peers for as long as the process runs.
//! *Invariants*: a charter counts once a majority of the named voters, none of whom held any state, has accepted it durably;
//! there is never a second one (see `acceptor`). A broker that is in a cluster says so, and is asked no more. A broker whose
//! data directory is not the one that its cluster knows never gets a vote (KIP-853).
//! *Not here*: what follows from a charter (raft_log begins with its voters).
//! *Why* the lowest of those who hear each other goes first, and waits a while for the missing: two that found at the same
//! time only keep each other from it, and a voter that is heard needs not be bound to its directory later.

mod acceptor;
mod charter;

use std::cell::{Cell, OnceCell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use net::peer_frame::{self, PeerFrameReader};
use net::stream::{ReadHalf, WriteHalf};
use storage::data_dir::kafka_id;
use storage::disk::{Disk, DiskError};
use uuid::Uuid;

use super::peers::Peers;
use crate::limits;
use crate::local::Budget;
use crate::metadata::node::Node;
use crate::model::BrokerId;
use crate::peer::hello::{Hello, Purpose};
use crate::rt::Monotonic;

use acceptor::Acceptor;
pub use charter::Charter;
use charter::{Answer, Ballot, Question};

/// The acceptor's file in the metadata directory.
const FILE: &str = "founding";
/// Between two rounds of questions, ms; drawn anew each time, so that two founders fall out of step.
const PAUSE_MS: std::ops::Range<u64> = 50..150;
/// How long a majority waits for the voters that are missing; and for how long each broker lets those below it go first.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a broker that waits says so.
const REMINDER: Duration = Duration::from_secs(10);

/// See the module.
pub struct Founding {
    disk: Disk,
    path: PathBuf,
    peers: Rc<Peers>,
    /// The named voters, this broker among them, by id.
    named: Vec<BrokerId>,
    may_found: bool,
    acceptor: RefCell<Acceptor>,
    /// The latest ballot heard of.
    seen: Cell<Option<Ballot>>,
    /// One write at a time.
    writing: Budget,
    /// Once the node is open: it knows the voters as they are now.
    node: OnceCell<Rc<Node>>,
}

/// Why a broker is in no cluster: the process has to end.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// What was promised cannot be kept.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file is not what was written.
    #[error("{path}: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How.
        reason: String,
    },
    /// The cluster has no place for it.
    #[error("broker {node} cannot join cluster {cluster_id}: {reason}", node = node.0)]
    NoPlace {
        /// This broker.
        node: BrokerId,
        /// The cluster.
        cluster_id: String,
        /// A sentence.
        reason: String,
    },
    /// There are two clusters among the peers.
    #[error("the peers belong to two clusters, {0} and {1}: --peers must name brokers of one")]
    TwoClusters(String, String),
}

/// A peer's answer, and the data directory of the one who gave it.
struct Heard {
    node: BrokerId,
    directory_id: Uuid,
    answer: Answer,
}

/// Since when there was something to wait for.
#[derive(Default)]
struct Waiting {
    for_missing: Option<Monotonic>,
    told: Option<Monotonic>,
}

impl Founding {
    /// Reads what this broker has promised before, in the metadata directory `dir`. `may_found`: it may take part in founding a
    /// cluster of itself and its peers.
    ///
    /// # Errors
    /// [`FoundingError::Disk`] and [`FoundingError::Damaged`].
    pub async fn open(
        disk: &Disk,
        dir: &Path,
        peers: Rc<Peers>,
        may_found: bool,
    ) -> Result<Rc<Founding>, FoundingError> {
        disk.create_dir_all(dir).await?;
        let path = dir.join(FILE);
        let acceptor = match disk.exists(&path).await? {
            false => Acceptor::default(),
            true => Acceptor::from_bytes(&disk.read_small(&path).await?)
                .map_err(|reason| FoundingError::Damaged { path: path.clone(), reason })?,
        };
        let mut named: Vec<BrokerId> = peers.addresses.keys().copied().chain([peers.local.node]).collect();
        named.sort_unstable();
        Ok(Rc::new(Founding {
            disk: disk.clone(),
            path,
            peers,
            named,
            may_found,
            acceptor: RefCell::new(acceptor),
            seen: Cell::new(None),
            writing: Budget::new(1),
            node: OnceCell::new(),
        }))
    }

    /// The charter of this broker's cluster, if it is in one.
    pub fn charter(&self) -> Option<Charter> {
        self.acceptor.borrow().chosen().cloned()
    }

    /// From now on the node says who votes.
    pub fn set_node(&self, node: Rc<Node>) {
        assert!(self.node.set(node).is_ok(), "a broker has one node");
    }

    /// Founds a cluster with the peers, or finds theirs; waits for as long as it takes.
    ///
    /// # Errors
    /// See [`FoundingError`].
    pub async fn run(&self) -> Result<Charter, FoundingError> {
        let mut waiting = Waiting::default();
        let peers: Vec<BrokerId> = self.peers.addresses.keys().copied().collect();
        loop {
            let heard = self.ask(&peers, &Question::WhoAreYou(self.named.clone())).await;
            if let Some(charter) = self.found_by_others(&heard)? {
                return self.settle(charter).await;
            }
            let is_empty = |heard: &&Heard| heard.answer == Answer::Empty;
            let empty: Vec<BrokerId> = heard.iter().filter(is_empty).map(|heard| heard.node).collect();
            if self.may_propose(&empty, &mut waiting)
                && let Some(charter) = self.propose(&empty).await?
            {
                return self.settle(charter).await;
            }
            self.remind(&heard, &mut waiting);
            let pause_ms = PAUSE_MS.start + self.peers.rt.random_u64() % (PAUSE_MS.end - PAUSE_MS.start);
            self.peers.rt.sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    async fn settle(&self, charter: Charter) -> Result<Charter, FoundingError> {
        self.acceptor.borrow_mut().on_chosen(charter.clone());
        self.write().await?;
        Ok(charter)
    }

    /// The charter of the cluster that a peer is in, if that has a place for this broker.
    fn found_by_others(&self, heard: &[Heard]) -> Result<Option<Charter>, FoundingError> {
        let mut founded = heard.iter().filter_map(|heard| match &heard.answer {
            Answer::Founded(charter, voters) => Some((charter, voters)),
            _ => None,
        });
        let Some((charter, voters)) = founded.next() else { return Ok(None) };
        if let Some((other, _)) = founded.find(|(other, _)| other.cluster_id != charter.cluster_id) {
            return Err(FoundingError::TwoClusters(charter.cluster_id.clone(), other.cluster_id.clone()));
        }
        let local = &self.peers.local;
        let no_place = |reason: String| {
            let cluster_id = charter.cluster_id.clone();
            Err(FoundingError::NoPlace { node: local.node, cluster_id, reason })
        };
        match voters.iter().find(|(node, _)| *node == local.node) {
            None => {
                no_place("it is none of the brokers that founded it, and joining later is not supported yet".into())
            }
            Some((_, Some(known))) if *known != local.directory_id => no_place(format!(
                "it is known there with data directory {}, this one is {}: what the broker had promised is lost with the \
                 former",
                kafka_id::to_text(*known),
                kafka_id::to_text(local.directory_id)
            )),
            Some(_) => Ok(Some(charter.clone())),
        }
    }

    /// Is it this broker's turn? A majority must be there; the missing get some time, and so do those with lower numbers.
    fn may_propose(&self, empty: &[BrokerId], waiting: &mut Waiting) -> bool {
        if !self.may_found || !self.is_majority(empty.len() + 1) {
            waiting.for_missing = None;
            return false;
        }
        let now = self.peers.rt.now();
        let waited = now.since(*waiting.for_missing.get_or_insert(now));
        let missing = u32::from(empty.len() + 1 < self.named.len());
        let lower = empty.iter().filter(|node| **node < self.peers.local.node).count();
        waited >= PATIENCE * (missing + u32::try_from(lower).unwrap_or(u32::MAX))
    }

    /// One ballot among those that answered just now: a silent one would hold it up, and others would begin theirs. `None`: it
    /// came to nothing.
    async fn propose(&self, empty: &[BrokerId]) -> Result<Option<Charter>, FoundingError> {
        let local = &self.peers.local;
        let ballot = self.acceptor.borrow().next_ballot(local.node, self.seen.get());
        let Ok(mut newest) = self.acceptor.borrow_mut().on_prepare(ballot) else { return Ok(None) };
        self.write().await?;
        let mut directories = vec![(local.node, local.directory_id)];
        for heard in self.ask(empty, &Question::Prepare(ballot, self.named.clone())).await {
            if let Answer::Promised(accepted) = heard.answer {
                directories.push((heard.node, heard.directory_id));
                newest = [newest, accepted].into_iter().flatten().max_by_key(|(ballot, _)| *ballot);
            }
        }
        if !self.is_majority(directories.len()) {
            return Ok(None);
        }
        let charter = newest.map_or_else(|| self.new_charter(&directories), |(_, charter)| charter);
        if self.acceptor.borrow_mut().on_accept(ballot, charter.clone()).is_err() {
            return Ok(None);
        }
        self.write().await?;
        let heard = self.ask(empty, &Question::Accept(ballot, charter.clone())).await;
        let accepted = heard.iter().filter(|heard| heard.answer == Answer::Accepted).count();
        Ok(self.is_majority(accepted + 1).then_some(charter))
    }

    fn new_charter(&self, directories: &[(BrokerId, Uuid)]) -> Charter {
        let rt = &self.peers.rt;
        let id = uuid::Builder::from_random_bytes(
            (u128::from(rt.random_u64()) << 64 | u128::from(rt.random_u64())).to_be_bytes(),
        );
        let directory = |node: BrokerId| directories.iter().find(|(heard, _)| *heard == node).map(|(_, id)| *id);
        Charter {
            cluster_id: kafka_id::to_text(id.into_uuid()),
            voters: self.named.iter().map(|node| (*node, directory(*node))).collect(),
        }
    }

    fn is_majority(&self, count: usize) -> bool {
        count > self.named.len() / 2
    }

    /// Asks these peers at once; those who do not answer are left out.
    async fn ask(&self, nodes: &[BrokerId], question: &Question) -> Vec<Heard> {
        let asked = nodes.iter().map(|node| self.ask_one(*node, question));
        let heard: Vec<Heard> = join_all(asked).await.into_iter().flatten().collect();
        for heard in &heard {
            if let Answer::Behind(ballot) = heard.answer {
                self.seen.set(self.seen.get().max(Some(ballot)));
            }
        }
        heard
    }

    async fn ask_one(&self, node: BrokerId, question: &Question) -> Option<Heard> {
        let late = async {
            self.peers.rt.sleep(Duration::from_millis(limits::PEER_HELLO_MS_MAX)).await;
            None
        };
        let asked = async {
            let mut connection = self.peers.dial(node, Purpose::Found, limits::FOUNDING_FRAME_BYTES_MAX).await.ok()?;
            peer_frame::write(&mut connection.writer, &[&question.to_bytes()]).await.ok()?;
            let answer = Answer::from_bytes(&connection.reader.next().await.ok()??).ok()?;
            Some(Heard { node, directory_id: connection.peer.directory_id, answer })
        };
        futures_lite::future::or(asked, late).await
    }

    fn remind(&self, heard: &[Heard], waiting: &mut Waiting) {
        let now = self.peers.rt.now();
        if waiting.told.is_some_and(|told| now.since(told) < REMINDER) {
            return;
        }
        waiting.told = Some(now);
        for heard in heard {
            if let Answer::Apart(reason) = &heard.answer {
                tracing::warn!("broker {} takes no part: {reason}", heard.node.0);
            }
        }
        let (count, named) = (heard.len() + 1, self.named.len());
        let until = if self.may_found { "a majority can found it" } else { "one of them is in it (or: --bootstrap)" };
        tracing::info!("waiting for a cluster: {count} of {named} brokers are there; it goes on once {until}");
    }

    /// Answers the questions of a peer, whose welcome has been said, until it hangs up.
    ///
    /// # Errors
    /// The disk's, which are final.
    pub async fn serve(&self, hello: &Hello, read: ReadHalf, mut write: WriteHalf) -> Result<(), FoundingError> {
        let mut frames = PeerFrameReader::new(read, limits::FOUNDING_FRAME_BYTES_MAX);
        while let Ok(Some(body)) = frames.next().await {
            let answer = match Question::from_bytes(&body) {
                Ok(question) => self.answer(hello, question).await?,
                Err(reason) => Answer::Apart(reason),
            };
            if peer_frame::write(&mut write, &[&answer.to_bytes()]).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn answer(&self, hello: &Hello, question: Question) -> Result<Answer, FoundingError> {
        let nodes = match &question {
            Question::WhoAreYou(nodes) | Question::Prepare(_, nodes) => nodes.clone(),
            Question::Accept(_, charter) => charter.nodes(),
        };
        if let Some(charter) = self.charter() {
            let voters = self.node.get().map_or_else(|| charter.voters.clone(), |node| voters_of(node));
            return Ok(Answer::Founded(charter, voters));
        }
        let apart = |reason: String| Ok(Answer::Apart(reason));
        if !self.may_found {
            return apart(format!("broker {} was started without --bootstrap", self.peers.local.node.0));
        }
        if nodes != self.named {
            let (node, named) = (self.peers.local.node.0, &self.named);
            return apart(format!("broker {node} names the voters {named:?}, broker {} {nodes:?}", hello.node.0));
        }
        let answer = match question {
            Question::WhoAreYou(_) => return Ok(Answer::Empty),
            Question::Prepare(ballot, _) => self.acceptor.borrow_mut().on_prepare(ballot).map(Answer::Promised),
            Question::Accept(ballot, charter) => {
                let local = &self.peers.local;
                let mine = charter.voters.iter().find(|(node, _)| *node == local.node).and_then(|(_, known)| *known);
                if mine.is_some_and(|known| known != local.directory_id) {
                    return apart(format!("broker {} has another data directory", local.node.0));
                }
                self.acceptor.borrow_mut().on_accept(ballot, charter).map(|()| Answer::Accepted)
            }
        };
        self.write().await?;
        Ok(answer.unwrap_or_else(Answer::Behind))
    }

    /// Makes durable what was promised and accepted by now.
    async fn write(&self) -> Result<(), FoundingError> {
        let _turn = self.writing.acquire(1).await;
        let bytes = self.acceptor.borrow().to_bytes();
        Ok(self.disk.replace_small(&self.path, &bytes).await?)
    }
}

fn voters_of(node: &Node) -> Vec<(BrokerId, Option<Uuid>)> {
    let image = node.image();
    let mut voters: Vec<_> = image.voters().values().map(|voter| (voter.node_id, voter.directory_id)).collect();
    voters.sort_unstable();
    voters
}
