//! What a run measures, and what is computed from it.
//!
//! Owns: counting, merging the threads' counts, the figures.
//! Invariants: rate = records answered within the window, over the window. Latency = every record *due* within the window, however
//!   late its answer came; those never sent count with the time they waited. Failures are counted always, warm-up included.
//! Not here: how figures are shown (`report`, `plot`).
//! Why: cutting the late answers off would flatter exactly the runs in which the broker stalled.

mod latency;
mod recorder;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::audit::Audit;
pub use latency::Latency;
pub use recorder::{Counts, Recorder, SharedRecorder, merged};

/// A time in which nothing was acknowledged.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Pause {
    /// Since the answer before it.
    pub from_unix_ms: i64,
    /// Until the next.
    pub ms: f64,
}

/// The figures of one run. The first ten names are what scripts read: they stay.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    /// Records answered in the window, per second.
    pub msgs_per_s: f64,
    /// Their values' bytes, in 1,000,000 per second.
    pub mb_per_s: f64,
    /// Median latency; `None` where nothing has one.
    pub p50_ms: Option<f64>,
    /// 99 of 100 were faster.
    pub p99_ms: Option<f64>,
    /// 999 of 1,000 were faster.
    pub p999_ms: Option<f64>,
    /// 9,999 of 10,000 were faster.
    pub p9999_ms: Option<f64>,
    /// The slowest.
    pub max_ms: Option<f64>,
    /// Records answered in the window.
    pub messages: u64,
    /// Records that failed, in the whole run.
    pub failed: u64,
    /// 9 of 10 were faster.
    pub p90_ms: Option<f64>,
    /// Arithmetic mean.
    pub mean_ms: Option<f64>,
    /// The measured time.
    pub elapsed_s: f64,
    /// Records that the latencies are of.
    pub latencies: u64,
    /// Failures by code.
    pub errors: BTreeMap<String, u64>,
    /// Open loop: records due in the window and never sent.
    pub unsent: u64,
    /// Open loop: how late the client itself sent, against the schedule.
    pub send_late_p99_ms: Option<f64>,
    /// End-to-end: acknowledgement latency (the main one is until received).
    pub ack_p50_ms: Option<f64>,
    /// End-to-end: its 99th percentile.
    pub ack_p99_ms: Option<f64>,
    /// `--probe`: median of an empty request on the same connection.
    pub probe_p50_ms: Option<f64>,
    /// `--probe`: its 99th percentile.
    pub probe_p99_ms: Option<f64>,
    /// `--probe`: median of a produce beyond that of an empty request.
    pub produce_minus_probe_p50_ms: Option<f64>,
    /// Times of 10 ms and more in which a thread had no answer, in order: who kills brokers sees here what clients saw.
    pub pauses: Vec<Pause>,
    /// CPU that this client used, all threads, in the window.
    pub client_cpu_s: f64,
    /// What the audit found.
    pub audit: Option<Audit>,
}

impl Figures {
    /// Computes the figures from what was recorded over `elapsed_s` seconds.
    pub fn new(recorder: &Recorder, elapsed_s: f64) -> Self {
        let per_s = |count: f64| if elapsed_s > 0.0 { count / elapsed_s } else { 0.0 };
        let latency = &recorder.latency;
        let probe_p50_ms = recorder.probe.quantile_ms(0.5);
        Self {
            msgs_per_s: per_s(recorder.window_counts.messages as f64),
            mb_per_s: per_s(recorder.window_counts.bytes as f64 / 1e6),
            p50_ms: latency.quantile_ms(0.5),
            p90_ms: latency.quantile_ms(0.9),
            p99_ms: latency.quantile_ms(0.99),
            p999_ms: latency.quantile_ms(0.999),
            p9999_ms: latency.quantile_ms(0.9999),
            max_ms: latency.max_ms(),
            mean_ms: latency.mean_ms(),
            messages: recorder.window_counts.messages,
            failed: recorder.failed(),
            elapsed_s,
            latencies: latency.count(),
            errors: recorder.errors.clone(),
            unsent: recorder.unsent,
            pauses: recorder.pauses.clone(),
            send_late_p99_ms: recorder.send_late.quantile_ms(0.99),
            probe_p50_ms,
            probe_p99_ms: recorder.probe.quantile_ms(0.99),
            produce_minus_probe_p50_ms: latency
                .quantile_ms(0.5)
                .zip(probe_p50_ms)
                .map(|(produce, probe)| produce - probe),
            ..Self::default()
        }
    }

    /// Whether the run may be believed: something was measured, nothing failed, nothing is missing.
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.messages > 0 && self.audit.as_ref().is_none_or(Audit::is_clean)
    }
}
