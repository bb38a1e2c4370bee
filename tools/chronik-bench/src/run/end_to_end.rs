//! The receiving side of an end-to-end run: latency from when a record was due until a consumer had it.
//!
//! Invariants: counts only this run's records; ends when everything that was acknowledged has come, or nothing more comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use rdkafka::message::Message;

use crate::client::Plan;
use crate::client::librdkafka::{Reader, Reading};
use crate::clock::now_ns;
use crate::figures::{Counts, SharedRecorder};
use crate::payload::Identity;

/// After the last acknowledgement, a record that has not come for this long is not coming.
const STALL_MAX: Duration = Duration::from_secs(10);
/// Time for the consumer to find its partitions before anything is sent.
const SETTLE: Duration = Duration::from_millis(500);

/// A consumer at the end of every partition.
pub struct Receiver {
    reader: Reader,
    run: u32,
}

impl Receiver {
    /// Starts to read at these offsets.
    pub fn connect(plan: &Arc<Plan>, start_offsets: &[i64]) -> Result<Self> {
        let mut reader = Reader::connect(&plan.options, &plan.topic)?;
        let partitions: Vec<(u32, i64, i64)> =
            (0..).zip(start_offsets).map(|(p, start)| (p, *start, i64::MAX)).collect();
        reader.assign(&partitions)?;
        let until = Instant::now() + SETTLE;
        while Instant::now() < until {
            // Nothing of this run can come yet.
            reader.read(SETTLE / 10);
        }
        Ok(Self { reader, run: plan.run })
    }

    /// Receives until all of `acknowledged` have come (`u64::MAX` until it is known); how many never came.
    pub fn run(mut self, recorder: &SharedRecorder, acknowledged: &AtomicU64) -> u64 {
        let (mut received, mut last) = (0, Instant::now());
        loop {
            let expected = acknowledged.load(Ordering::Acquire);
            if expected == u64::MAX {
                last = Instant::now();
            } else if received >= expected || last.elapsed() > STALL_MAX {
                return expected.saturating_sub(received);
            }
            match self.reader.read(Duration::from_millis(50)) {
                Reading::Record(message) => {
                    let now_ns = now_ns();
                    let value = message.payload().unwrap_or_default();
                    let Some(identity) = Identity::read(value).filter(|identity| identity.run == self.run) else {
                        continue;
                    };
                    let counts = Counts { messages: 1, bytes: value.len() as u64 };
                    recorder.lock().on_answer(identity.due_ns, now_ns, counts);
                    received += 1;
                    last = Instant::now();
                }
                Reading::Nothing | Reading::Finished => {}
                Reading::Trouble(error) => eprintln!("chronik-bench: receiving: {error}"),
            }
        }
    }
}
