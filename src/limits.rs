//! Every bound of the server, in one place, each with its reason.
//!
//! *Which core*: any. *Not here*: what the operator may set (config) and what Kafka fixes (the protocol).

/// Messages in one ring between two executors. Fewer than some 1,000 cost throughput; each slot is small.
pub const RING_MESSAGES_MAX: usize = 4096;

/// Partitions that one produce request may name: a ticket has 20 bits for the part's index.
pub const PRODUCE_PARTS_MAX: usize = 1 << 20;

/// Requests that one connection may have in flight: the responses must leave in order, so they pile up behind a slow one.
pub const REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX: usize = 1024;

/// Bytes of requests that one connection may have in flight. One request may be larger, but is then alone.
pub const REQUEST_BYTES_PER_CONNECTION_MAX: usize = 16 << 20;

/// How much more of these bytes a request other than a produce counts for: decoded, it takes many times what it took on the wire.
pub const CONTROL_BYTES_WEIGHT: usize = 16;

/// A request up to this size is read before its bytes are taken from the shard's budget: half a request then holds no budget.
pub const REQUEST_BYTES_READ_AHEAD_MAX: usize = 64 << 10;

/// Bytes of large requests that one shard's connections may have begun to send.
pub const ARRIVING_BYTES_PER_SHARD_MAX: usize = 32 << 20;

/// How long the rest of a larger request may take to arrive, ms: it holds budget that others wait for.
pub const REQUEST_BODY_MS_MAX: u64 = 10_000;

/// Bytes of fetched records that one shard's connections may hold until they are written. Who comes late gets less, never nothing.
pub const RESPONSE_BYTES_PER_SHARD_MAX: usize = 256 << 20;

/// What a fetch may hold however little is left.
pub const RESPONSE_BYTES_MIN: usize = 64 << 10;

/// Bytes of responses that are gathered for one write.
pub const RESPONSE_BYTES_PER_WRITE: usize = 256 << 10;

/// Partitions that are opened at once at a start or after a creation: enough to keep the device busy, few enough for memory.
pub const PARTITIONS_OPENING_MAX: usize = 64;

/// Partitions in one answer to DescribeTopicPartitions, as many as Kafka's default allows.
pub const DESCRIBED_PARTITIONS_MAX: usize = 2_000;

/// Logs under maintenance (zeros, rolls, retention) at once in a shard.
pub const LOGS_IN_MAINTENANCE_MAX: usize = 8;

/// Longest that a fetch may wait, whatever it asks for, ms: a parked fetch holds memory.
pub const FETCH_WAIT_MS_MAX: u64 = 300_000;

/// Longest that a fetch may wait while three quarters of the memory for small requests are taken, ms: others wait for its place.
pub const FETCH_WAIT_CROWDED_MS_MAX: u64 = 1_000;

/// How long a turn that could begin waits for producers that were answered just now, us.
pub const GATHER_US_MAX: u64 = 1_000;

/// How often waiting produces are looked over for time-outs, ms. Only while any waits.
pub const PRODUCE_TIMEOUT_SWEEP_MS: u64 = 20;

/// Pause before another change of in-sync replicas is proposed after one failed, ms: metadata that explains it is on its way.
pub const ISR_PROPOSAL_RETRY_MS: u64 = 100;

/// Size of a shard's epoch journal: room for some 100,000 changes before it is written anew.
pub const EPOCH_JOURNAL_BYTES: u64 = 4 << 20;

/// How often a shard's housekeeping looks at its clock, ms.
pub const HOUSEKEEPING_MS: u64 = 2_000;

/// How long directories that the metadata does not know are kept, ms: a day to notice a mistake.
pub const STRAY_KEPT_MS: i64 = 24 * 3600 * 1000;

/// Bytes of logs that a shard keeps in memory after it read them from disk.
pub const READ_CACHE_BYTES_PER_SHARD: usize = 64 << 20;

/// Reads ahead of consumers that are under way at once in a shard, of at most 2 MiB each: a quarter of the cache.
pub const READS_AHEAD_MAX: usize = 8;

/// Bytes of the newest records that a shard's logs keep in memory together after they were flushed; one alone at most 4 MiB.
pub const TAIL_BYTES_PER_SHARD_MAX: usize = 64 << 20;

/// Bytes of produce requests that one shard's connections may hold together.
pub const PRODUCE_BYTES_PER_SHARD_MAX: usize = 128 << 20;

/// What a produce takes of these bytes at least: each waits with a place in line, and with a call if another shard has its partition.
pub const PRODUCE_BYTES_MIN: usize = 4 << 10;

/// Bytes of other requests above [`REQUEST_BYTES_READ_AHEAD_MAX`] that one shard's connections may hold together, and that one of
/// them may have.
pub const CONTROL_BYTES_PER_SHARD_MAX: usize = 16 << 20;

/// Bytes of small requests other than produces that one shard's connections may hold together: room for a parked fetch of each,
/// and as much again.
pub const SMALL_BYTES_PER_SHARD_MAX: usize = 32 << 20;

/// What a small request takes of these bytes at least.
pub const SMALL_BYTES_MIN: usize = 1 << 10;

/// Connections that one shard serves at once: each has buffers of its own, of [`REQUEST_BYTES_READ_AHEAD_MAX`] and some more.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 16 << 10;

/// How long a stop waits for connections to be answered, ms.
pub const DRAIN_MS_MAX: u64 = 5_000;

/// How often a stop looks whether they are, ms.
pub const DRAIN_POLL_MS: u64 = 5;

/// How long a stopped shard stays for its last answer to be taken, ms.
pub const FAREWELL_MS: u64 = 20;

/// First pause after a failed accept, ms; doubled each time.
pub const ACCEPT_BACKOFF_MS_MIN: u64 = 10;

/// Longest pause after a failed accept, ms.
pub const ACCEPT_BACKOFF_MS_MAX: u64 = 1_000;

/// Connections that the kernel keeps until the acceptor takes them.
pub const LISTEN_BACKLOG: i32 = 1024;

/// First pause before a peer is dialed again, ms; doubled each time.
pub const PEER_BACKOFF_MS_MIN: u64 = 50;

/// Longest pause before a peer is dialed again, ms.
pub const PEER_BACKOFF_MS_MAX: u64 = 1_000;

/// A question or an answer while a cluster is founded at most, bytes: some hundreds of voters.
pub const FOUNDING_FRAME_BYTES_MAX: usize = 64 << 10;

/// Connections of peers at once: each has some for metadata, and one for each of its shards and ours.
pub const PEER_CONNECTIONS_MAX: usize = 65_536;

/// Pause before a metadata request is made again that found no controller, ms.
pub const METADATA_RETRY_MS: u64 = 50;

/// How long a broker that stops waits for others to lead what it leads, ms.
pub const LEAVE_MS_MAX: u64 = 5_000;

/// How long a client's request waits for a controller at most, whatever it asks for, ms.
pub const METADATA_WAIT_MS_MAX: u64 = 60_000;

/// How long one waits that says nothing, ms: some elections.
pub const METADATA_WAIT_MS: u64 = 5_000;

/// A metadata request between brokers, or its answer, at most, bytes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 8 << 20;

/// Metadata requests that one broker may have in flight to another.
pub const CONTROL_CALLS_MAX: usize = 1024;

/// How long a metadata request may take between brokers, and how long its asker then waits to know the change itself, ms.
pub const CONTROL_WAIT_MS_MAX: u64 = 10_000;

/// A frame of the metadata group at most, bytes: the largest command, alone in its message.
pub const RAFT_FRAME_BYTES_MAX: usize = 8 << 20;

/// Messages of the metadata group that wait for one peer's stream; above it they are dropped, and raft is told.
pub const RAFT_QUEUE_MESSAGES_MAX: usize = 4096;

/// Bytes of entries in them. One message may be larger, but is then alone.
pub const RAFT_QUEUE_BYTES_MAX: usize = 32 << 20;

/// How long two brokers may take to connect and say hello, ms: who takes longer is dialed again.
pub const PEER_HELLO_MS_MAX: u64 = 2_000;

/// First pause before a leader is dialed again, ms; doubled each time.
pub const REPLICA_BACKOFF_MS_MIN: u64 = 50;

/// Longest pause before a leader is dialed again, ms.
pub const REPLICA_BACKOFF_MS_MAX: u64 = 1_000;

/// Pause before a partition is opened again that its leader was not ready for, ms.
pub const REPLICA_REOPEN_MS: u64 = 100;

/// How long followers may wait for a moved high watermark that no data takes along, ms.
pub const REPLICA_QUIET_MS: u64 = 5;

/// Bytes of a frame to followers, but for the last batch in it.
pub const REPLICA_FRAME_BYTES: usize = 512 << 10;

/// Bytes of one partition in a frame, but for the last batch of them: the others have their turn.
pub const REPLICA_READ_BYTES: usize = 256 << 10;

/// Bytes that may be on their way to a follower's shard and not flushed there, but for the last batch: what it may hold in memory.
pub const REPLICA_STREAM_WINDOW_BYTES: usize = 16 << 20;

/// The same of one partition.
pub const REPLICA_PARTITION_WINDOW_BYTES: usize = 8 << 20;

/// Answers to openings that wait to be sent: who opens more waits with the next.
pub const REPLICA_ANSWERS_MAX: usize = 4096;

/// Bytes of a frame from followers: room for a million partitions of one shard.
pub const FOLLOWER_FRAME_BYTES_MAX: usize = 64 << 20;

/// How long the controller may take over a change of in-sync replicas before nobody knows what became of it, ms.
pub const ISR_ANSWER_MS_MAX: u64 = 3_000;

/// How often leaders look whether followers lag, ms. Only while any does.
pub const ISR_LOOK_MS: u64 = 500;

/// Longest pause before a log that is busy is asked again whether it can be cut, ms.
pub const CUT_RETRY_MS_MAX: u64 = 100;

/// Pause before a small file that must be written is tried again when there is no space, ms.
pub const NO_SPACE_RETRY_MS: u64 = 1_000;
