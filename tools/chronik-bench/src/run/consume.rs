//! Reading what a topic holds, from the start to the end that it has when the run begins.
//!
//! Invariants: the clock runs from before the first fetch; errors of the consumer are failures by code.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::progress::Progress;
use super::{elapsed_s, joined};
use crate::client::Plan;
use crate::client::librdkafka::{Reader, Reading, error_name};
use crate::clock::now_ns;
use crate::figures::{Counts, Figures, SharedRecorder, merged};
use crate::load::Window;
use crate::topic::{self, At};

/// Nothing for this long: what is left cannot be read.
const STALL_NS_MAX: u64 = 30_000_000_000;

type Ranges = Vec<(u32, i64, i64)>;

/// Reads until the end of the backlog, of the time or of the count, whichever comes first.
pub fn run(plan: &Arc<Plan>) -> Result<Figures> {
    let options = &plan.options;
    let starts = topic::offsets(options, &plan.topic, At::Start)?;
    let ends = topic::offsets(options, &plan.topic, At::End)?;
    let backlog: i64 = starts.iter().zip(&ends).map(|(start, end)| end - start).sum();
    ensure!(backlog > 0, "topic {} is empty: fill it with a produce run first", options.topic);
    let mut readers: Vec<(Reader, Ranges)> = Vec::new();
    for thread in 0..options.threads.min(plan.topic.partitions()) {
        let reader = Reader::connect(options, &plan.topic)?;
        let mine = (thread..plan.topic.partitions()).step_by(options.threads as usize);
        let ranges = mine.map(|partition| (partition, starts[partition as usize], ends[partition as usize])).collect();
        readers.push((reader, ranges));
    }
    let records = options.records.unwrap_or(u64::MAX).div_ceil(readers.len() as u64);
    let window = Window::new(options, now_ns());
    let recorders: Vec<SharedRecorder> = readers.iter().map(|_| SharedRecorder::new(window)).collect();
    let progress = Progress::new(plan, window, recorders.clone());
    let (stopped_ns, client_cpu_s) = thread::scope(|scope| {
        let progress = progress.start(scope);
        let handles: Vec<_> = readers
            .into_iter()
            .zip(&recorders)
            .map(|((reader, ranges), recorder)| scope.spawn(move || read(reader, &ranges, records, window, recorder)))
            .collect();
        let stopped: Result<Vec<u64>> = handles.into_iter().map(|handle| joined(handle)?).collect();
        let client_cpu_s = progress.stop();
        Ok::<_, anyhow::Error>((stopped?.into_iter().max().unwrap_or(0), client_cpu_s))
    })?;
    let sum = merged(&recorders, window);
    Ok(Figures { client_cpu_s, ..Figures::new(&sum, elapsed_s(&sum, window, stopped_ns)) })
}

/// One thread's part; when it stopped.
fn read(mut reader: Reader, ranges: &Ranges, records: u64, window: Window, recorder: &SharedRecorder) -> Result<u64> {
    reader.assign(ranges)?;
    let (mut count, mut last_ns) = (0, now_ns());
    loop {
        let reading = reader.read(Duration::from_millis(50));
        let now_ns = now_ns();
        match reading {
            Reading::Record(message) => {
                let counts = Counts { messages: 1, bytes: message.payload_len() as u64 };
                recorder.lock().on_counted(now_ns, counts);
                count += u64::from(window.contains(now_ns));
                last_ns = now_ns;
            }
            Reading::Finished => return Ok(now_ns.min(window.until_ns.saturating_sub(1))),
            Reading::Nothing => {}
            Reading::Trouble(error) => recorder.lock().on_failure(&error_name(&error), 1),
        }
        if count >= records || now_ns >= window.until_ns {
            return Ok(now_ns);
        }
        if now_ns - last_ns > STALL_NS_MAX {
            recorder.lock().on_failure("NothingMoreCame", 1);
            return Ok(now_ns);
        }
    }
}
