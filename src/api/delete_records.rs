//! DeleteRecords (API 21).
//!
//! *Behaviour*: raises the log start offset to the given one, or to the high watermark for -1; answers the new log start.
//! *Versions*: 0 to 2.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use crate::api::error::{Code, KafkaCode};
use crate::broker::Broker;
use crate::message::{DeleteRecordsPart, Reply, Request};
use crate::model::PartitionId;

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let image = broker.image();
    let mut refusals: Vec<Option<Code>> = Vec::new();
    let mut parts = Vec::new();
    for topic in &request.topics {
        let found = image.topic_by_name(topic.name.as_str());
        for wanted in &topic.partitions {
            let index = wanted.partition_index;
            let found = found.filter(|found| found.partition(index).is_some());
            refusals.push(match (found, wanted.offset) {
                (None, _) => Some(ResponseError::UnknownTopicOrPartition.code()),
                (Some(_), ..-1) => Some(ResponseError::OffsetOutOfRange.code()),
                (Some(found), offset) => {
                    let partition = PartitionId { topic_id: found.id, partition: index };
                    let before_offset = (offset >= 0).then_some(offset);
                    parts.push((partition, DeleteRecordsPart { partition, before_offset }));
                    None
                }
            });
        }
    }
    drop(image);
    let outcomes = broker.ask_each(parts, Request::DeleteRecords, |reply| match reply {
        Reply::DeleteRecords(outcomes) => Some(outcomes),
        _ => None,
    });
    let mut outcomes = outcomes.await.unwrap_or_default().into_iter();
    let mut refusals = refusals.into_iter();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|wanted| {
            let outcome = match refusals.next().flatten() {
                Some(code) => Err(code),
                None => match outcomes.next() {
                    Some(outcome) => outcome.map_err(|error| error.code()),
                    None => Err(ResponseError::NotLeaderOrFollower.code()),
                },
            };
            let result = DeleteRecordsPartitionResult::default().with_partition_index(wanted.partition_index);
            match outcome {
                Ok(low_watermark) => result.with_low_watermark(low_watermark),
                Err(code) => result.with_low_watermark(-1).with_error_code(code),
            }
        });
        topics.push(DeleteRecordsTopicResult::default().with_partitions(partitions.collect()).with_name(topic.name));
    }
    DeleteRecordsResponse::default().with_topics(topics)
}
