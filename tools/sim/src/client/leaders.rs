//! Who leads which partition, as far as one client knows.
//!
//! *Invariants*: a client never goes back to a leader of an older epoch than one it knows of, whatever a broker that lags tells it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use kafka_protocol::messages::MetadataResponse;

/// Who leads, as far as one client knows.
pub struct Leaders {
    bootstrap: Vec<SocketAddr>,
    brokers: BTreeMap<i32, SocketAddr>,
    partitions: BTreeMap<i32, Leader>,
}

#[derive(Clone, Copy)]
struct Leader {
    leader_epoch: i32,
    /// None: nobody, or it was not found.
    broker: Option<i32>,
}

impl Leaders {
    /// Knows where to ask.
    pub fn new(bootstrap: Vec<SocketAddr>) -> Leaders {
        Leaders { bootstrap, brokers: BTreeMap::new(), partitions: BTreeMap::new() }
    }

    /// Some broker to ask.
    pub fn bootstrap(&self, random: u64) -> SocketAddr {
        self.bootstrap[random as usize % self.bootstrap.len()]
    }

    /// Of a partition's leader, if it is known.
    pub fn address(&self, partition: i32) -> Option<SocketAddr> {
        self.brokers.get(&self.partitions.get(&partition)?.broker?).copied()
    }

    /// The newest one known of a partition.
    pub fn leader_epoch(&self, partition: i32) -> Option<i32> {
        self.partitions.get(&partition).map(|leader| leader.leader_epoch)
    }

    /// Whoever leads the partition did not do as asked.
    pub fn on_lost(&mut self, partition: i32) {
        if let Some(leader) = self.partitions.get_mut(&partition) {
            leader.broker = None;
        }
    }

    /// A broker tells what it knows.
    pub fn on_metadata(&mut self, answer: &MetadataResponse) {
        for broker in &answer.brokers {
            if let (Ok(ip), Ok(port)) = (broker.host.parse(), u16::try_from(broker.port)) {
                self.brokers.insert(broker.node_id.0, SocketAddr::new(ip, port));
            }
        }
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let known = self.leader_epoch(partition.partition_index);
            if known.is_none_or(|known| partition.leader_epoch >= known) {
                let broker = Some(partition.leader_id.0).filter(|id| *id >= 0);
                let leader = Leader { leader_epoch: partition.leader_epoch, broker };
                self.partitions.insert(partition.partition_index, leader);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::BrokerId;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };

    use super::*;

    fn told(leader: i32, leader_epoch: i32) -> MetadataResponse {
        let broker = |id: i32| {
            let host = format!("10.0.0.{id}").into();
            MetadataResponseBroker::default().with_node_id(BrokerId(id)).with_host(host).with_port(9092)
        };
        let partition =
            MetadataResponsePartition::default().with_leader_id(BrokerId(leader)).with_leader_epoch(leader_epoch);
        let topic = MetadataResponseTopic::default().with_partitions(vec![partition]);
        MetadataResponse::default().with_brokers(vec![broker(1), broker(2)]).with_topics(vec![topic])
    }

    #[test]
    fn a_broker_that_lags_sends_no_client_back_to_an_older_leader() {
        let mut leaders = Leaders::new(Vec::new());
        assert_eq!(leaders.address(0), None);
        leaders.on_metadata(&told(2, 5));
        leaders.on_metadata(&told(1, 4));
        assert_eq!(leaders.address(0), Some(([10, 0, 0, 2], 9092).into()));
        leaders.on_lost(0);
        assert_eq!((leaders.address(0), leaders.leader_epoch(0)), (None, Some(5)));
        leaders.on_metadata(&told(1, 4));
        assert_eq!(leaders.address(0), None);
        leaders.on_metadata(&told(2, 5));
        assert!(leaders.address(0).is_some());
    }
}
