//! DescribeTopicPartitions (API 75).
//!
//! *Behaviour*: topics by name, in order, with eligible leaders (KIP-966); no name is all topics. A page of partitions at a time: the
//! next request goes on where the cursor says.
//! *Versions*: 0.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use crate::api::error::Code;
use crate::api::metadata::{leader_code, offline_replicas, wire, wire_all, wire_leader};
use crate::broker::Broker;
use crate::limits;
use crate::metadata::image::{Image, Partition, Topic};

/// Serves the request.
pub fn run(broker: &Broker, request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let image = broker.image();
    let named: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    let (from, first) =
        request.cursor.as_ref().map_or(("", 0), |cursor| (cursor.topic_name.as_str(), cursor.partition_index));
    let is_elsewhere = request.cursor.is_some() && !named.is_empty() && !named.contains(from);
    let Ok(first) =
        usize::try_from(first).map_err(drop).and_then(|first| if is_elsewhere { Err(()) } else { Ok(first) })
    else {
        let refused = named.into_iter().map(|name| refusal(name, ResponseError::InvalidRequest.code()));
        return DescribeTopicPartitionsResponse::default().with_topics(refused.collect());
    };
    let wanted = if named.is_empty() { image.topics().map(|topic| &*topic.name).collect() } else { named };
    let mut page = Page {
        room: usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, limits::DESCRIBED_PARTITIONS_MAX),
        topics: Vec::new(),
        next: None,
    };
    for name in wanted.range(from..) {
        match image.topic_by_name(name) {
            _ if page.next.is_some() => break,
            Some(topic) => page.add(&image, topic, if *name == from { first } else { 0 }),
            None => page.topics.push(refusal(name, ResponseError::UnknownTopicOrPartition.code())),
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(page.next)
}

/// What one answer holds.
struct Page {
    room: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

impl Page {
    /// Adds a topic's partitions from `first` on, as far as there is room.
    fn add(&mut self, image: &Image, topic: &Topic, first: usize) {
        let rest = topic.partitions.iter().skip(first).take(self.room);
        let partitions: Vec<_> = rest.map(|(index, partition)| describe(image, *index, partition)).collect();
        self.room -= partitions.len();
        let end = first + partitions.len();
        if end < topic.partitions.len() {
            let index = i32::try_from(end).unwrap_or(i32::MAX);
            self.next = Some(Cursor::default().with_topic_name(name(&topic.name)).with_partition_index(index));
        }
        if !partitions.is_empty() {
            self.topics.push(
                DescribeTopicPartitionsResponseTopic::default()
                    .with_name(Some(name(&topic.name)))
                    .with_topic_id(topic.id.0)
                    .with_partitions(partitions),
            );
        }
    }
}

fn describe(image: &Image, index: i32, partition: &Partition) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(leader_code(partition))
        .with_partition_index(index)
        .with_leader_id(wire_leader(partition))
        .with_leader_epoch(partition.leader_epoch.0)
        .with_replica_nodes(wire_all(&partition.replicas))
        .with_isr_nodes(wire_all(&partition.isr))
        .with_eligible_leader_replicas(Some(wire_all(&partition.elr)))
        // The last in-sync replicas stay in the in-sync set here, so that nobody is only remembered.
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(offline_replicas(image, partition).map(wire).collect())
}

fn refusal(topic: &str, code: Code) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default().with_name(Some(name(topic))).with_error_code(code)
}

fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
