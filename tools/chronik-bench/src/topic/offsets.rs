//! Where partitions begin and end, asked of their leaders.
//!
//! Invariants: one request to each leader, however many partitions; a leader that is not one yet is asked again, within bounds.
//! Why: a broker may name itself leader a moment before it acts as one. A run that starts in that moment measures its errors.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse};

use super::{LEADERS_TIMEOUT, RETRY, Topic, bootstrap, lookup, topic_name};
use crate::options::Options;
use crate::wire::Wire;

const VERSION_MAX: i16 = 6;

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The first.
    Start,
    /// The first that is not yet there for readers.
    End,
}

impl At {
    /// The timestamp that stands for it in ListOffsets.
    fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End => -1,
        }
    }
}

/// That offset of each partition.
pub fn offsets(options: &Options, topic: &Topic, at: At) -> Result<Vec<i64>> {
    let until = Instant::now() + LEADERS_TIMEOUT;
    let mut topic = topic.clone();
    loop {
        if let Some(offsets) = ask_leaders(&topic, at)? {
            return Ok(offsets);
        }
        ensure!(Instant::now() < until, "topic {} has partitions whose leaders do not answer for them", topic.name);
        std::thread::sleep(RETRY);
        let mut wire = Wire::connect(&bootstrap(options))?;
        if let Some(found) = lookup(&mut wire, &topic.name, false)? {
            topic = found;
        }
    }
}

/// `None` where a leader is not one (yet, or any more).
fn ask_leaders(topic: &Topic, at: At) -> Result<Option<Vec<i64>>> {
    let mut offsets = BTreeMap::new();
    for broker in topic.leaders.iter().collect::<BTreeSet<_>>() {
        let address = topic.brokers.get(broker).context("a leader without an address")?;
        // Whoever was killed is replaced, which the next look shows.
        let Ok(mut wire) = Wire::connect(std::slice::from_ref(address)) else { return Ok(None) };
        let response = wire.call(&request(topic, *broker, at), VERSION_MAX)?;
        if !collect(&response, &mut offsets)? {
            return Ok(None);
        }
    }
    let in_order: Option<Vec<i64>> = (0..topic.leaders.len() as i32).map(|n| offsets.get(&n).copied()).collect();
    in_order.context("ListOffsets: a partition is missing in the answer").map(Some)
}

fn request(topic: &Topic, broker: i32, at: At) -> ListOffsetsRequest {
    let led = (0..).zip(&topic.leaders).filter(|(_, leader)| **leader == broker);
    let partition = |index| {
        ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_current_leader_epoch(-1)
            .with_timestamp(at.timestamp())
    };
    let partitions = led.map(|(index, _)| partition(index)).collect();
    let topic = ListOffsetsTopic::default().with_name(topic_name(&topic.name)).with_partitions(partitions);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

/// `false` where a partition says that it cannot answer now.
fn collect(response: &ListOffsetsResponse, offsets: &mut BTreeMap<i32, i64>) -> Result<bool> {
    for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
        match ResponseError::try_from_code(partition.error_code) {
            None => drop(offsets.insert(partition.partition_index, partition.offset)),
            Some(error) if error.is_retriable() => return Ok(false),
            Some(error) => bail!("ListOffsets, partition {}: {error}", partition.partition_index),
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};

    use super::*;

    fn response(error_code: i16) -> ListOffsetsResponse {
        let partition =
            ListOffsetsPartitionResponse::default().with_partition_index(3).with_offset(70).with_error_code(error_code);
        let topic = ListOffsetsTopicResponse::default().with_partitions(vec![partition]);
        ListOffsetsResponse::default().with_topics(vec![topic])
    }

    #[test]
    fn a_leader_that_is_not_one_yet_is_asked_again() {
        let mut offsets = BTreeMap::new();
        assert!(!collect(&response(6), &mut offsets).unwrap());
        assert!(collect(&response(0), &mut offsets).unwrap());
        assert_eq!(offsets[&3], 70);
        assert!(collect(&response(29), &mut offsets).is_err());
    }

    #[test]
    fn each_leader_is_asked_for_what_it_leads() {
        let brokers = BTreeMap::from([(1, "a:1".to_owned()), (2, "b:1".to_owned())]);
        let topic = Topic { name: "t".to_owned(), leaders: vec![1, 2, 1], brokers };
        let request = request(&topic, 1, At::Start);
        let asked: Vec<(i32, i64)> =
            request.topics[0].partitions.iter().map(|p| (p.partition_index, p.timestamp)).collect();
        assert_eq!(asked, [(0, -2), (2, -2)]);
    }
}
