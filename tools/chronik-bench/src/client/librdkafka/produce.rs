//! Sending with librdkafka.
//!
//! Invariants: one producer is one lane; records go round-robin over the partitions, numbered in each.
//!   In a closed loop the acknowledgement itself sends the next record, on the thread that took it.
//!   In an open loop one thread keeps the schedule and another takes the answers, so that neither delays the other.
//! Why: a hop to another thread for each answer would be charged to the broker.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use anyhow::{Context, Result};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::{complain, error_name, producer_config};
use crate::audit::Ledger;
use crate::client::{Finished, Plan};
use crate::clock::{nanoseconds, now_ns};
use crate::figures::{Counts, SharedRecorder};
use crate::load::{Load, Step, Window};
use crate::payload::Identity;
use crate::sys;

/// How long librdkafka may hold this thread before it looks up.
const POLL: Duration = Duration::from_millis(20);
/// Answers are awaited this long beyond the record's own time-out.
const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// Pause before a full queue is tried again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_micros(200);

/// A record on its way.
pub struct Sent {
    due_ns: u64,
    sequence: u64,
    partition: u32,
    bytes: u32,
}

/// One producer, connected.
pub struct Producer {
    producer: Arc<BaseProducer<Answers>>,
    plan: Arc<Plan>,
    lane: u32,
}

/// Takes the answers.
pub struct Answers {
    job: OnceLock<Job>,
}

/// A run of one producer.
struct Job {
    producer: Weak<BaseProducer<Answers>>,
    plan: Arc<Plan>,
    lane: u32,
    closed: bool,
    recorder: SharedRecorder,
    outstanding: AtomicU64,
    sending: Mutex<Sending>,
    ledger: Mutex<Ledger>,
}

struct Sending {
    load: Load,
    stopped_ns: Option<u64>,
    next_partition: u32,
    sequences: Vec<u64>,
    value: Vec<u8>,
}

impl Producer {
    /// Makes a producer and lets it find the topic.
    pub fn connect(plan: &Arc<Plan>, thread: u32) -> Result<Self> {
        let producer: BaseProducer<Answers> = producer_config(&plan.options)
            .create_with_context(Answers { job: OnceLock::new() })
            .context("cannot make a librdkafka producer")?;
        producer
            .client()
            .fetch_metadata(Some(&plan.topic.name), Duration::from_secs(10))
            .context("librdkafka cannot reach the brokers")?;
        Ok(Self { producer: Arc::new(producer), plan: plan.clone(), lane: thread })
    }

    /// See [`crate::client::Sender::run`].
    pub fn run(self, load: Load, window: Window, recorder: &SharedRecorder) -> Finished {
        let closed = matches!(load, Load::Closed(_));
        let sending = Sending {
            load,
            stopped_ns: None,
            next_partition: self.lane % self.plan.topic.partitions(),
            sequences: vec![0; self.plan.topic.partitions() as usize],
            value: Vec::new(),
        };
        let job = self.producer.context().job.get_or_init(|| Job {
            producer: Arc::downgrade(&self.producer),
            plan: self.plan.clone(),
            lane: self.lane,
            closed,
            recorder: recorder.clone(),
            outstanding: AtomicU64::new(0),
            sending: Mutex::new(sending),
            ledger: Mutex::default(),
        });
        if closed {
            self.run_closed(job);
        } else {
            self.run_open(job, window);
        }
        let unanswered = job.outstanding.load(Ordering::Acquire);
        if unanswered > 0 {
            recorder.lock().on_failure("NotAnswered", unanswered);
        }
        let stopped_ns = lock(&job.sending).stopped_ns.unwrap_or_else(now_ns);
        Finished { ledger: std::mem::take(&mut lock(&job.ledger)), stopped_ns }
    }

    fn run_closed(&self, job: &Job) {
        loop {
            job.send_due(&self.producer);
            if lock(&job.sending).stopped_ns.is_some() {
                break;
            }
            self.producer.poll(POLL);
        }
        let deadline_ns = job.drain_deadline_ns();
        while job.outstanding.load(Ordering::Acquire) > 0 && now_ns() < deadline_ns {
            self.producer.poll(Duration::from_millis(1));
        }
    }

    fn run_open(&self, job: &Job, window: Window) {
        let finished = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !finished.load(Ordering::Acquire) {
                    self.producer.poll(POLL);
                }
            });
            sys::wake_on_time();
            job.keep_schedule(&self.producer, window);
            let deadline_ns = job.drain_deadline_ns();
            while job.outstanding.load(Ordering::Acquire) > 0 && now_ns() < deadline_ns {
                std::thread::sleep(Duration::from_millis(1));
            }
            finished.store(true, Ordering::Release);
        });
    }
}

impl Job {
    /// Closed loop: sends what may be sent now.
    fn send_due(&self, producer: &BaseProducer<Answers>) {
        let mut sending = lock(&self.sending);
        loop {
            let now_ns = now_ns();
            match sending.load.step(now_ns, self.outstanding.load(Ordering::Acquire), 1) {
                Step::Send { due_ns } => {
                    if let Err(code) = self.send(producer, &mut sending, due_ns) {
                        // Refused on the spot; the next try is after a poll, not in a busy loop.
                        self.recorder.lock().on_failure(&format!("{code:?}"), 1);
                        return;
                    }
                }
                Step::AwaitAnswer | Step::AwaitTime(_) => return,
                Step::Done => {
                    sending.stopped_ns.get_or_insert(now_ns);
                    return;
                }
            }
        }
    }

    /// Open loop: sends each record when it is due, until the schedule ends.
    fn keep_schedule(&self, producer: &BaseProducer<Answers>, window: Window) {
        let mut sending = lock(&self.sending);
        loop {
            let now = now_ns();
            match sending.load.step(now, 0, 1) {
                Step::Send { due_ns } => self.send_late_or_now(producer, &mut sending, due_ns, window),
                Step::AwaitTime(at_ns) => std::thread::sleep(Duration::from_nanos(at_ns - now)),
                Step::AwaitAnswer => std::thread::yield_now(),
                Step::Done => break,
            }
        }
        sending.stopped_ns = Some(now_ns());
        if let Load::Open(open) = &sending.load {
            let mut recorder = self.recorder.lock();
            let now_ns = now_ns();
            open.clone().unsent().for_each(|due_ns| recorder.on_unsent(due_ns, now_ns));
        }
    }

    /// Sends one record of a schedule; while librdkafka's queue is full the record waits, and its due time stays.
    fn send_late_or_now(&self, producer: &BaseProducer<Answers>, sending: &mut Sending, due_ns: u64, window: Window) {
        loop {
            match self.send(producer, sending, due_ns) {
                Ok(()) => return self.recorder.lock().on_sent(due_ns, now_ns(), 1),
                Err(RDKafkaErrorCode::QueueFull) if !sending.load.is_over(now_ns()) => {
                    std::thread::sleep(QUEUE_FULL_PAUSE);
                }
                Err(RDKafkaErrorCode::QueueFull) => {
                    if window.contains(due_ns) {
                        self.recorder.lock().on_unsent(due_ns, now_ns());
                    }
                    return;
                }
                Err(code) => return self.recorder.lock().on_failure(&format!("{code:?}"), 1),
            }
        }
    }

    fn send(
        &self,
        producer: &BaseProducer<Answers>,
        sending: &mut Sending,
        due_ns: u64,
    ) -> Result<(), RDKafkaErrorCode> {
        let partition = sending.next_partition;
        let sequence = sending.sequences[partition as usize];
        let identity = Identity { run: self.plan.run, partition, lane: self.lane, sequence, due_ns };
        self.plan.payloads.fill(&identity, &mut sending.value);
        let sent = Box::new(Sent { due_ns, sequence, partition, bytes: sending.value.len() as u32 });
        let record: BaseRecord<'_, (), [u8], Box<Sent>> = BaseRecord::with_opaque_to(&self.plan.topic.name, sent)
            .partition(partition as i32)
            .payload(sending.value.as_slice());
        self.outstanding.fetch_add(1, Ordering::AcqRel);
        if let Err((error, _)) = producer.send(record) {
            self.outstanding.fetch_sub(1, Ordering::AcqRel);
            return Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail));
        }
        sending.sequences[partition as usize] += 1;
        sending.next_partition = (partition + 1) % self.plan.topic.partitions();
        Ok(())
    }

    fn on_answer(&self, result: &DeliveryResult<'_>, sent: &Sent) {
        let now_ns = now_ns();
        match result {
            Ok(message) => {
                let counts = Counts { messages: 1, bytes: u64::from(sent.bytes) };
                self.recorder.lock().on_answer(sent.due_ns, now_ns, counts);
                if self.plan.options.audit {
                    let mut ledger = lock(&self.ledger);
                    ledger.on_acknowledged(sent.partition, message.offset(), self.lane, sent.sequence, 1);
                }
            }
            Err((error, _)) => self.recorder.lock().on_failure(&error_name(error), 1),
        }
        self.outstanding.fetch_sub(1, Ordering::AcqRel);
    }

    fn drain_deadline_ns(&self) -> u64 {
        now_ns() + nanoseconds(self.plan.options.timeout + DRAIN_GRACE)
    }
}

impl ClientContext for Answers {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if (level as i32) <= RDKafkaLogLevel::Error as i32 {
            complain(&format!("{facility}: {message}"));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        complain(&format!("{error}: {reason}"));
    }
}

impl ProducerContext for Answers {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let Some(job) = self.job.get() else { return };
        job.on_answer(result, &sent);
        if job.closed
            && let Some(producer) = job.producer.upgrade()
        {
            job.send_due(&producer);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this lock")
}
