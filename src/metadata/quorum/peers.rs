//! The other brokers as this one sees them: where they are, and who it is to them.
//!
//! *Which core*: metadata.

use std::collections::BTreeMap;

use net::stream::Net;

use crate::model::BrokerId;
use crate::peer::hello::{Hello, PEER_FORMAT, Purpose};
use crate::peer::{Connection, DialError, Local, dial};
use crate::rt::Rt;

/// See the module.
pub struct Peers {
    /// Tasks and time.
    pub rt: Rt,
    /// Sockets.
    pub net: Net,
    /// This broker.
    pub local: Local,
    /// Host and port of each other broker's listener for brokers.
    pub addresses: BTreeMap<BrokerId, (String, u16)>,
}

impl Peers {
    /// Connects to a peer.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self, to: BrokerId, purpose: Purpose, frame_bytes_max: usize) -> Result<Connection, DialError> {
        let (host, port) = self.addresses.get(&to).ok_or(DialError::Unknown(to))?;
        let hello = Hello {
            format: PEER_FORMAT,
            cluster_id: self.local.cluster_id.clone(),
            node: self.local.node,
            directory_id: self.local.directory_id,
            broker_epoch: None,
            to,
            purpose,
        };
        dial(&self.rt, &self.net, (host, *port), &hello, frame_bytes_max).await
    }
}
