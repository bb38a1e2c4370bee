//! ListOffsets (API 2).
//!
//! *Behaviour*: earliest (-2), latest (-1: the high watermark), the record with the largest timestamp (-3, KIP-734), or the
//! first record at or after a time. Local-log and tiered queries (-4, -5, -6) answer as without tiering: -4 is the earliest,
//! the others find nothing.
//! *Versions*: 1 to 11.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::api::error::{Code, KafkaCode};
use crate::api::fetch::epoch;
use crate::api::{Answer, Close, Head, decode};
use crate::broker::Broker;
use crate::message::{ListOffsetsOutcome, ListOffsetsPart, OffsetQuery, Reply, Request};
use crate::model::{LeaderEpoch, PartitionId};

type Boxed = Pin<Box<dyn Future<Output = Result<Answer, Close>>>>;

pub(super) fn handle(broker: Rc<Broker>, head: Head, body: Bytes) -> Boxed {
    Box::pin(async move { head.answer(&broker, &run(&broker, head, decode(head, body)?).await) })
}

enum Slot {
    Refused(Code),
    /// Nothing to ask: the answer is that there is no such record.
    Nothing,
    Asked,
}

async fn run(broker: &Rc<Broker>, head: Head, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut slots = Vec::new();
    let mut parts = Vec::new();
    let image = broker.image();
    for topic in &request.topics {
        let found = image.topic_by_name(topic.name.as_str());
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let known = found.filter(|found| found.partition(index).is_some());
            let slot = match (known, query(partition.timestamp)) {
                (None, _) => Slot::Refused(ResponseError::UnknownTopicOrPartition.code()),
                (Some(_), None) => Slot::Nothing,
                (Some(found), Some(query)) => {
                    let partition_id = PartitionId { topic_id: found.id, partition: index };
                    let current_leader_epoch = epoch(partition.current_leader_epoch);
                    parts
                        .push((partition_id, ListOffsetsPart { partition: partition_id, query, current_leader_epoch }));
                    Slot::Asked
                }
            };
            slots.push(slot);
        }
    }
    drop(image);
    let asked = parts.len();
    let outcomes = broker.ask_each(parts, Request::ListOffsets, |reply| match reply {
        Reply::ListOffsets(outcomes) => Some(outcomes),
        _ => None,
    });
    let outcomes = match outcomes.await {
        Ok(outcomes) => outcomes.into_iter().map(Some).collect(),
        Err(_) => vec![None; asked],
    };
    respond(head, request, slots, outcomes)
}

fn query(timestamp: i64) -> Option<OffsetQuery> {
    match timestamp {
        -1 => Some(OffsetQuery::Latest),
        -2 | -4 => Some(OffsetQuery::Earliest),
        -3 => Some(OffsetQuery::MaxTimestamp),
        timestamp if timestamp >= 0 => Some(OffsetQuery::AtOrAfter(timestamp)),
        _ => None,
    }
}

fn respond(
    head: Head,
    request: ListOffsetsRequest,
    slots: Vec<Slot>,
    outcomes: Vec<Option<ListOffsetsOutcome>>,
) -> ListOffsetsResponse {
    let (mut slots, mut outcomes) = (slots.into_iter(), outcomes.into_iter());
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|partition| {
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_offset(-1)
                .with_timestamp(-1)
                .with_leader_epoch(-1);
            match slots.next() {
                Some(Slot::Refused(code)) => response.with_error_code(code),
                Some(Slot::Asked) => fill(head, response, outcomes.next().flatten()),
                Some(Slot::Nothing) | None => response,
            }
        });
        topics.push(ListOffsetsTopicResponse::default().with_partitions(partitions.collect()).with_name(topic.name));
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn fill(
    head: Head,
    response: ListOffsetsPartitionResponse,
    outcome: Option<ListOffsetsOutcome>,
) -> ListOffsetsPartitionResponse {
    match outcome {
        None => response.with_error_code(ResponseError::NotLeaderOrFollower.code()),
        Some(Err(error)) => response.with_error_code(error.code()),
        Some(Ok(None)) => response,
        Some(Ok(Some(found))) => response
            .with_offset(found.offset)
            .with_timestamp(found.timestamp)
            // The field is there from version 4 on (KIP-320).
            .with_leader_epoch(found.leader_epoch.filter(|_| head.version >= 4).map_or(-1, |LeaderEpoch(epoch)| epoch)),
    }
}
