//! The listening side: hears who has connected, and says welcome or why not.
//!
//! *Which core*: metadata. *Invariants*: a hello is bounded in size and time, and not a byte beyond it is read, so that the
//! connection can travel on; who is of another cluster, of another format or mistaken about us is told so, and hears no more.
//! *Not here*: accepting (server), what the connection is then used for.

use std::io;
use std::time::Duration;

use futures_lite::future::or;
use net::peer_frame::{self, PeerFrameError};
use net::stream::{Accepted, ReadHalf, WriteHalf};
use uuid::Uuid;

use super::hello::{Answer, HELLO_BYTES_MAX, Hello, NoHello, PEER_FORMAT, Purpose, Welcome};
use crate::limits;
use crate::model::BrokerId;
use crate::rt::Rt;

/// Who listens.
#[derive(Clone, Debug)]
pub struct Local {
    /// The cluster it belongs to, if it does already.
    pub cluster_id: Option<String>,
    /// Who it is.
    pub node: BrokerId,
    /// Its data directory.
    pub directory_id: Uuid,
}

/// A peer that has said hello and waits for the answer.
pub struct Incoming {
    /// What it said.
    pub hello: Hello,
    read: ReadHalf,
    write: WriteHalf,
}

/// Why there is nobody to talk to.
#[derive(Debug, thiserror::Error)]
pub enum IncomingError {
    /// The socket failed, or what came is no frame.
    #[error(transparent)]
    Frame(#[from] PeerFrameError),
    /// It ended before it said anything.
    #[error("it said nothing")]
    Silent,
    /// It took too long.
    #[error("no hello within {} ms", limits::PEER_HELLO_MS_MAX)]
    TimedOut,
    /// It speaks something else.
    #[error(transparent)]
    Stranger(#[from] NoHello),
    /// It was told so.
    #[error("refused: {0}")]
    Refused(String),
}

impl From<io::Error> for IncomingError {
    fn from(error: io::Error) -> IncomingError {
        IncomingError::Frame(error.into())
    }
}

/// Hears a connection's hello. Whoever cannot be talked to at all is refused here already.
///
/// # Errors
/// See [`IncomingError`]; the connection is closed.
pub async fn receive(rt: &Rt, accepted: Accepted, local: &Local) -> Result<Incoming, IncomingError> {
    let late = async {
        rt.sleep(Duration::from_millis(limits::PEER_HELLO_MS_MAX)).await;
        Err(IncomingError::TimedOut)
    };
    or(hear(accepted, local), late).await
}

async fn hear(accepted: Accepted, local: &Local) -> Result<Incoming, IncomingError> {
    let (mut read, write) = accepted.bind()?;
    let bytes = peer_frame::read_exactly(&mut read, HELLO_BYTES_MAX).await?.ok_or(IncomingError::Silent)?;
    let incoming = Incoming { hello: Hello::from_bytes(&bytes)?, read, write };
    match local.objection(&incoming.hello) {
        None => Ok(incoming),
        Some(reason) => Err(incoming.refuse(reason).await),
    }
}

impl Local {
    /// Why a peer cannot be talked to.
    fn objection(&self, hello: &Hello) -> Option<String> {
        if hello.format != PEER_FORMAT {
            return Some(format!("your format is {}, mine {PEER_FORMAT}", hello.format));
        }
        if hello.to != self.node {
            return Some(format!("this is broker {}, not broker {}", self.node.0, hello.to.0));
        }
        if hello.node == self.node {
            return Some(format!("this is broker {}, and so are you", self.node.0));
        }
        match (&self.cluster_id, &hello.cluster_id) {
            // Founders and those who are founded talk about what cluster they are of.
            _ if hello.purpose == Purpose::Found => None,
            (Some(mine), Some(yours)) if mine == yours => None,
            (Some(mine), Some(yours)) => Some(format!("this is cluster {mine}, not {yours}")),
            (None, _) => Some("this broker belongs to no cluster yet".into()),
            (_, None) => Some("you belong to no cluster yet".into()),
        }
    }

    fn welcome(&self) -> Answer {
        Answer::Welcome(Welcome {
            format: PEER_FORMAT,
            cluster_id: self.cluster_id.clone(),
            node: self.node,
            directory_id: self.directory_id,
        })
    }
}

impl Incoming {
    /// Goes on with it.
    ///
    /// # Errors
    /// The peer has gone.
    pub async fn welcome(mut self, local: &Local) -> io::Result<(ReadHalf, WriteHalf)> {
        peer_frame::write(&mut self.write, &[&local.welcome().to_bytes()]).await?;
        Ok((self.read, self.write))
    }

    /// Ends it, with a reason; gives that back as an error.
    pub async fn refuse(mut self, reason: String) -> IncomingError {
        let answer = Answer::Refused { reason: reason.clone() };
        match peer_frame::write(&mut self.write, &[&answer.to_bytes()]).await {
            Ok(()) => IncomingError::Refused(reason),
            Err(error) => error.into(),
        }
    }
}
