//! One run, from the topic to its figures.
//!
//! Invariants: everything is connected before the clock starts; the measured time is what passed, not what was asked for;
//!   what a run leaves outstanding is awaited, and counted if it never comes.
//! Not here: several runs (`sweep`), what is shown (`report`).

mod consume;
mod end_to_end;
mod progress;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};

use anyhow::{Result, anyhow};

use self::end_to_end::Receiver;
use self::progress::Progress;
use crate::audit::{Ledger, read_back};
use crate::client::{Finished, Plan, Sender};
use crate::clock::now_ns;
use crate::figures::{Figures, Recorder, SharedRecorder, merged};
use crate::load::{Load, Window};
use crate::options::{ClientKind, Mode, Options};
use crate::topic::{self, At};

/// Runs what the options say, and deletes the topic afterwards if they say so.
pub fn run(options: &Options) -> Result<(Options, Figures)> {
    if options.client == ClientKind::Librdkafka {
        crate::client::librdkafka::check_properties(options)?;
    }
    let topic = topic::prepare(options)?;
    let plan = Arc::new(Plan::new(options, topic));
    let figures = match options.mode {
        Mode::Produce | Mode::EndToEnd => produce(&plan),
        Mode::Consume => consume::run(&plan),
    };
    if options.delete_topic {
        topic::delete(options)?;
    }
    Ok((resolved(options, &plan), figures?))
}

/// The options with the defaults that were really used.
fn resolved(options: &Options, plan: &Plan) -> Options {
    let closed = options.rate.is_none() && options.mode != Mode::Consume;
    Options {
        concurrency: closed.then(|| options.concurrency()),
        warm_up: Some(options.warm_up()),
        partitions: Some(plan.topic.partitions() as i32),
        ..options.clone()
    }
}

fn produce(plan: &Arc<Plan>) -> Result<Figures> {
    let options = &plan.options;
    let start_offsets = match options.carries_identity() {
        true => topic::offsets(options, &plan.topic, At::End)?,
        false => Vec::new(),
    };
    let senders: Vec<Sender> = (0..options.threads).map(|n| Sender::connect(plan, n)).collect::<Result<_>>()?;
    let receiver = match options.mode {
        Mode::EndToEnd => Some(Receiver::connect(plan, &start_offsets)?),
        Mode::Produce | Mode::Consume => None,
    };
    let sent = send(plan, senders, receiver)?;
    let mut figures = figures(plan, &sent);
    if options.audit {
        eprintln!("chronik-bench: audit: reading everything back");
        figures.audit = Some(read_back::audit(plan, sent.ledger, &start_offsets)?);
    }
    Ok(figures)
}

/// What sending leaves behind.
struct Sent {
    window: Window,
    /// Of acknowledgements.
    sent: Recorder,
    /// Of receptions.
    received: Recorder,
    ledger: Ledger,
    stopped_ns: u64,
    client_cpu_s: f64,
}

/// Runs all threads to their end.
fn send(plan: &Plan, senders: Vec<Sender>, receiver: Option<Receiver>) -> Result<Sent> {
    let options = &plan.options;
    let window = Window::new(options, now_ns());
    let recorders: Vec<SharedRecorder> = senders.iter().map(|_| SharedRecorder::new(window)).collect();
    let received = SharedRecorder::new(window);
    let shown = if receiver.is_some() { vec![received.clone()] } else { recorders.clone() };
    let acknowledged = AtomicU64::new(u64::MAX);
    thread::scope(|scope| {
        let progress = Progress::new(plan, window, shown).start(scope);
        let receiving = receiver.map(|receiver| scope.spawn(|| receiver.run(&received, &acknowledged)));
        let sending = (0..).zip(senders).zip(&recorders).map(|((thread, sender), recorder)| {
            let load = Load::new(options, window, thread);
            scope.spawn(move || sender.run(load, window, recorder))
        });
        let sending: Vec<_> = sending.collect();
        let finished: Result<Vec<Finished>> = sending.into_iter().map(|handle| joined(handle)?).collect();
        let mut sent = merged(&recorders, window);
        acknowledged.store(sent.all_counts.messages, Ordering::Release);
        let not_received = receiving.map_or(Ok(0), joined);
        let client_cpu_s = progress.stop();
        let (finished, not_received) = (finished?, not_received?);
        if not_received > 0 {
            sent.on_failure("NotReceived", not_received);
        }
        let stopped_ns = finished.iter().map(|finished| finished.stopped_ns).max().unwrap_or(0);
        let mut ledger = Ledger::default();
        finished.into_iter().for_each(|finished| ledger.add(finished.ledger));
        let received = received.lock().clone();
        Ok(Sent { window, sent, received, ledger, stopped_ns, client_cpu_s })
    })
}

fn figures(plan: &Plan, run: &Sent) -> Figures {
    let Sent { window, sent, received, stopped_ns, client_cpu_s, .. } = run;
    let computed = |recorder| Figures::new(recorder, elapsed_s(recorder, *window, *stopped_ns));
    let (acks, client_cpu_s) = (computed(sent), *client_cpu_s);
    if plan.options.mode != Mode::EndToEnd {
        return Figures { client_cpu_s, ..acks };
    }
    Figures {
        failed: acks.failed,
        errors: acks.errors,
        unsent: acks.unsent,
        send_late_p99_ms: acks.send_late_p99_ms,
        ack_p50_ms: acks.p50_ms,
        ack_p99_ms: acks.p99_ms,
        client_cpu_s,
        ..computed(received)
    }
}

/// The measured time: the whole window where sending went on to its end, else up to the last answer.
fn elapsed_s(recorder: &Recorder, window: Window, stopped_ns: u64) -> f64 {
    let whole = stopped_ns >= window.until_ns;
    let end_ns = if whole { window.until_ns } else { recorder.last_answer_ns.min(window.until_ns) };
    end_ns.saturating_sub(window.from_ns) as f64 / 1e9
}

fn joined<T>(handle: ScopedJoinHandle<'_, T>) -> Result<T> {
    handle.join().map_err(|_| anyhow!("a client thread panicked"))
}

#[cfg(test)]
mod tests;
