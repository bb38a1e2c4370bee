//! Dialing a peer: connect, say hello, hear who answers.
//!
//! *Which core*: any. *Invariants*: it ends within [`limits::PEER_HELLO_MS_MAX`]; who answers is who was meant, of the same
//! cluster. *Not here*: when to try again (the caller backs off).

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use futures_lite::future::or;
use net::peer_frame::{self, PeerFrameError, PeerFrameReader};
use net::stream::{Net, WriteHalf};

use super::hello::{Answer, HELLO_BYTES_MAX, Hello, NoHello, PEER_FORMAT, Welcome};
use crate::limits;
use crate::model::BrokerId;
use crate::rt::Rt;

/// A connection to a peer, after its welcome.
pub struct Connection {
    /// What comes from there.
    pub reader: PeerFrameReader,
    /// What goes there: frames, by [`peer_frame::write`].
    pub writer: WriteHalf,
    /// Who answered.
    pub peer: Welcome,
}

/// Why nobody was reached.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The network says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Nobody has said where it is.
    #[error("broker {} has no address", .0.0)]
    Unknown(BrokerId),
    /// Nobody answered in time.
    #[error("no answer within {} ms", limits::PEER_HELLO_MS_MAX)]
    TimedOut,
    /// What answered speaks something else.
    #[error("it does not speak as a broker does: {0}")]
    Stranger(String),
    /// The peer does not want to talk.
    #[error("refused: {0}")]
    Refused(String),
    /// Somebody else answered.
    #[error("broker {found} answered where broker {wanted} was meant", found = found.0, wanted = wanted.0)]
    OtherBroker {
        /// Who was meant.
        wanted: BrokerId,
        /// Who answered.
        found: BrokerId,
    },
}

impl From<PeerFrameError> for DialError {
    fn from(error: PeerFrameError) -> DialError {
        match error {
            PeerFrameError::Io(error) => DialError::Io(error),
            other => DialError::Stranger(other.to_string()),
        }
    }
}

impl From<NoHello> for DialError {
    fn from(error: NoHello) -> DialError {
        DialError::Stranger(error.to_string())
    }
}

/// Connects to a host, by name or address, and says `hello`; frames from there may then have up to `frame_bytes_max` bytes.
///
/// # Errors
/// See [`DialError`]; the connection is closed.
pub async fn dial(
    rt: &Rt,
    net: &Net,
    (host, port): (&str, u16),
    hello: &Hello,
    frame_bytes_max: usize,
) -> Result<Connection, DialError> {
    let late = async {
        rt.sleep(Duration::from_millis(limits::PEER_HELLO_MS_MAX)).await;
        Err(DialError::TimedOut)
    };
    let each_in_turn = async {
        let mut outcome = Err(DialError::Io(io::ErrorKind::NotFound.into()));
        for address in addresses(rt, host, port).await? {
            outcome = connect(net, address, hello, frame_bytes_max).await;
            // A name may stand for addresses where nobody listens, of IPv6 for example.
            if !matches!(outcome, Err(DialError::Io(_))) {
                break;
            }
        }
        outcome
    };
    or(each_in_turn, late).await
}

async fn addresses(rt: &Rt, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let host = host.to_owned();
    rt.unblock(move || (host.as_str(), port).to_socket_addrs().map(Iterator::collect)).await
}

async fn connect(
    net: &Net,
    address: SocketAddr,
    hello: &Hello,
    frame_bytes_max: usize,
) -> Result<Connection, DialError> {
    let (mut reader, mut writer) = net.connect(address).await?;
    peer_frame::write(&mut writer, &[&hello.to_bytes()]).await?;
    let answer = peer_frame::read_exactly(&mut reader, HELLO_BYTES_MAX).await?;
    let answer = answer.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    match Answer::from_bytes(&answer)? {
        Answer::Refused { reason } => Err(DialError::Refused(reason)),
        Answer::Welcome(welcome) if welcome.format != PEER_FORMAT => {
            Err(DialError::Stranger(format!("its format is {}, ours {PEER_FORMAT}", welcome.format)))
        }
        Answer::Welcome(welcome) if welcome.node != hello.to => {
            Err(DialError::OtherBroker { wanted: hello.to, found: welcome.node })
        }
        Answer::Welcome(peer) => Ok(Connection { reader: PeerFrameReader::new(reader, frame_bytes_max), writer, peer }),
    }
}
