//! Tests on real executors: in a child process where a process must end, in this one otherwise.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;

fn spec(name: &str, main: Main) -> ExecutorSpec {
    ExecutorSpec { name: name.into(), placement: None, main }
}

fn main_of<F: Future<Output = ()> + 'static>(main: impl FnOnce(Rt) -> F + Send + 'static) -> Main {
    Box::new(move |rt| Box::pin(main(rt)))
}

#[test]
fn tasks_sleep_yield_and_unblock_on_a_real_executor() {
    let order = run_alone(|rt| async move {
        let (sender, receiver) = mpsc::channel();
        for name in ["first", "second"] {
            let (rt2, sender) = (rt.clone(), sender.clone());
            rt.spawn(async move {
                sender.send(name).expect("it listens");
                rt2.yield_if_needed().await;
            });
        }
        rt.yield_now().await;
        let before = rt.now();
        rt.sleep(Duration::from_millis(20)).await;
        assert!(rt.now().since(before) >= Duration::from_millis(20));
        assert_eq!(rt.unblock(|| 6 * 7).await, 42);
        assert_ne!(rt.random_u64(), rt.random_u64());
        assert!(rt.wall_ms() > 1_600_000_000_000);
        receiver.try_iter().collect::<Vec<_>>()
    })
    .expect("io_uring works here");
    assert_eq!(order, ["first", "second"]);
}

#[test]
fn items_cross_executors_in_order_and_the_end_is_seen() {
    let (mut sender, mut receiver) = channel::<u64>(64);
    let (result, results) = mpsc::channel();
    let sending = main_of(move |rt| async move {
        sender.connect(&rt).await;
        for number in 0..20_000 {
            sender.send(number).await.expect("the receiver lives");
        }
    });
    let receiving = main_of(move |rt| async move {
        receiver.connect(&rt).await;
        let mut expected = 0;
        while let Some(number) = receiver.recv().await {
            assert_eq!(number, expected);
            expected += 1;
        }
        result.send(expected).expect("it listens");
    });
    let specs = vec![spec("sending", sending), spec("receiving", receiving)];
    start(specs, &Options::default()).expect("io_uring works here").join();
    assert_eq!(results.recv(), Ok(20_000));
}

#[test]
fn a_sender_learns_that_the_receiving_executor_is_gone() {
    let (mut sender, mut receiver) = channel::<u64>(4);
    let (result, results) = mpsc::channel();
    let sending = main_of(move |rt| async move {
        sender.connect(&rt).await;
        while sender.send(7).await.is_ok() {}
        result.send(sender.try_send(8)).expect("it listens");
    });
    let receiving = main_of(move |rt| async move {
        receiver.connect(&rt).await;
        assert_eq!(receiver.recv().await, Some(7));
    });
    let specs = vec![spec("sending", sending), spec("receiving", receiving)];
    start(specs, &Options::default()).expect("io_uring works here").join();
    assert_eq!(results.recv(), Ok(Err(8)));
}

#[test]
fn a_raised_flag_ends_waiting_executors() {
    let (stop, flag) = stop_pair();
    let waiting = main_of(move |rt| async move {
        let other = flag.clone();
        rt.spawn(async move { other.raised().await });
        flag.raised().await;
        assert!(flag.is_raised());
    });
    let executors = start(vec![spec("waiting", waiting)], &Options::default()).expect("io_uring works here");
    stop.raise();
    executors.join();
}

#[test]
fn pinning_to_a_processor_that_is_not_ours_runs_unpinned() {
    for placement in [allowed_cpus().last().copied(), Some(4000)] {
        let (result, results) = mpsc::channel();
        let main = main_of(move |_| async move { result.send(allowed_cpus()).expect("it listens") });
        let spec = ExecutorSpec { name: "pinned".into(), placement, main };
        start(vec![spec], &Options::default()).expect("io_uring works here").join();
        let cpus = results.recv().expect("it ran");
        match placement {
            Some(4000) => assert_eq!(cpus, allowed_cpus()),
            _ => assert_eq!(cpus, [placement.expect("there is a processor")]),
        }
    }
}

/// Lesson 29: no wake-up may be lost for good. Short tasks next to a thread that steals the processor.
#[test]
fn a_busy_executor_never_stalls_for_long() {
    let longest = run_alone(|rt| async move {
        let mut longest = Duration::ZERO;
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(600) {
            let before = rt.now();
            rt.unblock(|| ()).await;
            longest = longest.max(rt.now().since(before));
        }
        longest
    })
    .expect("io_uring works here");
    assert!(longest < Duration::from_secs(2), "stalled for {longest:?}");
}

/// Names the case that a child process is to run.
const CASE: &str = "CHRONIK_TEST_CASE";

/// The case that this process is to run, if it is such a child.
fn case() -> Option<String> {
    std::env::var(CASE).ok()
}

/// The test `name` again, in a child process that runs only it, as `case`.
fn child(name: &str, case: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("we run from a file"));
    command.args(["--exact", name, "--nocapture", "--test-threads", "1"]).env(CASE, case);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // The harness's own threads must not take the signals either, as in a broker, whose main thread blocks them first.
    // SAFETY: only signal masks are touched between fork and exec.
    unsafe {
        command.pre_exec(|| {
            block_stop_signals();
            Ok(())
        })
    };
    command
}

fn panics_in_a_task() {
    let main = main_of(|rt| async move {
        rt.spawn(async { panic!("the ladder is broken") });
        rt.sleep(Duration::from_secs(60)).await;
    });
    start(vec![spec("shard-7", main)], &Options::default()).expect("io_uring works here").join();
}

fn panics_in_handed_off_work() {
    let main = main_of(|rt| async move { rt.unblock(|| panic!("cannot decompress")).await });
    start(vec![spec("shard-8", main)], &Options::default()).expect("io_uring works here").join();
}

#[test]
fn a_panic_on_an_executor_ends_the_process_with_its_name() {
    match case().as_deref() {
        Some("task") => return panics_in_a_task(),
        Some("handed off") => return panics_in_handed_off_work(),
        _ => {}
    }
    let cases = [
        ("task", "executor shard-7 panicked", "the ladder is broken"),
        ("handed off", "executor shard-8 panicked", "cannot decompress"),
    ];
    for (case, name, reason) in cases {
        let output = child("rt::tests::a_panic_on_an_executor_ends_the_process_with_its_name", case).output();
        let output = output.expect("the child starts");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(101), "{text}");
        assert!(text.contains(name) && text.contains(reason), "{text}");
    }
}

fn waits_for_a_signal() {
    block_stop_signals();
    let (stop, flag) = stop_pair();
    let main = main_of(move |_| async move {
        println!("ready");
        flag.raised().await;
    });
    let executors = start(vec![spec("waiting", main)], &Options::default()).expect("io_uring works here");
    let signal = wait_for_stop_signal();
    stop.raise();
    executors.join();
    println!("stopped by {signal:?}");
}

/// Lesson 42: a signal ends the process cleanly.
#[test]
fn a_stop_signal_reaches_the_main_thread_only() {
    use std::io::{BufRead, BufReader, Read};
    if case().is_some() {
        return waits_for_a_signal();
    }
    for (signal, name) in [(libc::SIGTERM, "Terminate"), (libc::SIGINT, "Interrupt")] {
        let child = child("rt::tests::a_stop_signal_reaches_the_main_thread_only", "wait").spawn();
        let mut child = child.expect("the child starts");
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(output.read_line(&mut line).expect("it can be read") > 0, "the child ended early");
        }
        let pid = i32::try_from(child.id()).expect("a process id fits");
        // SAFETY: a signal to our own child, which was not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        let mut rest = String::new();
        output.read_to_string(&mut rest).expect("it can be read");
        assert!(child.wait().expect("it ends").success());
        assert!(rest.contains(&format!("stopped by {name}")), "{rest}");
    }
}

#[test]
fn limits_are_raised_to_the_hard_ones() {
    let limits = raise_limits();
    assert!(limits.open_files > 0);
    assert_eq!(limits, raise_limits());
}
