//! A producer that never stops: idempotent, acks=-1, one sequence of numbers for each partition, through any fault.
//!
//! Invariants: record n of a partition carries the number n, so a log without loss, duplicate or reordering holds n at offset n.
//! Not here: the faults.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rand::{Rng, SeedableRng, rngs::SmallRng};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;

use super::eventually;
use super::load::{LIMIT, config, offsets, read};

/// Records that may be unacknowledged, for each partition.
const AHEAD_MAX: i64 = 5000;

/// What is known of each partition.
struct Ledger {
    /// The number that the next record carries.
    sent: Vec<AtomicI64>,
    /// Every number below was acknowledged.
    acknowledged: Vec<AtomicI64>,
    /// The first thing that went wrong.
    fault: Mutex<Option<String>>,
    /// Goes with `fault`: something was acknowledged, or went wrong.
    news: Condvar,
    stop: AtomicBool,
}

/// The producer's side of the ledger.
struct Context(Arc<Ledger>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let number = i64::try_from(number).expect("a number that was counted");
        match result {
            Ok(message) => {
                let partition = usize::try_from(message.partition()).expect("not negative");
                let before = self.0.acknowledged[partition].swap(number + 1, Ordering::SeqCst);
                if before != number || message.offset() != number {
                    let offset = message.offset();
                    self.0.note(format!(
                        "partition {partition}: record {number} acknowledged at offset {offset}, after {before}"
                    ));
                }
                self.0.news.notify_all();
            }
            Err((error, message)) => {
                self.0.note(format!("partition {}: record {number}: {error}", message.partition()))
            }
        }
    }
}

impl Ledger {
    fn note(&self, fault: String) {
        self.fault.lock().expect("no holder panics").get_or_insert(fault);
    }
}

/// The running producer.
pub struct Pump {
    bootstrap: String,
    topic: String,
    ledger: Arc<Ledger>,
    thread: Option<JoinHandle<()>>,
    /// How much of each partition has been read back.
    audited: Vec<i64>,
}

impl Pump {
    /// Starts producing to an existing, empty topic.
    pub fn start(bootstrap: &str, topic: &str, partitions: usize, seed: u64) -> Self {
        Self::start_with(bootstrap, topic, &vec![0; partitions], seed, &[])
    }

    /// Starts producing where another pump ended: at these offsets, one for each partition.
    pub fn go_on(bootstrap: &str, topic: &str, ends: &[i64], seed: u64) -> Self {
        Self::start_with(bootstrap, topic, ends, seed, &[])
    }

    /// As [`Self::go_on`], with more settings of the client.
    pub fn start_with(bootstrap: &str, topic: &str, ends: &[i64], seed: u64, settings: &[(&str, &str)]) -> Self {
        let counters = || ends.iter().copied().map(AtomicI64::new).collect();
        let ledger = Arc::new(Ledger {
            sent: counters(),
            acknowledged: counters(),
            fault: Mutex::default(),
            news: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let thread = {
            let (config, topic, ledger) = (client(bootstrap, settings), topic.to_owned(), Arc::clone(&ledger));
            std::thread::spawn(move || produce(&config, &topic, &ledger, seed))
        };
        let (bootstrap, topic) = (bootstrap.to_owned(), topic.to_owned());
        Self { bootstrap, topic, ledger, thread: Some(thread), audited: ends.to_vec() }
    }

    /// How many records were acknowledged, over all partitions.
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged_each().iter().sum()
    }

    /// How many records of each partition were acknowledged.
    pub fn acknowledged_each(&self) -> Vec<i64> {
        self.ledger.acknowledged.iter().map(|counter| counter.load(Ordering::SeqCst)).collect()
    }

    /// Waits until so many more are acknowledged.
    pub fn advance(&self, records: i64) {
        let goal = self.acknowledged() + records;
        eventually(LIMIT * 2, "the producer goes on", || {
            self.assert_sound();
            (self.acknowledged() >= goal).then_some(())
        });
    }

    /// Waits until so many more of each partition are acknowledged.
    pub fn advance_each(&self, records: i64) {
        let goals: Vec<i64> = self.acknowledged_each().iter().map(|count| count + records).collect();
        eventually(LIMIT * 2, "the producer goes on in every partition", || {
            self.assert_sound();
            self.acknowledged_each().iter().zip(&goals).all(|(count, goal)| count >= goal).then_some(())
        });
    }

    /// Waits until something is acknowledged, but not for ever. It may have been a moment ago.
    pub fn wait_for_news(&self, limit: Duration) {
        let fault = self.ledger.fault.lock().expect("no holder panics");
        drop(self.ledger.news.wait_timeout(fault, limit).expect("no holder panics"));
    }

    /// Nothing was refused, repeated or acknowledged in another place.
    pub fn assert_sound(&self) {
        let fault = self.ledger.fault.lock().expect("no holder panics").clone();
        assert_eq!(fault, None);
    }

    /// Reads what was acknowledged since the last audit: record n at offset n.
    pub fn audit(&mut self) {
        self.assert_sound();
        for partition in 0..self.audited.len() {
            let end_offset = self.ledger.acknowledged[partition].load(Ordering::SeqCst);
            self.audit_up_to(partition, end_offset);
        }
    }

    /// Stops, waits until all is acknowledged, and reads everything from the first record on. Returns how many there are in
    /// each partition.
    pub fn finish(mut self) -> Vec<i64> {
        self.ledger.stop.store(true, Ordering::SeqCst);
        self.thread.take().expect("it runs").join().expect("the producer flushed");
        self.assert_sound();
        for partition in 0..self.audited.len() {
            let sent = self.ledger.sent[partition].load(Ordering::SeqCst);
            assert_eq!(self.ledger.acknowledged[partition].load(Ordering::SeqCst), sent);
            self.audited[partition] = 0;
            // One that led before and has not heard of its successor yet answers with less for a moment.
            let index = i32::try_from(partition).expect("few");
            eventually(LIMIT, "a partition begins at 0 and ends where the last record was acknowledged", || {
                (offsets(&self.bootstrap, &self.topic, index) == (0, sent)).then_some(())
            });
            self.audit_up_to(partition, sent);
        }
        self.acknowledged_each()
    }

    fn audit_up_to(&mut self, partition: usize, end_offset: i64) {
        let from = std::mem::replace(&mut self.audited[partition], end_offset);
        audit(&self.bootstrap, &self.topic, i32::try_from(partition).expect("few"), from, end_offset);
    }
}

/// Reads `[from, end_offset)` of a partition that a pump filled: record n at offset n.
pub fn audit(bootstrap: &str, topic: &str, partition: i32, from: i64, end_offset: i64) {
    for (number, record) in (from..).zip(read(bootstrap, topic, partition, from, end_offset)) {
        let value = record.value.expect("every record has a value");
        assert_eq!(value[..8], number.to_be_bytes(), "partition {partition}, offset {number}");
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.ledger.stop.store(true, Ordering::SeqCst);
    }
}

fn client(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = config(bootstrap);
    config.set("enable.idempotence", "true").set("acks", "-1").set("linger.ms", "2");
    config.set("message.timeout.ms", "300000").set("request.timeout.ms", "10000");
    config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "200");
    config.set("retry.backoff.ms", "20").set("retry.backoff.max.ms", "200");
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config
}

fn produce(config: &ClientConfig, topic: &str, ledger: &Arc<Ledger>, seed: u64) {
    let producer: ThreadedProducer<Context> =
        config.create_with_context(Context(Arc::clone(ledger))).expect("the settings are valid");
    let mut random = SmallRng::seed_from_u64(seed);
    let filling = vec![b'.'; 3000];
    while !ledger.stop.load(Ordering::SeqCst) {
        for (partition, next) in ledger.sent.iter().enumerate() {
            let number = next.load(Ordering::SeqCst);
            if number - ledger.acknowledged[partition].load(Ordering::SeqCst) >= AHEAD_MAX {
                continue;
            }
            let bytes = if random.random_ratio(1, 50) { 3000 } else { random.random_range(0..300) };
            let value = [&number.to_be_bytes()[..], &filling[..bytes]].concat();
            let opaque = usize::try_from(number).expect("not negative");
            let mut record: BaseRecord<'_, [u8], [u8], usize> =
                BaseRecord::with_opaque_to(topic, opaque).payload(&value);
            record.partition = Some(i32::try_from(partition).expect("few"));
            match producer.send(record) {
                Ok(()) => next.store(number + 1, Ordering::SeqCst),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {}
                Err((error, _)) => return ledger.note(format!("cannot be sent: {error}")),
            }
        }
        // Bursts of many sizes, so that a fault finds small batches and large ones.
        if random.random_ratio(1, 10) {
            std::thread::sleep(Duration::from_millis(random.random_range(0..8)));
        }
    }
    if let Err(error) = producer.flush(LIMIT * 2) {
        ledger.note(format!("not flushed: {error}"));
    }
}
