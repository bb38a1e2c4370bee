//! Receiving with librdkafka: partitions by assignment, from offsets that the caller names.
//!
//! Invariants: no group, no commits; a reader is done when every partition of its has reached its end.
//! Why: with groups the figures would be those of a rebalance.

use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::{complain, consumer_config, with_properties};
use crate::options::{Mode, Options};
use crate::topic::Topic;

/// A consumer.
pub struct Reader {
    consumer: BaseConsumer<Logged>,
    topic: String,
    ends: Vec<Option<i64>>,
}

/// What a poll brought.
pub enum Reading<'a> {
    /// A record.
    Record(BorrowedMessage<'a>),
    /// Nothing within the time.
    Nothing,
    /// Every partition has been read to its end.
    Finished,
    /// Something went wrong; librdkafka goes on trying.
    Trouble(KafkaError),
}

struct Logged;

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if (level as i32) <= RDKafkaLogLevel::Error as i32 {
            complain(&format!("{facility}: {message}"));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // That a partition is read to its end is news to the reader, not trouble.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        complain(&format!("{error}: {reason}"));
    }
}

impl ConsumerContext for Logged {}

impl Reader {
    /// Makes a consumer that has no partitions yet.
    pub fn connect(options: &Options, topic: &Topic) -> Result<Self> {
        let mut config = consumer_config(options);
        if options.mode == Mode::Consume {
            config = with_properties(config, options);
        }
        let consumer = config.create_with_context(Logged).context("cannot make a librdkafka consumer")?;
        Ok(Self { consumer, topic: topic.name.clone(), ends: vec![None; topic.leaders.len()] })
    }

    /// Starts to read these partitions: (partition, first offset, end offset). An end of `i64::MAX` is never reached.
    pub fn assign(&mut self, partitions: &[(u32, i64, i64)]) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (partition, start_offset, end_offset) in partitions {
            if start_offset < end_offset {
                list.add_partition_offset(&self.topic, *partition as i32, Offset::Offset(*start_offset))?;
                self.ends[*partition as usize] = Some(*end_offset);
            }
        }
        self.consumer.assign(&list).context("cannot assign partitions")
    }

    /// The next record, waiting up to `timeout`.
    pub fn read(&mut self, timeout: Duration) -> Reading<'_> {
        if self.unfinished() == 0 {
            return Reading::Finished;
        }
        match self.consumer.poll(timeout) {
            None => Reading::Nothing,
            Some(Ok(message)) => {
                let end = &mut self.ends[message.partition() as usize];
                if end.is_some_and(|end_offset| message.offset() + 1 >= end_offset) {
                    *end = None;
                }
                Reading::Record(message)
            }
            // The end that librdkafka reports may lie short of ours only while a partition that is written to is read live.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                let end = &mut self.ends[partition as usize];
                if end.is_some_and(|end_offset| end_offset != i64::MAX) {
                    *end = None;
                }
                Reading::Nothing
            }
            Some(Err(error)) => Reading::Trouble(error),
        }
    }

    /// Partitions that have not been read to their end.
    pub fn unfinished(&self) -> u64 {
        self.ends.iter().flatten().count() as u64
    }
}
