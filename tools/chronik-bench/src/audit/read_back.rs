//! Reads back everything that a run has written, for the audit.
//!
//! Invariants: each partition from its end before the run to its end after it; gives up a bounded time after the last record came.

use std::time::{Duration, Instant};

use anyhow::Result;
use rdkafka::message::Message;

use super::{Audit, Auditor, Ledger, Observed};
use crate::client::Plan;
use crate::client::librdkafka::{Reader, Reading};
use crate::payload::Identity;
use crate::topic::{self, At};

/// No record for this long: what is left cannot be read.
const STALL_MAX: Duration = Duration::from_secs(30);

/// Compares what was acknowledged with what is there.
pub fn audit(plan: &Plan, ledger: Ledger, start_offsets: &[i64]) -> Result<Audit> {
    let end_offsets = topic::offsets(&plan.options, &plan.topic, At::End)?;
    let mut auditor = Auditor::new(ledger, start_offsets);
    let mut reader = Reader::connect(&plan.options, &plan.topic)?;
    let ranges: Vec<(u32, i64, i64)> =
        (0..).zip(start_offsets).zip(&end_offsets).map(|((partition, start), end)| (partition, *start, *end)).collect();
    reader.assign(&ranges)?;
    let mut last = Instant::now();
    loop {
        match reader.read(Duration::from_millis(100)) {
            Reading::Record(message) => {
                last = Instant::now();
                auditor.observe(&observed(plan, &message));
            }
            Reading::Finished => break,
            Reading::Nothing => {}
            Reading::Trouble(error) => eprintln!("chronik-bench: audit: {error}"),
        }
        if last.elapsed() > STALL_MAX {
            (0..reader.unfinished()).for_each(|_| auditor.on_unread());
            break;
        }
    }
    Ok(auditor.finish(&end_offsets))
}

fn observed(plan: &Plan, message: &impl Message) -> Observed {
    let value = message.payload().unwrap_or_default();
    let identity = Identity::read(value).filter(|identity| identity.run == plan.run);
    Observed {
        partition: message.partition() as u32,
        offset: message.offset(),
        identity,
        intact: identity.is_some_and(|identity| plan.payloads.is_intact(&identity, value)),
    }
}
