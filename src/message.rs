//! Everything that crosses from one core to another. If it is not in this file, it does not cross.
//!
//! *Which core*: made on one executor, consumed on another; all of it is `Send` and owned.
//! *Invariants*: one message per (request, shard), never one per partition.
//! *Not here*: Kafka's wire structs (they stop at `api`), and how messages travel (`mesh`).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use storage::batch::BatchHeader;
use storage::checkpoints::Checkpoint;
use storage::data_dir::identity::Identity;
use storage::disk::FsFacts;
use storage::epoch_journal::EpochChanges;

use crate::metadata::publish::Publication;
use crate::metadata::request as metadata_request;
use crate::model::{LeaderEpoch, PartitionId, ShardId};
use crate::partition::{Acknowledged, Acks};
use crate::peer::hello::Hello;
use crate::rt::Monotonic;

/// What an executor is asked to do.
pub enum Request {
    /// To a shard, first of all: be one.
    Begin(Box<Beginning>),
    /// To a shard: write down what earlier starts left it, whenever there is space. Answered once that is durable.
    TakeOver,
    /// To a shard: append and, by `acks`, make durable.
    Produce(ProduceOrder),
    /// To a shard: read what is there now.
    Fetch(FetchOrder),
    /// To a shard: answer once more can be read.
    Watch(WatchOrder),
    /// To a shard: find offsets by time, or the ends.
    ListOffsets(Vec<ListOffsetsPart>),
    /// To a shard: where did an epoch end?
    EpochEnds(Vec<EpochEndPart>),
    /// To a shard: raise log start offsets.
    DeleteRecords(Vec<DeleteRecordsPart>),
    /// To a shard: metadata has changed. Answered once it acts on it.
    Publish(Publication),
    /// To a shard: a client's connection is now yours.
    Connection(net::stream::Accepted),
    /// To a shard: a follower's stream is now yours; its welcome has been said. Answered when it ends.
    ReplicaStream {
        /// The connection, at the first byte after the hello.
        connection: net::stream::Accepted,
        /// Who it is, and for which shards.
        hello: Hello,
    },
    /// To a shard: finish what is in flight, flush, write checkpoints. Answered when done.
    Stop,
    /// To the metadata core: change the metadata.
    Metadata(metadata_request::Request),
}

/// The answer to the [`Request`] of the same name.
pub enum Reply {
    /// One outcome a part, in the order's order.
    Produce(Vec<ProduceOutcome>),
    /// One outcome a part, in the order's order.
    Fetch(Vec<FetchOutcome>),
    /// There is more to read, or the watch's deadline has come.
    Watch,
    /// One outcome a part.
    ListOffsets(Vec<ListOffsetsOutcome>),
    /// One outcome a part.
    EpochEnds(Vec<EpochEndOutcome>),
    /// One outcome a part: the new log start offset.
    DeleteRecords(Vec<Result<i64, DeleteRecordsError>>),
    /// Done, and there is nothing to say.
    Done,
    /// The metadata core's answer.
    Metadata(Result<metadata_request::Reply, metadata_request::SubmitError>),
}

/// What a shard begins with.
pub struct Beginning {
    /// Whose data directory it is.
    pub identity: Identity,
    /// What the file system promises.
    pub facts: FsFacts,
    /// What the last checkpoints knew of the shard's partitions, and the number of this start's files.
    pub checkpoints: (u64, BTreeMap<PartitionId, Checkpoint>),
    /// What the epoch journals hold of the shard's partitions, and the number of this start's files.
    pub epochs: (u64, EpochChanges),
    /// The metadata; the first publication says what to open.
    pub image: SharedImage,
}

/// Batches for partitions of one shard.
pub struct ProduceOrder {
    /// How durable before it is answered.
    pub acks: Acks,
    /// When to give up.
    pub deadline: Monotonic,
    /// When the request's last byte was read, for the stage histograms.
    pub received: Monotonic,
    /// The batches.
    pub parts: Vec<ProducePart>,
}

/// One validated batch for one partition.
pub struct ProducePart {
    /// Where it goes.
    pub partition: PartitionId,
    /// The batch, as its producer sent it; checked already.
    pub batch: Bytes,
    /// Its header.
    pub header: BatchHeader,
}

/// What a producer can be told of one partition.
pub type ProduceOutcome = Result<Acknowledged, ProduceError>;

/// Why a batch was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError {
    /// Not known here, or not any more.
    #[error("unknown partition")]
    UnknownPartition,
    /// Led by another broker.
    #[error("not the leader")]
    NotLeader,
    /// Fewer in sync than the minimum; nothing was written.
    #[error("too few replicas are in sync")]
    NotEnoughReplicas,
    /// Fewer in sync than the minimum since the append.
    #[error("appended, but too few replicas are in sync")]
    NotEnoughReplicasAfterAppend,
    /// Appended, but not durable everywhere in time.
    #[error("timed out")]
    TimedOut,
    /// A gap in an idempotent producer's sequence.
    #[error("out of order sequence number")]
    OutOfOrderSequence,
    /// A newer incarnation of the producer has written.
    #[error("fenced by a newer producer epoch")]
    InvalidProducerEpoch,
    /// The producer's state is gone.
    #[error("unknown producer id")]
    UnknownProducerId,
    /// The disk is full, or the log is offline.
    #[error("storage error")]
    Storage,
}

/// A read of partitions of one shard.
pub struct FetchOrder {
    /// The parts, in the client's order: earlier ones get the bytes first.
    pub parts: Vec<FetchPart>,
    /// Bytes in all; the first non-empty part may exceed it by one batch.
    pub bytes_max: usize,
    /// Is this the request's first shard, so that its first batch is returned whatever its size?
    pub first_batch_always: bool,
}

/// A read of one partition.
#[derive(Clone, Copy, Debug)]
pub struct FetchPart {
    /// What to read.
    pub partition: PartitionId,
    /// From where.
    pub offset: i64,
    /// Bytes of this part.
    pub bytes_max: usize,
    /// The epoch that the client believes in, if it says.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Epoch of the last record the client has, if it says (KIP-320).
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// What a consumer can be told of one partition.
pub type FetchOutcome = Result<Fetched, FetchError>;

/// Whole batches, and where the partition stands.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// First offset the client may not see.
    pub high_watermark: i64,
    /// First offset there is.
    pub log_start_offset: i64,
    /// Whole batches; may begin before the asked offset.
    pub records: Bytes,
    /// Where the next read goes on; the asked offset if nothing was read.
    pub next_offset: i64,
    /// The client's log has diverged: where it must truncate to (KIP-595).
    pub diverging: Option<(LeaderEpoch, i64)>,
}

/// Why a partition could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not known here, or not any more.
    #[error("unknown partition")]
    UnknownPartition,
    /// Led by another broker.
    #[error("not the leader")]
    NotLeader,
    /// The client's epoch is older than ours.
    #[error("fenced leader epoch")]
    FencedLeaderEpoch,
    /// The client's epoch is newer than ours.
    #[error("unknown leader epoch")]
    UnknownLeaderEpoch,
    /// The offset is below the log's start or above its end.
    #[error("offset out of range: the log is {log_start_offset}..{high_watermark}")]
    OffsetOutOfRange {
        /// First offset there is.
        log_start_offset: i64,
        /// First offset that may not be seen.
        high_watermark: i64,
    },
    /// What the disk gave back is not what was written.
    #[error("corrupt data")]
    Corrupt,
    /// The log is offline, or the disk failed to read.
    #[error("storage error")]
    Storage,
}

/// Wait until partitions of one shard have more to read.
pub struct WatchOrder {
    /// What is waited for: how far each was read.
    pub parts: Vec<(PartitionId, i64)>,
    /// Answer once so many bytes more can be read, over all parts.
    pub bytes_min: usize,
    /// Answer by then in any case.
    pub deadline: Monotonic,
}

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The log's start (-2).
    Earliest,
    /// The high watermark (-1).
    Latest,
    /// The record with the largest timestamp (-3, KIP-734).
    MaxTimestamp,
    /// The first record at or after this time, ms since the Unix epoch.
    AtOrAfter(i64),
}

/// An offset wanted of one partition.
#[derive(Clone, Copy, Debug)]
pub struct ListOffsetsPart {
    /// Of which.
    pub partition: PartitionId,
    /// Which.
    pub query: OffsetQuery,
    /// The epoch that the client believes in, if it says.
    pub current_leader_epoch: Option<LeaderEpoch>,
}

/// What a client can be told about an offset; `None`: no record is that young.
pub type ListOffsetsOutcome = Result<Option<FoundOffset>, ListOffsetsError>;

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// The record's timestamp, or -1 where the query was for an end.
    pub timestamp: i64,
    /// Epoch of the leader that wrote it, if known.
    pub leader_epoch: Option<LeaderEpoch>,
}

/// Why an offset was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListOffsetsError {
    /// As for a fetch.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A new leader does not know its high watermark yet (KIP-207).
    #[error("offset not available yet")]
    OffsetNotAvailable,
}

/// The end of an epoch wanted of one partition (KIP-101).
#[derive(Clone, Copy, Debug)]
pub struct EpochEndPart {
    /// Of which.
    pub partition: PartitionId,
    /// The epoch that the client believes in, if it says.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// The epoch whose end is wanted.
    pub leader_epoch: LeaderEpoch,
}

/// The largest epoch not above the one asked for, and its end offset; `None`: there is no such epoch.
pub type EpochEndOutcome = Result<Option<(LeaderEpoch, i64)>, FetchError>;

/// Records to be given up.
#[derive(Clone, Copy, Debug)]
pub struct DeleteRecordsPart {
    /// Of which partition.
    pub partition: PartitionId,
    /// All below this; `None`: below the high watermark.
    pub before_offset: Option<i64>,
}

/// Why records were not given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRecordsError {
    /// As for a fetch.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// An executor of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Core {
    /// The metadata executor.
    Metadata,
    /// A shard executor.
    Shard(ShardId),
}

/// What travels on a ring.
pub enum Envelope {
    /// A call; the number is the caller's.
    Call(u64, Request),
    /// The answer to the receiver's call of that number.
    Return(u64, Reply),
}

/// The view of the cluster that every core shares.
pub type SharedImage = Arc<crate::metadata::image::Image>;
