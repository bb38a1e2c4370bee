//! Produce (API 0).
//!
//! *Behaviour*: every batch is checked here, on the connection's core, then appended by the partition's shard before this
//! request's successor is looked at; only the acks are awaited later. So order is kept and nothing stalls.
//! *Versions*: 3 to 13. 13 names topics by id (KIP-516).
//! *Not here*: acks and offsets (`partition`), the order of responses (`connection`).

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::protocol::StrBytes;
use storage::batch::{self, BatchHeader};

use crate::api::error::{self, Code, KafkaCode};
use crate::api::leader_hint::LeaderHints;
use crate::api::{Answer, Close, Head};
use crate::broker::{Broker, ProduceCall};
use crate::limits;
use crate::message::{ProduceOrder, ProduceOutcome, ProducePart};
use crate::metadata::image::Topic;
use crate::model::{PartitionId, ShardId};
use crate::partition::Acks;

/// From this version on a response names the leader where it is another broker.
const LEADER_HINTS_SINCE: i16 = 10;

/// A produce whose batches are appended and whose acks are awaited.
pub struct Pending {
    broker: Rc<Broker>,
    head: Head,
    response: ProduceResponse,
    calls: Vec<ShardCall>,
}

/// The parts that one shard has, and where their outcomes go.
struct ShardCall {
    /// (topic, partition) indices in the response.
    slots: Vec<(usize, usize)>,
    call: ProduceCall,
}

/// The parts for one shard, while the request is read.
#[derive(Default)]
struct ShardParts {
    slots: Vec<(usize, usize)>,
    parts: Vec<ProducePart>,
}

/// A batch that is refused before any shard sees it.
struct Refusal {
    code: Code,
    message: String,
}

impl Refusal {
    fn new(error: ResponseError, message: impl Into<String>) -> Refusal {
        Refusal { code: error.code(), message: message.into() }
    }
}

/// Checks, sorts by shard, appends.
pub fn start(broker: &Rc<Broker>, head: Head, request: ProduceRequest) -> Result<super::Pending, Close> {
    let received = broker.rt.now();
    let parts: usize = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
    if parts > limits::PRODUCE_PARTS_MAX {
        return Err(super::malformed(head, format!("{parts} partitions")));
    }
    let acks = match request.acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    };
    let mut by_shard: Vec<ShardParts> = Vec::new();
    by_shard.resize_with(broker.shards, ShardParts::default);
    let mut response = ProduceResponse::default();
    let mut refused = false;
    for topic_data in request.topic_data {
        let mut topic_response = TopicProduceResponse::default().with_topic_id(topic_data.topic_id);
        let image = broker.image();
        let topic = if head.version >= 13 {
            image.topic(crate::model::TopicId(topic_data.topic_id))
        } else {
            image.topic_by_name(topic_data.name.as_str())
        };
        for partition_data in topic_data.partition_data.iter() {
            let slot = (response.responses.len(), topic_response.partition_responses.len());
            let mut partition_response = PartitionProduceResponse::default()
                .with_index(partition_data.index)
                .with_base_offset(-1)
                .with_log_append_time_ms(-1);
            let checked = acks
                .ok_or_else(|| Refusal::new(ResponseError::InvalidRequiredAcks, "acks must be -1, 0 or 1"))
                .and_then(|_| locate(topic.map(|topic| &**topic), &topic_data, partition_data, head.version))
                .and_then(|(topic, partition)| {
                    Ok((partition, check(broker, topic, partition_data, &request.transactional_id)?))
                });
            match checked {
                Ok((partition, header)) => {
                    let target = &mut by_shard[broker.shard_of(partition).0];
                    target.slots.push(slot);
                    let batch = partition_data.records.clone().unwrap_or_default();
                    target.parts.push(ProducePart { partition, batch, header });
                }
                Err(refusal) => {
                    refused = true;
                    partition_response.error_code = refusal.code;
                    partition_response.error_message = Some(StrBytes::from_string(refusal.message));
                }
            }
            topic_response.partition_responses.push(partition_response);
        }
        topic_response.name = topic_data.name;
        response.responses.push(topic_response);
    }
    let acks = acks.unwrap_or(Acks::Leader);
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let mut calls = Vec::with_capacity(1);
    for (shard, ShardParts { slots, parts }) in by_shard.into_iter().enumerate() {
        if !parts.is_empty() {
            let order = ProduceOrder { acks, deadline: received.after(timeout), received, parts };
            calls.push(ShardCall { slots, call: broker.produce(ShardId(shard), order) });
        }
    }
    if acks == Acks::None {
        return if refused { Err(Close::RefusedWithoutAcks) } else { Ok(super::Pending::Ready(Answer::default())) };
    }
    Ok(super::Pending::Produce(Pending { broker: broker.clone(), head, response, calls }))
}

fn locate<'a>(
    topic: Option<&'a Topic>,
    topic_data: &TopicProduceData,
    partition_data: &PartitionProduceData,
    version: i16,
) -> Result<(&'a Topic, PartitionId), Refusal> {
    let topic = topic.ok_or_else(|| {
        if version >= 13 {
            Refusal::new(ResponseError::UnknownTopicId, format!("there is no topic with id {}", topic_data.topic_id))
        } else {
            let name = topic_data.name.as_str();
            Refusal::new(ResponseError::UnknownTopicOrPartition, format!("there is no topic {name}"))
        }
    })?;
    let index = partition_data.index;
    if topic.partition(index).is_none() {
        let message = format!("topic {} has no partition {index}", topic.name);
        return Err(Refusal::new(ResponseError::UnknownTopicOrPartition, message));
    }
    Ok((topic, PartitionId { topic_id: topic.id, partition: index }))
}

fn check(
    broker: &Broker,
    topic: &Topic,
    data: &PartitionProduceData,
    transactional_id: &Option<kafka_protocol::messages::TransactionalId>,
) -> Result<BatchHeader, Refusal> {
    if transactional_id.is_some() {
        return Err(Refusal::new(ResponseError::InvalidTxnState, "transactions are not supported"));
    }
    let bytes = data.records.as_deref().unwrap_or_default();
    let gone = || Refusal::new(ResponseError::UnknownTopicOrPartition, "the topic is being deleted");
    let limits = broker.shard.batch_limits(topic.id, broker.rt.wall_ms()).ok_or_else(gone)?;
    batch::validate_produced(bytes, &limits).map_err(|error| Refusal { code: error.code(), message: error.to_string() })
}

impl Pending {
    /// Waits for the acks of all parts and makes the response.
    pub(super) fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Result<Answer, Close>> {
        while let Some(ShardCall { slots, call }) = self.calls.last_mut() {
            let outcomes = ready!(Pin::new(call).poll(context)).map_err(|_| Close::Stopping)?;
            for ((topic, partition), outcome) in slots.iter().zip(outcomes) {
                fill(&mut self.response.responses[*topic].partition_responses[*partition], outcome);
            }
            self.calls.pop();
        }
        if self.head.version >= LEADER_HINTS_SINCE {
            self.hint_at_leaders();
        }
        Poll::Ready(self.head.answer(&self.broker, &self.response))
    }
}

impl Pending {
    /// Says who leads where this broker does not (KIP-951).
    fn hint_at_leaders(&mut self) {
        let image = self.broker.image();
        let mut hints = LeaderHints::new(&image, self.broker.shard.me());
        for topic in &mut self.response.responses {
            for response in &mut topic.partition_responses {
                if response.error_code != ResponseError::NotLeaderOrFollower.code() {
                    continue;
                }
                let found = match self.head.version {
                    ..13 => image.topic_by_name(topic.name.as_str()),
                    13.. => image.topic(crate::model::TopicId(topic.topic_id)),
                };
                let partition = found.and_then(|found| found.partition(response.index));
                if let Some((leader, epoch)) = partition.and_then(|partition| hints.of(partition)) {
                    response.current_leader =
                        LeaderIdAndEpoch::default().with_leader_id(leader).with_leader_epoch(epoch);
                }
            }
        }
        self.response.node_endpoints = hints.of_produce();
    }
}

fn fill(response: &mut PartitionProduceResponse, outcome: ProduceOutcome) {
    match outcome {
        Ok(acknowledged) => {
            response.error_code = error::NONE;
            response.base_offset = acknowledged.base_offset;
            response.log_start_offset = acknowledged.log_start_offset;
        }
        Err(error) => {
            response.error_code = error.code();
            response.error_message = Some(StrBytes::from_string(error.to_string()));
        }
    }
}
