//! Who speaks to the broker: librdkafka, or raw sockets. Same load, same recorder, same ledger.
//!
//! Invariants: everything is connected before the window is fixed, so that no connection is measured.
//! Not here: when to send (`load`), what counts (`figures`).

pub mod librdkafka;
pub mod raw;

use std::sync::Arc;

use anyhow::Result;

use crate::audit::Ledger;
use crate::figures::SharedRecorder;
use crate::load::{Load, Window};
use crate::options::{ClientKind, Options};
use crate::payload::{BODIES_DEFAULT, Payloads};
use crate::topic::Topic;

/// What all threads of a run share.
pub struct Plan {
    /// The settings.
    pub options: Options,
    /// Where the records go.
    pub topic: Topic,
    /// What they carry.
    pub payloads: Payloads,
    /// Marks this run's records.
    pub run: u32,
}

impl Plan {
    /// The plan of a run to this topic.
    pub fn new(options: &Options, topic: Topic) -> Self {
        let bodies = match options.client {
            ClientKind::Raw => raw::bodies(options),
            ClientKind::Librdkafka => BODIES_DEFAULT,
        };
        let payloads = Payloads::new(options.seed, options.message_size, bodies, options.carries_identity());
        Self { options: options.clone(), topic, payloads, run: rand::random() }
    }
}

/// One thread's client, connected.
pub enum Sender {
    /// A librdkafka producer.
    Librdkafka(librdkafka::Producer),
    /// Raw connections.
    Raw(Box<raw::Client>),
}

/// What one thread leaves behind.
pub struct Finished {
    /// What was acknowledged, where the plan asks for it.
    pub ledger: Ledger,
    /// When it stopped to send.
    pub stopped_ns: u64,
}

impl Sender {
    /// Connects `thread`'s client.
    pub fn connect(plan: &Arc<Plan>, thread: u32) -> Result<Self> {
        Ok(match plan.options.client {
            ClientKind::Librdkafka => Self::Librdkafka(librdkafka::Producer::connect(plan, thread)?),
            ClientKind::Raw => Self::Raw(Box::new(raw::Client::connect(plan, thread)?)),
        })
    }

    /// Sends until the load is done, then awaits what is outstanding, within bounds.
    pub fn run(self, load: Load, window: Window, recorder: &SharedRecorder) -> Result<Finished> {
        match self {
            Self::Librdkafka(producer) => Ok(producer.run(load, window, recorder)),
            Self::Raw(client) => client.run(load, recorder),
        }
    }
}
