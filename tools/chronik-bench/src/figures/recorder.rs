//! One thread's counts, merged into a run's at the end; the progress line reads them on the way.
//!
//! Invariants: `messages` and `bytes` of the window by the time of the answer, latency by the time the record was due.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Latency, Pause};
use crate::clock::unix_ms;
use crate::load::Window;

/// Answers that are so far apart have a pause between them.
const PAUSE_NS_MIN: u64 = 10_000_000;
/// Pauses that are kept; a run that has more is no run with a few interruptions.
const PAUSES_MAX: usize = 4096;

/// Records and their values' bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records.
    pub messages: u64,
    /// Bytes of values.
    pub bytes: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

/// What one thread has seen.
#[derive(Clone, Debug)]
pub struct Recorder {
    window: Window,
    /// Answered within the window.
    pub window_counts: Counts,
    /// Answered in the whole run.
    pub all_counts: Counts,
    /// Of records due in the window.
    pub latency: Latency,
    /// How late records left, against their schedule.
    pub send_late: Latency,
    /// Of empty requests.
    pub probe: Latency,
    /// Failures by code, in the whole run.
    pub errors: BTreeMap<String, u64>,
    /// Due in the window, never sent.
    pub unsent: u64,
    /// When the last good answer came.
    pub last_answer_ns: u64,
    /// The longer times without a good answer, each of one thread.
    pub pauses: Vec<Pause>,
    /// Answered since the progress line last asked.
    pub recent: Counts,
    /// Latencies since the progress line last asked.
    pub recent_latency: Latency,
}

impl Recorder {
    /// Nothing seen yet.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            window_counts: Counts::default(),
            all_counts: Counts::default(),
            latency: Latency::default(),
            send_late: Latency::default(),
            probe: Latency::default(),
            errors: BTreeMap::new(),
            unsent: 0,
            last_answer_ns: 0,
            pauses: Vec::new(),
            recent: Counts::default(),
            recent_latency: Latency::default(),
        }
    }

    /// Records that were due together were answered together, well.
    pub fn on_answer(&mut self, due_ns: u64, now_ns: u64, counts: Counts) {
        let latency_ns = now_ns.saturating_sub(due_ns);
        self.on_counted(now_ns, counts);
        self.recent_latency.record(latency_ns, counts.messages);
        if self.window.contains(due_ns) {
            self.latency.record(latency_ns, counts.messages);
        }
    }

    /// Records arrived that have no due time.
    pub fn on_counted(&mut self, now_ns: u64, counts: Counts) {
        self.all_counts.add(counts);
        self.recent.add(counts);
        self.note_pause(now_ns);
        self.last_answer_ns = self.last_answer_ns.max(now_ns);
        if self.window.contains(now_ns) {
            self.window_counts.add(counts);
        }
    }

    fn note_pause(&mut self, now_ns: u64) {
        let pause_ns = now_ns.saturating_sub(self.last_answer_ns);
        if self.last_answer_ns > 0 && pause_ns >= PAUSE_NS_MIN && self.pauses.len() < PAUSES_MAX {
            let ms = pause_ns as f64 / 1e6;
            self.pauses.push(Pause { from_unix_ms: unix_ms() - ms as i64, ms });
        }
    }

    /// Records failed.
    pub fn on_failure(&mut self, code: &str, records: u64) {
        match self.errors.get_mut(code) {
            Some(count) => *count += records,
            None => {
                self.errors.insert(code.to_owned(), records);
            }
        }
    }

    /// Records of an open loop went out, `now_ns` against their schedule's `due_ns`.
    pub fn on_sent(&mut self, due_ns: u64, now_ns: u64, records: u64) {
        if self.window.contains(due_ns) {
            self.send_late.record(now_ns.saturating_sub(due_ns), records);
        }
    }

    /// A measured record was due and never went out: it waited at least until `now_ns`.
    pub fn on_unsent(&mut self, due_ns: u64, now_ns: u64) {
        self.unsent += 1;
        self.latency.record(now_ns.saturating_sub(due_ns), 1);
        self.send_late.record(now_ns.saturating_sub(due_ns), 1);
    }

    /// An empty request was answered.
    pub fn on_probe(&mut self, sent_ns: u64, now_ns: u64) {
        if self.window.contains(sent_ns) {
            self.probe.record(now_ns.saturating_sub(sent_ns), 1);
        }
    }

    /// All failures together.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Adds another thread's counts.
    pub fn add(&mut self, other: &Self) {
        self.window_counts.add(other.window_counts);
        self.all_counts.add(other.all_counts);
        self.recent.add(other.recent);
        self.latency.add(&other.latency);
        self.send_late.add(&other.send_late);
        self.probe.add(&other.probe);
        self.recent_latency.add(&other.recent_latency);
        self.unsent += other.unsent;
        self.pauses.extend_from_slice(&other.pauses);
        self.last_answer_ns = self.last_answer_ns.max(other.last_answer_ns);
        for (code, count) in &other.errors {
            self.on_failure(code, *count);
        }
    }

    /// What came since this was last asked; forgets it.
    pub fn take_recent(&mut self, into: &mut Latency) -> Counts {
        into.add(&self.recent_latency);
        self.recent_latency.clear();
        std::mem::take(&mut self.recent)
    }
}

/// A recorder that its thread writes and the progress line reads.
#[derive(Clone)]
pub struct SharedRecorder(Arc<Mutex<Recorder>>);

impl SharedRecorder {
    /// Nothing seen yet.
    pub fn new(window: Window) -> Self {
        Self(Arc::new(Mutex::new(Recorder::new(window))))
    }

    /// The recorder, for a moment: nothing that blocks while it is held.
    pub fn lock(&self) -> MutexGuard<'_, Recorder> {
        self.0.lock().expect("no thread panics while it holds a recorder")
    }
}

/// All threads' counts as one.
pub fn merged(recorders: &[SharedRecorder], window: Window) -> Recorder {
    let mut sum = Recorder::new(window);
    for recorder in recorders {
        sum.add(&recorder.lock());
    }
    sum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;
    use crate::figures::Figures;

    const SECOND: u64 = 1_000_000_000;
    const WINDOW: Window = Window { start_ns: 0, from_ns: SECOND, until_ns: 3 * SECOND };
    const ONE: Counts = Counts { messages: 1, bytes: 100 };

    #[test]
    fn the_rate_goes_by_the_answer_and_latency_by_the_due_time() {
        let mut recorder = Recorder::new(WINDOW);
        recorder.on_answer(0, SECOND / 2, ONE);
        recorder.on_answer(SECOND / 2, 2 * SECOND, ONE);
        recorder.on_answer(2 * SECOND, 2 * SECOND + 5_000_000, ONE);
        recorder.on_answer(2 * SECOND, 9 * SECOND, ONE);
        assert_eq!((recorder.window_counts.messages, recorder.all_counts.messages), (2, 4));
        assert_eq!(recorder.latency.count(), 2);
        let figures = Figures::new(&recorder, 2.0);
        assert_eq!((figures.msgs_per_s, figures.mb_per_s), (1.0, 0.0001));
        assert!((figures.max_ms.unwrap() - 7000.0).abs() < 7.0);
    }

    #[test]
    fn failures_are_counted_by_code_and_make_a_run_unclean() {
        let (mut one, mut other) = (Recorder::new(WINDOW), Recorder::new(WINDOW));
        one.on_failure("NotLeaderOrFollower", 2);
        other.on_failure("NotLeaderOrFollower", 1);
        other.on_failure("RequestTimedOut", 1);
        other.on_answer(SECOND, SECOND + 1, ONE);
        one.add(&other);
        let figures = Figures::new(&one, 2.0);
        assert_eq!((figures.failed, figures.errors["NotLeaderOrFollower"]), (4, 3));
        assert!(!figures.is_clean());
        assert!(!Figures::new(&Recorder::new(WINDOW), 2.0).is_clean(), "nothing measured is not clean");
    }

    #[test]
    fn what_was_never_sent_is_in_the_latency_and_not_in_the_rate() {
        let mut recorder = Recorder::new(WINDOW);
        recorder.on_unsent(SECOND, 3 * SECOND);
        assert_eq!((recorder.unsent, recorder.latency.count(), recorder.all_counts.messages), (1, 1, 0));
    }

    #[test]
    fn a_pause_is_kept_from_one_answer_to_the_next() {
        let mut recorder = Recorder::new(WINDOW);
        for at_ms in [500, 501, 2501, 2505] {
            recorder.on_answer(0, at_ms * 1_000_000, ONE);
        }
        let pauses: Vec<f64> = Figures::new(&recorder, 2.0).pauses.iter().map(|pause| pause.ms).collect();
        assert_eq!(pauses, [2000.0], "the first answer has none before it");
    }

    #[test]
    fn the_progress_line_takes_what_is_new() {
        let mut recorder = Recorder::new(WINDOW);
        recorder.on_answer(0, 10, ONE);
        let mut latency = Latency::default();
        assert_eq!(recorder.take_recent(&mut latency), ONE);
        assert_eq!(recorder.take_recent(&mut latency), Counts::default());
        assert_eq!(latency.count(), 1);
    }
}
