//! The settings of a cluster: who the other brokers are, and where this one listens to them.
//!
//! *Which core*: the main thread makes them; any core reads them.
//! *Invariants*: a broker is not its own peer; no peer is there twice; nothing of a cluster is given to a broker by itself.

use std::net::SocketAddr;

use super::address::Advertised;
use super::process::{Conflict, ProcessSettings};
use crate::model::BrokerId;

/// How the broker is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By itself.
    Standalone,
    /// With others.
    Cluster,
}

/// A broker among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Where the listener for the other brokers binds.
    pub raft_bind: SocketAddr,
    /// The other voters on metadata, by id.
    pub peers: Vec<Peer>,
    /// Found the cluster together with them, if there is none?
    pub bootstrap: bool,
}

/// Another broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub id: BrokerId,
    /// Its name or address, an IPv6 one without brackets.
    pub host: String,
    /// The port of its listener for brokers.
    pub port: u16,
}

impl ClusterConfig {
    /// How many voters the cluster begins with.
    pub fn voter_count(&self) -> usize {
        self.peers.len() + 1
    }
}

/// What the settings of a cluster come to; none: the broker is by itself.
pub(super) fn resolve(given: &ProcessSettings, mode: Mode) -> Result<Option<ClusterConfig>, Conflict> {
    let conflict = |name, why: &str| Err(Conflict { name, why: why.into() });
    let only = "it is for brokers of a cluster; run `raft-cluster`, or leave it out";
    match (mode, &given.raft_addr) {
        (Mode::Standalone, Some(_)) => conflict("raft-addr", only),
        (Mode::Standalone, None) if given.peers.is_some() => conflict("peers", only),
        (Mode::Standalone, None) if given.bootstrap => conflict("bootstrap", only),
        (Mode::Standalone, None) => Ok(None),
        (Mode::Cluster, None) => conflict("raft-addr", "a broker of a cluster needs it, for the others to reach it"),
        (Mode::Cluster, Some(raft_addr)) => {
            let peers = parse_peers(given.peers.as_deref().unwrap_or_default()).expect("checked by its kind");
            if peers.iter().any(|peer| peer.id.0 == given.node_id) {
                let why = format!("{} is this broker itself; give the others only", given.node_id);
                return Err(Conflict { name: "peers", why });
            }
            if peers.is_empty() && !given.bootstrap {
                return conflict("peers", "give the brokers whose cluster this one shall join, or --bootstrap");
            }
            let raft_bind = raft_addr.parse().expect("checked by its kind");
            Ok(Some(ClusterConfig { raft_bind, peers, bootstrap: given.bootstrap }))
        }
    }
}

pub(super) fn check_peers(text: &str) -> Result<(), String> {
    parse_peers(text).map(|_| ())
}

fn parse_peers(text: &str) -> Result<Vec<Peer>, String> {
    let mut peers: Vec<Peer> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (id, address) = part.split_once('@').ok_or_else(|| format!("{part:?} is not ID@HOST:PORT"))?;
        let id = match id.parse::<i32>() {
            Ok(id) if id >= 0 => BrokerId(id),
            _ => return Err(format!("{id:?} is no broker's number")),
        };
        let Advertised { host, port } = address.parse().map_err(|why| format!("{part}: {why}"))?;
        let port = port.ok_or_else(|| format!("{part}: the port is missing"))?;
        if peers.iter().any(|peer| peer.id == id) {
            return Err(format!("broker {} is there twice", id.0));
        }
        peers.push(Peer { id, host, port });
    }
    peers.sort_by_key(|peer| peer.id);
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(change: impl FnOnce(&mut ProcessSettings)) -> ProcessSettings {
        let mut given = ProcessSettings { raft_addr: Some("0.0.0.0:9192".into()), ..ProcessSettings::default() };
        change(&mut given);
        given
    }

    fn conflict(mode: Mode, change: impl FnOnce(&mut ProcessSettings)) -> Conflict {
        resolve(&given(change), mode).expect_err("a conflict")
    }

    #[test]
    fn peers_are_numbers_and_addresses() {
        let peer = |id, host: &str, port| Peer { id: BrokerId(id), host: host.into(), port };
        assert_eq!(
            parse_peers("3@localhost:9194, 2@[::1]:9193"),
            Ok(vec![peer(2, "::1", 9193), peer(3, "localhost", 9194)])
        );
        assert_eq!(parse_peers(""), Ok(Vec::new()));
        for (bad, why) in [
            ("localhost:9193", "is not ID@HOST:PORT"),
            ("-1@localhost:9193", "no broker's number"),
            ("2@localhost", "the port is missing"),
            ("2@::1", "the port is missing"),
            ("2@0.0.0.0:9193", "no client can connect"),
            ("2@a:1,2@b:1", "there twice"),
        ] {
            assert!(parse_peers(bad).expect_err(bad).contains(why), "{bad}");
        }
    }

    #[test]
    fn a_cluster_knows_where_it_listens_and_whom_it_joins() {
        let with_peers = |given: &mut ProcessSettings| given.peers = Some("2@localhost:9193,3@localhost:9194".into());
        let cluster = resolve(&given(with_peers), Mode::Cluster).expect("consistent").expect("a cluster");
        assert_eq!((cluster.voter_count(), cluster.bootstrap), (3, false));
        assert_eq!(conflict(Mode::Cluster, |given| given.raft_addr = None).name, "raft-addr");
        assert_eq!(conflict(Mode::Cluster, |_| {}).name, "peers");
        assert!(conflict(Mode::Cluster, |given| given.peers = Some("1@a:1".into())).why.contains("itself"));
    }

    #[test]
    fn a_broker_by_itself_takes_no_settings_of_a_cluster() {
        assert_eq!(conflict(Mode::Standalone, |_| {}).name, "raft-addr");
        let of_peers = |given: &mut ProcessSettings| (given.raft_addr, given.peers) = (None, Some("2@a:1".into()));
        assert_eq!(conflict(Mode::Standalone, of_peers).name, "peers");
        let of_bootstrap = |given: &mut ProcessSettings| (given.raft_addr, given.bootstrap) = (None, true);
        assert_eq!(conflict(Mode::Standalone, of_bootstrap).name, "bootstrap");
        assert_eq!(resolve(&ProcessSettings::default(), Mode::Standalone), Ok(None));
    }
}
