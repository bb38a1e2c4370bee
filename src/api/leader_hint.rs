//! Who leads a partition now, for a client that asked somebody else (KIP-951): it need not ask for all metadata first.
//!
//! *Which core*: the connection's. *Invariants*: this broker never names itself: a client that hears NOT_LEADER_OR_FOLLOWER from it
//! would come straight back.

use std::collections::BTreeMap;

use kafka_protocol::messages::{BrokerId as KafkaBrokerId, fetch_response, produce_response};
use kafka_protocol::protocol::StrBytes;

use crate::metadata::image::{Image, Partition};
use crate::model::{BrokerId, LeaderEpoch};

/// The leaders that a response names, and where they are.
pub(super) struct LeaderHints<'a> {
    image: &'a Image,
    me: BrokerId,
    endpoints: BTreeMap<BrokerId, (StrBytes, i32)>,
}

impl<'a> LeaderHints<'a> {
    pub(super) fn new(image: &'a Image, me: BrokerId) -> LeaderHints<'a> {
        LeaderHints { image, me, endpoints: BTreeMap::new() }
    }

    /// The leader and its reign, if somebody else leads who can be reached.
    pub(super) fn of(&mut self, partition: &Partition) -> Option<(KafkaBrokerId, i32)> {
        let leader = partition.leader.filter(|leader| *leader != self.me)?;
        let endpoint = self.image.brokers().get(&leader)?.endpoints.first()?;
        let host = StrBytes::from_string(endpoint.host.clone());
        self.endpoints.insert(leader, (host, endpoint.port.into()));
        let LeaderEpoch(epoch) = partition.leader_epoch;
        Some((leader.0.into(), epoch))
    }

    /// Where those are that were named.
    pub(super) fn of_produce(self) -> Vec<produce_response::NodeEndpoint> {
        let endpoint = |(BrokerId(id), (host, port)): (BrokerId, (StrBytes, i32))| {
            produce_response::NodeEndpoint::default().with_node_id(id.into()).with_host(host).with_port(port)
        };
        self.endpoints.into_iter().map(endpoint).collect()
    }

    /// Where those are that were named.
    pub(super) fn of_fetch(self) -> Vec<fetch_response::NodeEndpoint> {
        let endpoint = |(BrokerId(id), (host, port)): (BrokerId, (StrBytes, i32))| {
            fetch_response::NodeEndpoint::default().with_node_id(id.into()).with_host(host).with_port(port)
        };
        self.endpoints.into_iter().map(endpoint).collect()
    }
}
