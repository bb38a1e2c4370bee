//! Producers: idempotent ones with acks=-1 that have several requests in flight and repeat them after every trouble, and
//! plain ones with acks=1 that repeat nothing.
//!
//! *Not here*: who leads (`client`).

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use storage::batch::{BatchBuilder, NewRecord};
use storage::ids::ProducerId;

use crate::client::{Batches, Client, topic_name};

/// Kafka's own bound for idempotent producers.
const IN_FLIGHT_MAX: usize = 5;
const PRODUCE_VERSION: i16 = 8;
const OUT_OF_ORDER_SEQUENCE: i16 = 45;
const UNKNOWN_PRODUCER_ID: i16 = 59;
/// A batch of one such value is a block of the disk, neither more nor less.
const BLOCK_VALUE_BYTES: usize = 4096 - 61 - 9;

struct Batch {
    values: Vec<Vec<u8>>,
    base_sequence: i32,
}

/// How large batches are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// Some small, some large.
    Mixed,
    /// All as large as a block: one that should be gone from the disk fits exactly where another comes next.
    Blocks,
}

/// A producer and what it still has to say.
pub struct Producer {
    client: Client,
    is_idempotent: bool,
    partition: i32,
    timestamp_ms: i64,
    producer: Option<(i64, i16)>,
    /// Not acknowledged, the oldest first; of them the first `sent` are on this connection.
    pending: VecDeque<Batch>,
    sent: usize,
    batches_made: u64,
    /// Batches that are made in all, once it is known.
    batches_max: Option<u64>,
    next_number: i32,
}

/// Has its values stored, whatever happens.
pub async fn run(client: Client, is_idempotent: bool) {
    let partition = (client.number % client.crew.partitions as usize) as i32;
    // A day ago: whatever the clock does, records are neither of the future nor too old.
    let timestamp_ms = client.rt.wall_ms() - 86_400_000;
    let mut producer = Producer {
        client,
        is_idempotent,
        partition,
        timestamp_ms,
        producer: None,
        pending: VecDeque::new(),
        sent: 0,
        batches_made: 0,
        batches_max: None,
        next_number: 0,
    };
    while let Err(error) = producer.connect_and_produce().await {
        producer.client.log(format_args!("{error:#}"));
        producer.sent = 0;
        if !is_idempotent {
            producer.pending.clear();
        }
        producer.client.on_lost(partition);
        producer.client.pause(200).await;
    }
    producer.client.log(format_args!("is done"));
    producer.client.history.on_producer_done();
}

impl Producer {
    async fn connect_and_produce(&mut self) -> Result<()> {
        let mut wire = self.client.connect(self.partition).await?;
        if self.client.is_alone_with_a_broker() {
            self.client.create_topic(&mut wire).await?;
        }
        if self.is_idempotent && self.producer.is_none() {
            let request =
                InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
            let answer = wire.ask(&request, 1).await?;
            ensure!(answer.error_code == 0, "InitProducerId: error {}", answer.error_code);
            self.producer = Some((answer.producer_id.0, answer.producer_epoch));
            self.client.log(format_args!("is producer {}", answer.producer_id.0));
        }
        loop {
            // Of a producer that it does not know a broker takes any sequence as the first (as Kafka does): that must be ours, and
            // not the second batch, if leadership comes between the two.
            let is_known = self.pending.front().is_none_or(|oldest| oldest.base_sequence > 0) && self.batches_made > 0;
            let in_flight_max = 1 + self.client.rt.random_u64() as usize % if is_known { IN_FLIGHT_MAX } else { 1 };
            while self.sent < in_flight_max && (self.sent < self.pending.len() || self.makes_more()) {
                if self.sent == self.pending.len() {
                    self.make_batch();
                }
                wire.send(&self.request(&self.pending[self.sent]), PRODUCE_VERSION).await?;
                self.sent += 1;
            }
            if self.sent == 0 {
                return Ok(());
            }
            // With all answered the next ones leave together, and into one write.
            let answers = if self.client.rt.random_u64().is_multiple_of(2) { 1 } else { self.sent };
            for _ in 0..answers {
                let answer = wire.receive::<ProduceRequest>(PRODUCE_VERSION).await?;
                let Some(answer) = answer.responses.first().and_then(|topic| topic.partition_responses.first()) else {
                    bail!("an answer without a partition")
                };
                self.on_answer(answer.error_code, answer.base_offset)?;
            }
            self.client.pause(self.client.crew.pause_ms_max).await;
        }
    }

    fn makes_more(&mut self) -> bool {
        let is_calm = self.client.history.is_calm();
        match self.client.crew.batches {
            Batches::Exactly(count) => self.batches_made < count,
            Batches::UntilCalmAnd(_) if !is_calm => true,
            Batches::UntilCalmAnd(count) => {
                let made = self.batches_made;
                made < *self.batches_max.get_or_insert(made + count)
            }
        }
    }

    fn on_answer(&mut self, error_code: i16, base_offset: i64) -> Result<()> {
        let first = self.pending.front().map_or(0, |batch| batch.base_sequence);
        if self.is_idempotent && [OUT_OF_ORDER_SEQUENCE, UNKNOWN_PRODUCER_ID].contains(&error_code) {
            // It is the oldest: all before it was acknowledged.
            let told = format!("{}-{first}: all before it is acknowledged, error {error_code}", self.client.name());
            self.client.history.note(Err(anyhow::anyhow!(told)));
        }
        ensure!(error_code == 0, "error {error_code} at {first}");
        let Some(batch) = self.pending.pop_front() else { bail!("an answer to nothing") };
        self.sent -= 1;
        self.client.log(format_args!("{first} and {} more at offset {base_offset}", batch.values.len() - 1));
        if self.is_idempotent || self.client.crew.keeps_acks_of_one {
            self.client.history.on_acknowledged(self.partition, base_offset, &batch.values);
        }
        Ok(())
    }

    fn make_batch(&mut self) {
        let rt = &self.client.rt;
        let base_sequence = self.next_number;
        let mut values = Vec::new();
        let count = match self.client.sizes {
            Sizes::Mixed => 1 + rt.random_u64() % 4,
            Sizes::Blocks => 1,
        };
        for _ in 0..count {
            let kind = if self.is_idempotent { 'i' } else { 'p' };
            let mut value = format!("{kind}{}-{} ", self.client.number, self.next_number).into_bytes();
            let value_bytes = match self.client.sizes {
                Sizes::Mixed => {
                    let filling_max = if rt.random_u64().is_multiple_of(8) { 40_000 } else { 300 };
                    value.len() + rt.random_u64() as usize % filling_max
                }
                Sizes::Blocks => BLOCK_VALUE_BYTES,
            };
            value.resize(value_bytes, b'.');
            values.push(value);
            self.next_number += 1;
        }
        self.batches_made += 1;
        self.pending.push_back(Batch { values, base_sequence });
    }

    fn request(&self, batch: &Batch) -> ProduceRequest {
        let mut builder = BatchBuilder::new(self.timestamp_ms);
        if let Some((id, epoch)) = self.producer {
            builder = builder.producer(ProducerId(id), epoch, batch.base_sequence);
        }
        let builder = batch.values.iter().fold(builder, |builder, value| builder.with(NewRecord::value(value)));
        let data =
            PartitionProduceData::default().with_index(self.partition).with_records(Some(builder.build().into()));
        let topic = TopicProduceData::default().with_name(topic_name()).with_partition_data(vec![data]);
        let acks = if self.is_idempotent { -1 } else { 1 };
        ProduceRequest::default().with_acks(acks).with_timeout_ms(2_000).with_topic_data(vec![topic])
    }
}

/// Waits up to `ms_max`.
pub fn random_ms(random: u64, ms_max: u64) -> Duration {
    Duration::from_millis(random % ms_max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_of_one_block_value_is_a_block() {
        let batch =
            BatchBuilder::new(0).producer(ProducerId(7), 0, 99).with(NewRecord::value(&[b'.'; BLOCK_VALUE_BYTES]));
        assert_eq!(batch.build().len(), 4096);
    }
}
