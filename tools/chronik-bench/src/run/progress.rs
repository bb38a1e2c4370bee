//! A line each second on standard error, and the CPU that the client used in the measured time.
//!
//! Why: a run that shows nothing for a minute looks hung, and a client that is out of CPU measures itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use crate::client::Plan;
use crate::clock::now_ns;
use crate::figures::{Latency, SharedRecorder};
use crate::load::Window;
use crate::options::ClientKind;
use crate::sys;

const LINE_NS: u64 = 1_000_000_000;

/// What the line is about.
pub struct Progress {
    label: &'static str,
    quiet: bool,
    window: Window,
    recorders: Vec<SharedRecorder>,
}

/// A line that is being shown.
pub struct Shown<'scope> {
    stop: Arc<AtomicBool>,
    thread: ScopedJoinHandle<'scope, f64>,
}

impl Progress {
    /// A line about these recorders.
    pub fn new(plan: &Plan, window: Window, recorders: Vec<SharedRecorder>) -> Self {
        let label = match plan.options.client {
            ClientKind::Raw => "[raw] ",
            ClientKind::Librdkafka => "",
        };
        Self { label, quiet: plan.options.quiet, window, recorders }
    }

    /// Shows it until it is stopped.
    pub fn start<'scope>(self, scope: &'scope Scope<'scope, '_>) -> Shown<'scope> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        Shown { stop, thread: scope.spawn(move || self.show(&stopped)) }
    }

    fn show(&self, stopped: &AtomicBool) -> f64 {
        let mut cpu_from_s = None;
        let (mut next_ns, mut last_ns) = (self.window.start_ns + LINE_NS, self.window.start_ns);
        loop {
            let now_ns = now_ns();
            if cpu_from_s.is_none() && now_ns >= self.window.from_ns {
                cpu_from_s = Some(sys::cpu_seconds());
            }
            if stopped.load(Ordering::Acquire) {
                return cpu_from_s.map_or(0.0, |from_s| sys::cpu_seconds() - from_s);
            }
            if now_ns >= next_ns {
                let line = self.line(now_ns, last_ns);
                if !self.quiet {
                    eprintln!("{line}");
                }
                (last_ns, next_ns) = (now_ns, next_ns + LINE_NS * (1 + (now_ns - next_ns) / LINE_NS));
            }
            let wake_ns = if cpu_from_s.is_none() { next_ns.min(self.window.from_ns) } else { next_ns };
            std::thread::park_timeout(Duration::from_nanos(wake_ns.saturating_sub(now_ns).max(100_000)));
        }
    }

    fn line(&self, now_ns: u64, last_ns: u64) -> String {
        let mut latency = Latency::default();
        let (mut messages, mut bytes, mut failed) = (0, 0, 0);
        for recorder in &self.recorders {
            let mut recorder = recorder.lock();
            let recent = recorder.take_recent(&mut latency);
            messages += recent.messages;
            bytes += recent.bytes;
            failed += recorder.failed();
        }
        let second_s = (now_ns - last_ns) as f64 / 1e9;
        let at_s = (now_ns - self.window.start_ns) as f64 / 1e9;
        let phase = if now_ns < self.window.from_ns {
            "warm-up"
        } else if now_ns < self.window.until_ns {
            "measured"
        } else {
            "awaiting"
        };
        let mut line = format!("{}{at_s:6.1} s  {phase:8}", self.label);
        line += &format!("  {:>10.0} msg/s  {:>8.1} MB/s", messages as f64 / second_s, bytes as f64 / second_s / 1e6);
        if let Some((p50, p99)) = latency.quantile_ms(0.5).zip(latency.quantile_ms(0.99)) {
            line += &format!("  p50 {p50:.3} ms  p99 {p99:.3} ms");
        }
        if failed > 0 {
            line += &format!("  FAILED {failed}");
        }
        line
    }
}

impl Shown<'_> {
    /// Ends it; the CPU seconds that this process used since the measured time began.
    pub fn stop(self) -> f64 {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or(0.0)
    }
}
