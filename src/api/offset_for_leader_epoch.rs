//! OffsetForLeaderEpoch (API 23).
//!
//! *Behaviour*: where the largest epoch not above the asked one ended, so that a client can find where its log diverged (KIP-320).
//! *Versions*: 2 to 4.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::api::error::KafkaCode;
use crate::api::fetch::epoch;
use crate::broker::Broker;
use crate::message::{EpochEndOutcome, EpochEndPart, Reply, Request};
use crate::model::{LeaderEpoch, PartitionId};

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let image = broker.image();
    let mut known = Vec::new();
    let mut parts = Vec::new();
    for topic in &request.topics {
        let found = image.topic_by_name(topic.topic.as_str());
        for wanted in &topic.partitions {
            let found = found.filter(|found| found.partition(wanted.partition).is_some());
            known.push(found.is_some());
            if let Some(found) = found {
                let partition = PartitionId { topic_id: found.id, partition: wanted.partition };
                let current_leader_epoch = epoch(wanted.current_leader_epoch);
                let leader_epoch = LeaderEpoch(wanted.leader_epoch);
                parts.push((partition, EpochEndPart { partition, current_leader_epoch, leader_epoch }));
            }
        }
    }
    drop(image);
    let outcomes = broker.ask_each(parts, Request::EpochEnds, |reply| match reply {
        Reply::EpochEnds(outcomes) => Some(outcomes),
        _ => None,
    });
    let mut outcomes = outcomes.await.unwrap_or_default().into_iter();
    let mut known = known.into_iter();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|wanted| {
            let end =
                EpochEndOffset::default().with_partition(wanted.partition).with_leader_epoch(-1).with_end_offset(-1);
            if known.next() == Some(true) {
                fill(end, outcomes.next())
            } else {
                end.with_error_code(ResponseError::UnknownTopicOrPartition.code())
            }
        });
        topics
            .push(OffsetForLeaderTopicResult::default().with_partitions(partitions.collect()).with_topic(topic.topic));
    }
    OffsetForLeaderEpochResponse::default().with_topics(topics)
}

fn fill(end: EpochEndOffset, outcome: Option<EpochEndOutcome>) -> EpochEndOffset {
    match outcome {
        None => end.with_error_code(ResponseError::NotLeaderOrFollower.code()),
        Some(Err(error)) => end.with_error_code(error.code()),
        Some(Ok(None)) => end,
        Some(Ok(Some((LeaderEpoch(epoch), offset)))) => end.with_leader_epoch(epoch).with_end_offset(offset),
    }
}
