//! Fetch (API 1).
//!
//! *Behaviour*: reads what is there; if that is less than the client's minimum, waits until a shard has more, then reads again.
//! Waiting costs nothing: a watch is woken by the high watermark, never polled. The first batch of a response is returned
//! whatever its size, so that a client with a small buffer is never stuck (KIP-74).
//! *Versions*: 4 to 18. Sessions (KIP-227) are declined: session id 0 tells the client to send all its partitions each time, and
//! an epoch above 0, which goes on with a session, is refused.
//! *Not here*: what may be read (`partition`), reading it (`shard::fetch`).

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use futures_util::stream::{FuturesUnordered, StreamExt};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use crate::api::error::{self, Code, KafkaCode};
use crate::api::leader_hint::LeaderHints;
use crate::api::{Answer, Close, Head};
use crate::broker::{Broker, Stopping};
use crate::limits;
use crate::message::{FetchError, FetchOrder, FetchOutcome, FetchPart, Fetched, Request, WatchOrder};
use crate::metadata::image::Image;
use crate::model::{LeaderEpoch, PartitionId, ShardId, TopicId};
use crate::rt::Monotonic;

/// From this version on a response names the leader where it is another broker.
const LEADER_HINTS_SINCE: i16 = 16;

/// A partition of the request: found, or refused before any shard is asked.
type Target = Result<FetchPart, Code>;

/// Serves a fetch.
pub async fn run(broker: &Rc<Broker>, head: Head, request: FetchRequest) -> Result<Answer, Close> {
    if request.session_epoch > 0 {
        return head
            .answer(broker, &FetchResponse::default().with_error_code(ResponseError::FetchSessionIdNotFound.code()));
    }
    let is_crowded = broker.small_bytes.left() < broker.small_bytes.total() / 4;
    let wait_ms_max = if is_crowded { limits::FETCH_WAIT_CROWDED_MS_MAX } else { limits::FETCH_WAIT_MS_MAX };
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0).min(wait_ms_max));
    let deadline = broker.rt.now().after(wait);
    let bytes_min = usize::try_from(request.min_bytes).unwrap_or(0);
    let bytes_max = usize::try_from(request.max_bytes).unwrap_or(0).min(broker.config.broker.fetch_max_bytes);
    // Responses that nobody reads pile up: the fuller the budget, the smaller the next one.
    let share = broker.response_bytes.left() / 8;
    let bytes_max = bytes_max.min(share.max(limits::RESPONSE_BYTES_MIN));
    let image = broker.image();
    let targets: Vec<Target> = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|partition| target(&image, head.version, topic, partition)))
        .collect();
    drop(image);
    let outcomes = match wait_and_read(broker, &targets, bytes_min, bytes_max, deadline).await {
        Ok(outcomes) => outcomes,
        Err(Stopping) => return Err(Close::Stopping),
    };
    let (mut bytes, mut records) = (0, 0);
    for (part, fetched) in read_parts(&targets, &outcomes) {
        bytes += fetched.records.len();
        records += u64::try_from(fetched.next_offset - part.offset).unwrap_or(0);
    }
    broker.metrics.fetched(records, bytes);
    let held = broker.response_bytes.try_acquire(bytes);
    let leaders = leaders(broker, head, &targets, &outcomes);
    Ok(Answer { held, ..head.answer(broker, &respond(request.topics, targets, outcomes, leaders))? })
}

async fn wait_and_read(
    broker: &Rc<Broker>,
    targets: &[Target],
    bytes_min: usize,
    bytes_max: usize,
    deadline: Monotonic,
) -> Result<Vec<Option<FetchOutcome>>, Stopping> {
    loop {
        let outcomes = read(broker, targets, bytes_max).await?;
        let found: usize = outcomes.iter().flatten().flatten().map(|fetched| fetched.records.len()).sum();
        let failed = targets.iter().any(Result::is_err) || outcomes.iter().flatten().any(must_hear);
        let has_enough = targets.is_empty() || found >= bytes_min.min(bytes_max);
        // A client that lags is not kept waiting: what stopped the read is a bound of its own, or a segment's end.
        let lags = || read_parts(targets, &outcomes).any(|(_, fetched)| fetched.next_offset < fetched.high_watermark);
        if has_enough || failed || lags() || broker.rt.now() >= deadline {
            return Ok(outcomes);
        }
        let ends =
            read_parts(targets, &outcomes).map(|(part, fetched)| (part.partition, fetched.next_offset)).collect();
        watch(broker, ends, bytes_min - found, deadline).await?;
    }
}

/// The parts that were read.
fn read_parts<'a>(
    targets: &'a [Target],
    outcomes: &'a [Option<FetchOutcome>],
) -> impl Iterator<Item = (&'a FetchPart, &'a Fetched)> {
    targets.iter().zip(outcomes).filter_map(|(target, outcome)| match (target, outcome) {
        (Ok(part), Some(Ok(fetched))) => Some((part, fetched)),
        _ => None,
    })
}

/// An outcome that the client must hear of at once.
fn must_hear(outcome: &FetchOutcome) -> bool {
    outcome.as_ref().map_or(true, |fetched| fetched.diverging.is_some())
}

/// Reads all targets, shard by shard in the order in which the client named them, within `bytes_max` together.
async fn read(
    broker: &Rc<Broker>,
    targets: &[Target],
    bytes_max: usize,
) -> Result<Vec<Option<FetchOutcome>>, Stopping> {
    let mut outcomes: Vec<Option<FetchOutcome>> = targets.iter().map(|_| None).collect();
    let mut bytes_left = bytes_max;
    let mut found_any = false;
    for shard in 0..broker.shards {
        let of_shard = |target: &Target| target.ok().filter(|part| broker.shard_of(part.partition) == ShardId(shard));
        let (slots, parts): (Vec<usize>, Vec<FetchPart>) =
            targets.iter().enumerate().filter_map(|(slot, target)| Some((slot, of_shard(target)?))).unzip();
        if parts.is_empty() {
            continue;
        }
        let order = FetchOrder { parts, bytes_max: bytes_left, first_batch_always: !found_any };
        for (slot, outcome) in slots.into_iter().zip(broker.fetch(ShardId(shard), order).await?) {
            let bytes = outcome.as_ref().map_or(0, |fetched| fetched.records.len());
            bytes_left = bytes_left.saturating_sub(bytes);
            found_any |= bytes > 0;
            outcomes[slot] = Some(outcome);
        }
    }
    Ok(outcomes)
}

/// Waits until `missing` more bytes are there, or the deadline. `ends` is how far all was read.
///
/// A shard knows of its own partitions only: it says so once it has its share of what is missing. If all is there, one of them has
/// its share, so this is never late; and every time the rest is smaller, so that few reads find too little.
async fn watch(
    broker: &Rc<Broker>,
    ends: Vec<(PartitionId, i64)>,
    missing: usize,
    deadline: Monotonic,
) -> Result<(), Stopping> {
    let mut by_shard: Vec<Vec<(PartitionId, i64)>> = vec![Vec::new(); broker.shards];
    ends.into_iter().for_each(|end| by_shard[broker.shard_of(end.0).0].push(end));
    let share = missing.div_ceil(by_shard.iter().filter(|parts| !parts.is_empty()).count().max(1));
    let mut watches: FuturesUnordered<_> = by_shard
        .into_iter()
        .enumerate()
        .filter(|(_, parts)| !parts.is_empty())
        .map(|(shard, parts)| {
            broker.ask(ShardId(shard), Request::Watch(WatchOrder { parts, bytes_min: share, deadline }))
        })
        .collect();
    or(async { watches.next().await.map_or(Err(Stopping), |reply| reply.map(|_| ())) }, async {
        broker.rt.sleep(deadline.since(broker.rt.now())).await;
        Ok(())
    })
    .await
}

fn target(image: &Image, version: i16, topic: &FetchTopic, partition: &FetchPartition) -> Target {
    let found =
        if version >= 13 { image.topic(TopicId(topic.topic_id)) } else { image.topic_by_name(topic.topic.as_str()) };
    let found = found.ok_or_else(|| {
        if version >= 13 { ResponseError::UnknownTopicId.code() } else { ResponseError::UnknownTopicOrPartition.code() }
    })?;
    if found.partition(partition.partition).is_none() {
        return Err(ResponseError::UnknownTopicOrPartition.code());
    }
    Ok(FetchPart {
        partition: PartitionId { topic_id: found.id, partition: partition.partition },
        offset: partition.fetch_offset,
        bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
        current_leader_epoch: epoch(partition.current_leader_epoch),
        last_fetched_epoch: epoch(partition.last_fetched_epoch),
    })
}

/// -1 on the wire: the client does not say.
pub(super) fn epoch(number: i32) -> Option<LeaderEpoch> {
    (number >= 0).then_some(LeaderEpoch(number))
}

/// Who leads, part by part, where a client asked the wrong broker or believes in an earlier reign (KIP-951); and where those are.
type Leaders = (Vec<LeaderIdAndEpoch>, Vec<NodeEndpoint>);

fn leaders(broker: &Broker, head: Head, targets: &[Target], outcomes: &[Option<FetchOutcome>]) -> Leaders {
    let wants_one = |outcome: &Option<FetchOutcome>| {
        matches!(outcome, Some(Err(FetchError::NotLeader | FetchError::FencedLeaderEpoch)))
    };
    if head.version < LEADER_HINTS_SINCE || !outcomes.iter().any(wants_one) {
        return Leaders::default();
    }
    let image = broker.image();
    let mut hints = LeaderHints::new(&image, broker.shard.me());
    let each = targets.iter().zip(outcomes).map(|(target, outcome)| {
        let part = target.ok().filter(|_| wants_one(outcome));
        let hint = part.and_then(|part| hints.of(image.partition(part.partition)?));
        let named = |(leader, epoch)| LeaderIdAndEpoch::default().with_leader_id(leader).with_leader_epoch(epoch);
        hint.map(named).unwrap_or_default()
    });
    let each = each.collect();
    (each, hints.of_fetch())
}

fn respond(
    topics: Vec<FetchTopic>,
    targets: Vec<Target>,
    outcomes: Vec<Option<FetchOutcome>>,
    (leaders, endpoints): Leaders,
) -> FetchResponse {
    let mut leaders = leaders.into_iter();
    let mut results = targets.into_iter().zip(outcomes);
    let responses = topics
        .into_iter()
        .map(|topic| {
            let partitions = topic.partitions.iter().zip(results.by_ref());
            let partitions = partitions.map(|(partition, (target, outcome))| {
                let leader = leaders.next().unwrap_or_default();
                partition_data(partition.partition, target, outcome).with_current_leader(leader)
            });
            FetchableTopicResponse::default()
                .with_partitions(partitions.collect())
                .with_topic(topic.topic)
                .with_topic_id(topic.topic_id)
        })
        .collect();
    FetchResponse::default().with_responses(responses).with_node_endpoints(endpoints)
}

fn partition_data(index: i32, target: Target, outcome: Option<FetchOutcome>) -> PartitionData {
    // No records are an empty field, never a null one: librdkafka and others do not take null (lesson 82).
    let data = PartitionData::default()
        .with_partition_index(index)
        .with_high_watermark(-1)
        .with_last_stable_offset(-1)
        .with_log_start_offset(-1)
        .with_preferred_read_replica((-1).into())
        .with_records(Some(bytes::Bytes::new()));
    match (target, outcome) {
        (Err(code), _) => data.with_error_code(code),
        (Ok(_), None) => data.with_error_code(ResponseError::UnknownServerError.code()),
        (Ok(_), Some(Err(error))) => data.with_error_code(error.code()),
        (Ok(_), Some(Ok(fetched))) => with_fetched(data.with_error_code(error::NONE), fetched),
    }
}

fn with_fetched(data: PartitionData, fetched: Fetched) -> PartitionData {
    let data = data
        .with_high_watermark(fetched.high_watermark)
        .with_last_stable_offset(fetched.high_watermark)
        .with_log_start_offset(fetched.log_start_offset)
        .with_records(Some(fetched.records));
    match fetched.diverging {
        Some((LeaderEpoch(epoch), end)) => {
            data.with_diverging_epoch(EpochEndOffset::default().with_epoch(epoch).with_end_offset(end))
        }
        None => data,
    }
}
