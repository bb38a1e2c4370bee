//! The raw client: batches encoded once, plain non-blocking sockets, one thread, almost no CPU.
//!
//! Owns: connecting, and the loop that sends, writes, waits and reads.
//! Invariants: every request ends as an answer, as a failure, or as lost with its connection; after a failure nothing is sent for a
//!   moment, then leaders are looked up again.
//! Not here: encoding (`batch`, `request`), bytes and frames (`connection`), turns (`routes`), what goes out when (`send`), what
//!   an answer says (`answer`).
//! Why: with a real client on the same cores one measures the client. It does not retry: a failure is counted, and over.

mod answer;
mod batch;
mod connection;
mod request;
mod routes;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::BytesMut;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest};

use self::batch::Batch;
use self::connection::Connection;
use self::request::Produce;
use self::routes::Routes;
use super::{Finished, Plan};
use crate::audit::Ledger;
use crate::clock::{nanoseconds, now_ns, unix_ms};
use crate::figures::SharedRecorder;
use crate::load::{Load, Step};
use crate::options::{Acks, Options};
use crate::sys;
use crate::topic::{self, Topic};
use crate::wire::{self, Wire};

/// Distinct batches, where they are small.
const BATCHES: u64 = 16;
/// Memory for all of them, where they are large.
const BATCHES_BYTES: u64 = 32 << 20;
const SCRATCH_BYTES: usize = 256 << 10;
/// Nothing is sent for this long after a failure.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest wait for a socket before the loop looks up.
const WAIT_NS_MAX: u64 = 20_000_000;
/// Answers are awaited this long beyond the broker's own time-out.
const DRAIN_GRACE: Duration = Duration::from_secs(5);
/// Lanes of one thread; a connection that is made again is a new lane.
const LANES_PER_THREAD: u32 = 1 << 20;

/// How many distinct values a run of the raw client has: every record of every distinct batch.
pub fn bodies(options: &Options) -> usize {
    (distinct_batches(options) * u64::from(options.batch_records)) as usize
}

fn distinct_batches(options: &Options) -> u64 {
    let batch_bytes = u64::from(options.batch_records) * (u64::from(options.message_size.max) + 8);
    (BATCHES_BYTES / batch_bytes).clamp(1, BATCHES)
}

/// One thread's raw connections.
pub struct Client {
    plan: Arc<Plan>,
    produce: Produce,
    probe: BytesMut,
    batches: Vec<Batch>,
    routes: Routes,
    connections: Vec<Connection>,
    /// Where the search for a broker's next connection begins.
    turns: BTreeMap<i32, usize>,
    lanes: Range<u32>,
    scratch: Vec<u8>,
    in_flight_max: usize,
    /// Records without an answer, and an empty request without one.
    outstanding: u64,
    paused_until_ns: u64,
    /// Whether leaders and connections are to be looked up again.
    stale: bool,
    ledger: Ledger,
}

impl Client {
    /// Encodes the batches and connects to every broker that leads a partition.
    pub fn connect(plan: &Arc<Plan>, thread: u32) -> Result<Self> {
        let options = &plan.options;
        let wire = Wire::connect(&topic::bootstrap(options))?;
        let (min, max) = (request::VERSION_MIN, request::VERSION_MAX);
        let produce = Produce {
            version: wire::agreed_version(wire.versions(), ApiKey::Produce as i16, min, max)?,
            acks: options.acks.code(),
            timeout_ms: i32::try_from(options.timeout.as_millis()).unwrap_or(i32::MAX),
            topic: plan.topic.name.clone(),
        };
        let mut client = Self {
            plan: plan.clone(),
            produce,
            probe: wire::encode(&ApiVersionsRequest::default(), 0, 0)?,
            batches: encode_batches(plan),
            routes: Routes::new(&plan.topic.leaders, options.partitions_per_request),
            connections: Vec::new(),
            turns: BTreeMap::new(),
            lanes: thread * LANES_PER_THREAD..(thread + 1) * LANES_PER_THREAD,
            scratch: vec![0; SCRATCH_BYTES],
            in_flight_max: options.in_flight.map_or(usize::MAX, |requests| requests as usize),
            outstanding: 0,
            paused_until_ns: 0,
            stale: false,
            ledger: Ledger::default(),
        };
        client.routes.start_at(thread as usize);
        client.connect_missing(&plan.topic)?;
        Ok(client)
    }

    fn connect_missing(&mut self, topic: &Topic) -> Result<()> {
        for broker in topic.leaders.iter().collect::<BTreeSet<_>>() {
            let address = topic.brokers.get(broker).context("a leader without an address")?;
            let have = self.connections.iter().filter(|connection| connection.broker == *broker).count();
            for _ in have..self.plan.options.connections as usize {
                let lane = self.lanes.next().context("connected too often")?;
                self.connections.push(Connection::connect(address, *broker, lane, self.plan.topic.partitions())?);
            }
        }
        Ok(())
    }

    /// See [`super::Sender::run`].
    pub fn run(mut self, mut load: Load, recorder: &SharedRecorder) -> Result<Finished> {
        sys::wake_on_time();
        let stopped_ns = loop {
            let timeout_ns = match self.send_due(&mut load, recorder) {
                Step::Done => break now_ns(),
                Step::Send { .. } => 0,
                Step::AwaitTime(at_ns) => at_ns.saturating_sub(now_ns()).min(WAIT_NS_MAX),
                Step::AwaitAnswer => WAIT_NS_MAX,
            };
            self.exchange(timeout_ns, recorder)?;
            if self.stale && now_ns() >= self.paused_until_ns {
                self.refresh();
            }
        };
        let deadline_ns = stopped_ns + nanoseconds(self.plan.options.timeout + DRAIN_GRACE);
        while self.connections.iter().any(|connection| !connection.in_flight.is_empty()) && now_ns() < deadline_ns {
            self.exchange(WAIT_NS_MAX, recorder)?;
        }
        self.close(&load, recorder);
        Ok(Finished { ledger: self.ledger, stopped_ns })
    }

    /// Counts what is still open: requests without an answer, records of a schedule that never went out.
    fn close(&mut self, load: &Load, recorder: &SharedRecorder) {
        for place in (0..self.connections.len()).rev() {
            self.give_up(place, "NotAnswered", recorder);
        }
        if let Load::Open(open) = load {
            let mut recorder = recorder.lock();
            let now_ns = now_ns();
            open.clone().unsent().for_each(|due_ns| recorder.on_unsent(due_ns, now_ns));
        }
    }

    /// Writes, waits, reads; connections that fail are given up.
    fn exchange(&mut self, timeout_ns: u64, recorder: &SharedRecorder) -> Result<()> {
        for place in (0..self.connections.len()).rev() {
            if let Err(error) = self.connections[place].write() {
                self.on_connection_error(place, &error, recorder);
            }
        }
        let unanswered = self.plan.options.acks == Acks::None;
        let timeout_ns = if unanswered && self.take_written(recorder) { 0 } else { timeout_ns };
        let mut interests: Vec<sys::Interest> = self.connections.iter().map(Connection::interest).collect();
        if !sys::wait(&mut interests, timeout_ns).context("cannot wait for sockets")? {
            return Ok(());
        }
        // From the last, so that giving one up moves none that is still to come.
        for place in (0..interests.len()).rev() {
            if sys::is_writable(&interests[place]) {
                self.connections[place].on_writable();
            }
            if sys::is_readable(&interests[place])
                && let Err(error) = self.receive(place, recorder)
            {
                self.on_connection_error(place, &error, recorder);
            }
        }
        Ok(())
    }

    fn on_connection_error(&mut self, place: usize, error: &anyhow::Error, recorder: &SharedRecorder) {
        eprintln!("chronik-bench: raw connection to broker {}: {error:#}", self.connections[place].broker);
        self.give_up(place, "ConnectionLost", recorder);
        self.pause();
    }

    /// Drops a connection; what it still owes an answer has failed.
    fn give_up(&mut self, place: usize, code: &str, recorder: &SharedRecorder) {
        let connection = self.connections.remove(place);
        for request in &connection.in_flight {
            self.outstanding -= request.kind.outstanding();
            if request.kind.records() > 0 {
                recorder.lock().on_failure(code, request.kind.records());
            }
        }
    }

    /// Sends nothing for a moment, then looks up who leads.
    fn pause(&mut self) {
        self.paused_until_ns = now_ns() + nanoseconds(PAUSE);
        self.stale = true;
    }

    /// Looks up who leads, and connects where a connection is missing. Blocks for a bounded time; tried again later if it fails.
    fn refresh(&mut self) {
        let found = Wire::connect(&topic::bootstrap(&self.plan.options))
            .and_then(|mut wire| topic::lookup(&mut wire, &self.plan.topic.name, false))
            .ok()
            .flatten()
            .filter(|topic| topic.partitions() == self.plan.topic.partitions());
        let connected = found.is_some_and(|topic| {
            self.routes = Routes::new(&topic.leaders, self.plan.options.partitions_per_request);
            self.connect_missing(&topic).is_ok()
        });
        self.stale = !connected;
        if self.stale {
            self.paused_until_ns = now_ns() + nanoseconds(PAUSE);
        }
    }
}

fn encode_batches(plan: &Plan) -> Vec<Batch> {
    let per_batch = u64::from(plan.options.batch_records);
    let timestamp_ms = unix_ms();
    let encode = |batch: u64| {
        let values: Vec<&[u8]> =
            (batch * per_batch..(batch + 1) * per_batch).map(|record| plan.payloads.body(record)).collect();
        Batch::encode(values.into_iter(), timestamp_ms)
    };
    (0..distinct_batches(&plan.options)).map(encode).collect()
}
