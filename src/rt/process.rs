//! What a broker's process needs around its executors: limits, processors, signals, and its end when a task panics.
//!
//! *Which core*: the main thread, before executors start; the panic hook on whichever panics.
//! *Invariants*: no executor is ever lost alone: a panic on one ends the process, with a message that names it.
//! *Why exit and not unwind*: the reactor's thread dies with any task that panics, and its partitions with it. A broker that
//! works by half is worse than none: another replica leads, and the next start recovers.

use std::cell::Cell;
use std::io::{self, Write};

/// The exit code of a process that ended by a panic.
pub(super) const PANIC_EXIT_CODE: i32 = 101;

thread_local! {
    static EXECUTOR_NAME: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The executor that this thread is, or works for.
pub(super) fn executor_name() -> Option<&'static str> {
    EXECUTOR_NAME.get()
}

/// Makes this thread the executor `name`, for messages.
pub(super) fn set_executor_name(name: &'static str) {
    EXECUTOR_NAME.set(Some(name));
}

/// Runs `work` in the name of an executor.
pub(super) fn with_executor_name<T>(name: Option<&'static str>, work: impl FnOnce() -> T) -> T {
    let before = EXECUTOR_NAME.replace(name);
    let result = work();
    EXECUTOR_NAME.set(before);
    result
}

/// From now on a panic on an executor, or in work it handed off, ends the process. Other threads panic as before.
pub(super) fn end_process_on_panic() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match executor_name() {
            None => before(panic),
            Some(name) => {
                let trace = std::backtrace::Backtrace::capture();
                // Not `eprintln`: a test harness would keep it to itself, and take it with it.
                let _ =
                    writeln!(io::stderr(), "FATAL: executor {name} panicked, the process ends now: {panic}\n{trace}");
                // SAFETY: `_exit` is always sound. Not `exit`: its handlers could wait for the threads that we give up.
                unsafe { libc::_exit(PANIC_EXIT_CODE) }
            }
        }));
    });
}

/// The processors that this process may run on, ascending: by affinity, so that cpusets and taskset count.
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: a cpu_set_t is plain bits, all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer and the size describe `set`.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if result != 0 {
        // More processors than the set can name: any number will do, nobody is pinned by it.
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        return (0..count).collect();
    }
    let bits = 8 * size_of::<libc::cpu_set_t>();
    // SAFETY: `cpu` is below the number of bits of the set.
    (0..bits).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
}

/// How many processors' worth of time this process gets: affinity and the cgroup's quota both count.
pub fn usable_processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Binds this thread to one processor.
pub(super) fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= 8 * size_of::<libc::cpu_set_t>() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: as in `allowed_cpus`; `cpu` is within the set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Limits of this process after [`raise_limits`]; `u64::MAX` = none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_MEMLOCK, in bytes: the rings count against it.
    pub memlock_bytes: u64,
    /// RLIMIT_NOFILE.
    pub open_files: u64,
}

/// Raises the soft limits of locked memory and open files to the hard ones.
pub fn raise_limits() -> Limits {
    Limits { memlock_bytes: raise(libc::RLIMIT_MEMLOCK), open_files: raise(libc::RLIMIT_NOFILE) }
}

/// No huge pages for this process. The kernel clears one at the first touch of any byte of it: 2 MiB, up to 5 ms in a virtual
/// machine, in the midst of whatever the core is doing. Memory is used again and again here; it is touched anew seldom.
pub(super) fn refuse_huge_pages() {
    // SAFETY: takes numbers only. An old kernel that does not know it goes on as before.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
}

fn raise(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to and read from.
    unsafe {
        if libc::getrlimit(resource, &raw mut limit) != 0 {
            return 0;
        }
        if limit.rlim_cur < limit.rlim_max {
            let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
            if libc::setrlimit(resource, &raw const raised) == 0 {
                limit = raised;
            }
        }
    }
    limit.rlim_cur
}

/// A signal that asks the process to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
}

fn stop_signal_set() -> libc::sigset_t {
    // SAFETY: `sigemptyset` makes the zeroed set a valid one.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        set
    }
}

/// Keeps SIGTERM and SIGINT for [`wait_for_stop_signal`]: call it on the main thread before any other thread starts, since
/// threads inherit it. Also makes a write to a closed socket an error instead of a SIGPIPE.
pub fn block_stop_signals() {
    let set = stop_signal_set();
    // SAFETY: `set` is valid; a null old set is allowed.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}

/// Waits, on a plain thread, for SIGTERM or SIGINT, after [`block_stop_signals`].
pub fn wait_for_stop_signal() -> StopSignal {
    let set = stop_signal_set();
    loop {
        let mut signal = 0;
        // SAFETY: both pointers are valid for the call.
        let result = unsafe { libc::sigwait(&raw const set, &raw mut signal) };
        match (result, signal) {
            (0, libc::SIGINT) => return StopSignal::Interrupt,
            (0, libc::SIGTERM) => return StopSignal::Terminate,
            // EINTR: nothing came.
            _ => {}
        }
    }
}
