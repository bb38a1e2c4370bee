//! A consumer that never stops: what a pump produces, read while faults happen.
//!
//! Invariants: each partition is read from its first record, without a gap, and record n stands at offset n.
//! Not here: the faults. A broker that cannot be reached is none to a consumer: it goes on with the next leader.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Message, Offset, TopicPartitionList};

use super::eventually;
use super::load::{LIMIT, config};

/// The running consumer.
pub struct Reader {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

struct Seen {
    /// The offset that comes next in each partition.
    next: Vec<AtomicI64>,
    /// The first thing that went wrong.
    fault: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Reader {
    /// Starts reading a topic from its first records.
    pub fn start(bootstrap: &str, topic: &str, partitions: usize) -> Self {
        let next = (0..partitions).map(|_| AtomicI64::new(0)).collect();
        let seen = Arc::new(Seen { next, fault: Mutex::default(), stop: AtomicBool::new(false) });
        let consumer = consumer(bootstrap, topic, partitions);
        let thread = {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || {
                while !seen.stop.load(Ordering::SeqCst) {
                    if let Err(fault) = seen.take_next(&consumer) {
                        *seen.fault.lock().expect("no holder panics") = Some(fault);
                        return;
                    }
                }
            })
        };
        Self { seen, thread: Some(thread) }
    }

    /// Waits until everything below these offsets, one for each partition, was read.
    pub fn await_all(&self, ends: &[i64]) {
        eventually(LIMIT * 2, "the consumer reads everything", || {
            assert_eq!(*self.seen.fault.lock().expect("no holder panics"), None);
            let is_read = |(next, end): (&AtomicI64, &i64)| next.load(Ordering::SeqCst) >= *end;
            self.seen.next.iter().zip(ends).all(is_read).then_some(())
        });
    }
}

impl Seen {
    fn take_next(&self, consumer: &BaseConsumer) -> Result<(), String> {
        let message = match consumer.poll(Duration::from_millis(100)) {
            None => return Ok(()),
            Some(Err(error)) if is_passing(&error) => return Ok(()),
            Some(Err(error)) => return Err(error.to_string()),
            Some(Ok(message)) => message,
        };
        let partition = usize::try_from(message.partition()).expect("not negative");
        let (offset, next) = (message.offset(), self.next[partition].load(Ordering::SeqCst));
        let number = message.payload().and_then(|value| value.first_chunk()).map(|bytes| i64::from_be_bytes(*bytes));
        if offset != next || number != Some(offset) {
            return Err(format!("partition {partition}: record {number:?} read at offset {offset}, after {next}"));
        }
        self.next[partition].store(next + 1, Ordering::SeqCst);
        Ok(())
    }
}

fn consumer(bootstrap: &str, topic: &str, partitions: usize) -> BaseConsumer {
    let mut config = config(bootstrap);
    config.set("group.id", "unused").set("enable.auto.commit", "false");
    config.set("check.crcs", "true").set("auto.offset.reset", "error");
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
    let consumer: BaseConsumer = config.create().expect("the settings are valid");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).expect("few") {
        assignment.add_partition_offset(topic, partition, Offset::Offset(0)).expect("an offset that is not negative");
    }
    consumer.assign(&assignment).expect("an assignment");
    consumer
}

/// Whether a consumer goes on by itself.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure, OperationTimedOut, Resolve};
    let code = error.rdkafka_error_code();
    matches!(code, Some(AllBrokersDown | BrokerTransportFailure | OperationTimedOut | Resolve))
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // What it found is told by `await_all`.
            let _ended = thread.join();
        }
    }
}
