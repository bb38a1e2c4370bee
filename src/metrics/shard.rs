//! What one shard counts.
//!
//! *Which core*: written by its shard alone. *Invariants*: nothing here shares a cache line with another shard's counters.

use std::sync::Arc;
use std::time::Duration;

use super::instrument::{Amount, ByApi, ByError, Counter, Gauge, LatencyMs, SizeBytes};
use super::latest::Latest;
use super::partition::PartitionMetrics;
use super::table::metric_set;

metric_set! {
    /// Counters of one shard. Only its executor writes them.
    #[repr(align(128))]
    pub struct ShardMetrics {
        /// Requests of clients, by API.
        requests: ByApi = "chronik_requests_total";
        /// Errors that clients were told, one for each partition or request that has one, by code.
        errors: ByError = "chronik_errors_total";
        /// Connections closed because of what the client sent: not Kafka's protocol, or beyond a bound.
        requests_malformed: Counter = "chronik_requests_malformed_total";
        /// Bytes received from clients.
        bytes_in: Counter = "chronik_network_in_bytes_total";
        /// Bytes sent to clients.
        bytes_out: Counter = "chronik_network_out_bytes_total";
        /// Records appended for producers.
        produce_records: Counter = "chronik_produce_records_total";
        /// Bytes of record batches appended for producers.
        produce_bytes: Counter = "chronik_produce_bytes_total";
        /// Records sent to consumers, counted by their offsets.
        fetch_records: Counter = "chronik_fetch_records_total";
        /// Bytes of record batches sent to consumers.
        fetch_bytes: Counter = "chronik_fetch_bytes_total";
        /// A produce, from its arrival at the partitions' shard until it is answered there.
        produce: LatencyMs = "chronik_produce_ms";
        /// A produce by stage. queue: from its last byte to the partitions' shard.
        stage_queue: LatencyMs = "chronik_produce_stage_ms{stage=\"queue\"}";
        /// append: checked, given its offsets, copied to the log.
        stage_append: LatencyMs = "chronik_produce_stage_ms{stage=\"append\"}";
        /// acks: from the append until the disk has it, here and wherever its acks want it.
        stage_acks: LatencyMs = "chronik_produce_stage_ms{stage=\"acks\"}";
        /// A turn's writes and its flush.
        flush_turn: LatencyMs = "chronik_flush_turn_ms";
        /// Logs that one turn made durable.
        flush_turn_logs: Amount = "chronik_flush_turn_logs";
        /// Bytes that one turn made durable.
        flush_turn_bytes: SizeBytes = "chronik_flush_turn_bytes";
        /// Turns, by how they were made durable. barrier: by one flush for all logs.
        flush_turns_barrier: Counter = "chronik_flush_turns_total{by=\"barrier\"}";
        /// files: by a flush for each file, since one does not do for all, here or this time.
        flush_turns_files: Counter = "chronik_flush_turns_total{by=\"files\"}";
        /// 1 if one flush makes all logs durable on this file system, 0 if each file needs its own.
        flush_barrier: Gauge = "chronik_flush_barrier";
        /// Bytes of record batches appended for leaders of other brokers.
        replicated_in: Counter = "chronik_replication_in_bytes_total";
        /// Bytes sent to followers of other brokers.
        replicated_out: Counter = "chronik_replication_out_bytes_total";
        /// Connections open.
        connections_open: Gauge = "chronik_connections_open";
        /// Connections closed because nothing came for too long.
        connections_idle_closed: Counter = "chronik_connections_idle_closed_total";
        /// Memory that requests hold, bytes, of what they may hold at most.
        request_memory: Gauge = "chronik_memory_used_bytes{budget=\"requests\"}";
        /// Memory that blocks of logs hold that were read from the disk.
        cache_memory: Gauge = "chronik_memory_used_bytes{budget=\"read_cache\"}";
        /// Memory that requests may hold at most, bytes.
        request_memory_max: Gauge = "chronik_memory_limit_bytes{budget=\"requests\"}";
        /// Memory that blocks of logs may hold at most.
        cache_memory_max: Gauge = "chronik_memory_limit_bytes{budget=\"read_cache\"}";
        /// Partitions open.
        partitions_open: Gauge = "chronik_partitions_open";
        /// Logs that failed and stay offline until the broker is started again.
        logs_offline: Gauge = "chronik_logs_offline";
        /// Logs recovered since the start.
        logs_recovered: Counter = "chronik_recovery_logs_total";
        /// Bytes that recovery had to look through.
        recovery_scanned_bytes: Counter = "chronik_recovery_scanned_bytes_total";
        /// Logs whose end was torn, and was cut.
        recovery_torn_tails: Counter = "chronik_recovery_torn_tails_total";
    }
    also {
        /// The partitions of this shard, whenever they have changed. Publish at a pace, not with each of thousands.
        partitions: Latest<Vec<Arc<PartitionMetrics>>>;
    }
}

impl ShardMetrics {
    /// A request of an API.
    pub fn requests(&self, key: i16) {
        self.requests.add(key);
    }

    /// An error told to a client; 0 does not count.
    pub fn error(&self, code: i16) {
        self.errors.add(code);
    }

    /// A connection that is closed for what it sent.
    pub fn connection_refused_request(&self) {
        self.requests_malformed.add(1);
    }

    /// Bytes from a client.
    pub fn bytes_in(&self, bytes: usize) {
        self.bytes_in.add(bytes as u64);
    }

    /// Bytes to a client.
    pub fn bytes_out(&self, bytes: usize) {
        self.bytes_out.add(bytes as u64);
    }

    /// A batch was appended for a producer.
    pub fn produced(&self, records: usize, bytes: usize) {
        self.produce_records.add(records as u64);
        self.produce_bytes.add(bytes as u64);
    }

    /// Batches were read for a consumer.
    pub fn fetched(&self, records: u64, bytes: usize) {
        self.fetch_records.add(records);
        self.fetch_bytes.add(bytes as u64);
    }

    /// A produce waited so long for its turn on the partitions' shard.
    pub fn stage_queue(&self, time: Duration) {
        self.stage_queue.observe(time);
    }

    /// An append took so long.
    pub fn stage_append(&self, time: Duration) {
        self.stage_append.observe(time);
    }

    /// What was appended met its acks so much later.
    pub fn stage_acks(&self, time: Duration) {
        self.stage_acks.observe(time);
    }

    /// A produce took so long in all.
    pub fn stage_total(&self, time: Duration) {
        self.produce.observe(time);
    }

    /// A turn made `bytes` of `logs` durable; `by_barrier`: by one flush for all.
    pub fn turn(&self, time: Duration, logs: usize, bytes: u64, by_barrier: bool) {
        self.flush_turn.observe(time);
        self.flush_turn_logs.observe(logs as u64);
        self.flush_turn_bytes.observe(bytes);
        let turns = if by_barrier { &self.flush_turns_barrier } else { &self.flush_turns_files };
        turns.add(1);
    }

    /// Batches of a leader elsewhere were appended.
    pub fn replicated_in(&self, bytes: usize) {
        self.replicated_in.add(bytes as u64);
    }

    /// A frame was sent to followers elsewhere.
    pub fn replicated_out(&self, bytes: usize) {
        self.replicated_out.add(bytes as u64);
    }

    /// Whether one flush does for all logs here.
    pub fn set_barrier(&self, holds: bool) {
        self.flush_barrier.set(holds.into());
    }

    /// A connection came.
    pub fn connection_opened(&self) {
        self.connections_open.add(1);
    }

    /// A connection ended.
    pub fn connection_closed(&self) {
        self.connections_open.add(-1);
    }

    /// Connections were ended because nothing came for too long.
    pub fn connections_idle_ended(&self, count: usize) {
        self.connections_idle_closed.add(count as u64);
    }

    /// A log failed.
    pub fn log_offline(&self) {
        self.logs_offline.add(1);
    }

    /// A log was opened; `cut`: its end was torn.
    pub fn recovered(&self, scanned_bytes: u64, cut: bool) {
        self.logs_recovered.add(1);
        self.recovery_scanned_bytes.add(scanned_bytes);
        self.recovery_torn_tails.add(cut.into());
    }

    /// So many partitions are open now.
    pub fn set_partitions_open(&self, count: usize) {
        self.partitions_open.set_size(count);
    }

    /// Memory that requests hold now, and may hold at most.
    pub fn set_request_memory(&self, bytes: usize, bytes_max: usize) {
        self.request_memory.set_size(bytes);
        self.request_memory_max.set_size(bytes_max);
    }

    /// Memory that the read cache holds now, and may hold at most.
    pub fn set_cache_memory(&self, bytes: usize, bytes_max: usize) {
        self.cache_memory.set_size(bytes);
        self.cache_memory_max.set_size(bytes_max);
    }
}
