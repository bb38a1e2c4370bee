//! The log: lines to standard error, written by a thread of its own.
//!
//! *Which core*: any core logs; one plain thread writes.
//! *Invariants*: a line is queued or dropped, never waited for: the queue is bounded, and what was dropped is counted and said.
//! *Not here*: the last words of a process that dies, which go to standard error directly.
//! *Why a thread*: whoever reads the other end of the pipe may stop reading, and a shard must not stand still for that.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

/// Lines that may wait to be written.
const LINES_MAX: usize = 8192;
/// How long the last lines of a process may take once the end is queued.
const END_TIME_MAX: Duration = Duration::from_secs(1);
/// How often the end is tried to be queued, and how long apart: a second in all.
const END_TRIES_MAX: u32 = 100;
const END_TRY_PAUSE: Duration = Duration::from_millis(10);

/// The log of this process; its end writes what is still queued.
pub struct Log {
    lines: Lines,
    ended: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

/// Where lines go.
#[derive(Clone)]
struct Lines {
    queue: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

/// Logs to standard error from now on, by the directives of `--log-level`.
pub fn start(directives: &str) -> io::Result<Log> {
    let log = Log::to(io::stderr())?;
    let lines = log.lines.clone();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(directives))
        .with_ansi(false)
        .with_writer(move || lines.clone())
        .try_init()
        .map_err(io::Error::other)?;
    Ok(log)
}

impl Log {
    fn to(out: impl Write + Send + 'static) -> io::Result<Log> {
        let (queue, queued) = mpsc::sync_channel(LINES_MAX);
        let (end, ended) = mpsc::sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = Lines { queue, dropped: dropped.clone() };
        let thread = thread::Builder::new().name("log".into()).spawn(move || {
            write_all(&queued, &dropped, out);
            // Nobody listens if the end was not waited for.
            let _ = end.send(());
        })?;
        Ok(Log { lines, ended, thread: Some(thread) })
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // The queue may be full: its reader gets the time to read on, and if it does not, what is queued is lost.
        let is_queued = (0..END_TRIES_MAX).any(|_| match self.lines.queue.try_send(Message::End) {
            Ok(()) => true,
            Err(_) => self.ended.recv_timeout(END_TRY_PAUSE).is_ok(),
        });
        if is_queued
            && self.ended.recv_timeout(END_TIME_MAX).is_ok()
            && let Some(thread) = self.thread.take()
        {
            // It ends by itself; a panic of it has nowhere to be logged.
            let _ = thread.join();
        }
    }
}

fn write_all(queued: &Receiver<Message>, dropped: &AtomicU64, mut out: impl Write) {
    let mut reported = 0;
    while let Ok(Message::Line(line)) = queued.recv() {
        // There is nowhere to report that the log itself cannot be written.
        let _ = out.write_all(&line);
        let now = dropped.load(Relaxed);
        if now != reported {
            let _ = writeln!(out, "WARN the log was not read fast enough: {} lines were dropped", now - reported);
            reported = now;
        }
    }
    let _ = out.flush();
}

/// One whole line a call, as the formatter makes them.
impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.try_send(Message::Line(line.to_vec())) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Waits, before its first line, until it is told to go on.
    struct Stuck(Receiver<()>, Out);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_end_of_the_log_writes_what_is_queued() {
        let out = Out::default();
        let log = Log::to(out.clone()).expect("a thread");
        let mut lines = log.lines.clone();
        (0..1000).for_each(|number| writeln!(lines, "{number}").expect("queued"));
        drop(log);
        let text = String::from_utf8(out.0.lock().expect("no panic").clone()).expect("text");
        assert!(text.ends_with("\n998\n999\n"));
    }

    #[test]
    fn a_reader_that_stops_reading_makes_nobody_wait_and_is_told_what_it_missed() {
        let (go_on, told) = mpsc::channel();
        let out = Out::default();
        let log = Log::to(Stuck(told, out.clone())).expect("a thread");
        let mut lines = log.lines.clone();
        for _ in 0..LINES_MAX + 100 {
            lines.write_all(b"x\n").expect("never an error");
        }
        assert!(log.lines.dropped.load(Relaxed) >= 99);
        drop(go_on);
        drop(log);
        let text = String::from_utf8(out.0.lock().expect("no panic").clone()).expect("text");
        assert!(text.contains("lines were dropped"), "{}", text.len());
    }
}
