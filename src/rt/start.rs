//! Starting executors: one thread each, the way the reactor needs it.
//!
//! *Which core*: the main thread starts and joins; each executor runs its `main`.
//! *Invariants*: a warm-up executor comes first, since the first one of a process gets a kernel worker pool of one for
//! ever; every executor is under the watchdog; either all executors run or none of them has begun its work.
//! *Why pinned by hand*: the reactor's own placement reads the machine's topology and panics where there is none, and it
//! would pin the kernel's and the pool's workers to the same processor. A thread that binds itself does neither.

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use super::process::{self, allowed_cpus};
use super::ring::{self, LocalExecutorBuilder, Placement, PoolPlacement};
use super::watchdog::{self, Place, Watchdog};
use super::{Rt, process_start};

/// Registered memory per executor, in bytes: pinned three times over, and without gain for us.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Threads per executor for [`Rt::unblock`] and for file operations that io_uring lacks.
const BLOCKING_THREADS: usize = 2;

/// What an executor runs; when it returns, the executor ends.
pub type Main = Box<dyn FnOnce(Rt) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// An executor to start.
pub struct ExecutorSpec {
    /// Its name, for threads and messages.
    pub name: String,
    /// The processor to pin it to; it runs unpinned if that is none of [`allowed_cpus`].
    pub placement: Option<usize>,
    /// What it runs.
    pub main: Main,
}

/// How executors run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long one task may hold the executor before sockets and disks are looked at.
    pub preempt_timer: Duration,
    /// How long a pinned executor spins before it parks; zero: not at all.
    pub spin_before_park: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { preempt_timer: Duration::from_millis(1), spin_before_park: Duration::ZERO }
    }
}

/// Why executors did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel refuses io_uring.
    #[error(
        "io_uring is not available here ({0}). It needs Linux 6.1 or later, `sysctl kernel.io_uring_disabled` = 0, and a \
         container runtime whose seccomp profile allows io_uring_setup"
    )]
    IoUring(String),
    /// Too little memory may be locked for the rings.
    #[error(
        "the io_uring of executor {name} cannot be set up ({reason}). Most often too little memory may be locked: \
         RLIMIT_MEMLOCK is {memlock_bytes} bytes; raise it (LimitMEMLOCK=infinity, or ulimit -l unlimited)"
    )]
    Executor {
        /// Which one.
        name: String,
        /// The system's words.
        reason: String,
        /// The limit in force.
        memlock_bytes: u64,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

/// The running executors.
pub struct Executors {
    running: Vec<(String, ring::ExecutorJoinHandle<()>)>,
    watchdog: Watchdog,
}

impl Executors {
    /// Waits until the `main` of every executor has returned.
    pub fn join(self) {
        for (name, executor) in self.running {
            if let Err(error) = executor.join() {
                // Unreachable in practice: the panic hook has ended the process.
                eprintln!("FATAL: executor {name} ended: {error}");
                std::process::exit(process::PANIC_EXIT_CODE);
            }
        }
        self.watchdog.end();
    }
}

/// Starts executors, and returns once all of them run. From then on a panic on any of them ends the process.
pub fn start(specs: Vec<ExecutorSpec>, options: &Options) -> Result<Executors, StartError> {
    ring::early_init();
    process_start();
    process::refuse_huge_pages();
    let limits = process::raise_limits();
    tracing::info!(
        memlock_bytes = limits.memlock_bytes,
        open_files = limits.open_files,
        allowed_cpus = ?allowed_cpus(),
        "limits of this process"
    );
    process::end_process_on_panic();
    warm_up()?;

    let (watchdog, places) = Watchdog::start(specs.len()).map_err(StartError::Thread)?;
    let mut begun = Vec::with_capacity(specs.len());
    for (spec, place) in specs.into_iter().zip(places) {
        begun.push(begin(spec, place, options)?);
    }
    let mut ready = Vec::with_capacity(begun.len());
    for executor in begun {
        ready.push(executor.ready(limits.memlock_bytes)?);
    }
    // Nobody begins before all can.
    let running = ready
        .into_iter()
        .map(|executor| {
            let _ = executor.go.send(());
            (executor.name, executor.handle)
        })
        .collect();
    Ok(Executors { running, watchdog })
}

/// An executor whose thread was started.
struct Begun {
    name: String,
    handle: ring::ExecutorJoinHandle<()>,
    is_ready: mpsc::Receiver<()>,
    go: mpsc::Sender<()>,
}

impl Begun {
    /// Waits until its rings are set up; an error if they cannot be.
    fn ready(self, memlock_bytes: u64) -> Result<Begun, StartError> {
        if self.is_ready.recv().is_ok() {
            return Ok(self);
        }
        let reason = self.handle.join().map_or_else(|error| error.to_string(), |()| "it ended at once".into());
        Err(StartError::Executor { name: self.name, reason, memlock_bytes })
    }
}

fn begin(spec: ExecutorSpec, place: Place, options: &Options) -> Result<Begun, StartError> {
    let ExecutorSpec { name, placement, main } = spec;
    let pinned = placement.filter(|cpu| allowed_cpus().contains(cpu));
    if placement != pinned {
        tracing::warn!(executor = name, cpu = ?placement, "this processor is not ours to use: running unpinned");
    }
    let static_name: &'static str = Box::leak(name.clone().into_boxed_str());
    let (ready, is_ready) = mpsc::channel();
    let (go, gone) = mpsc::channel();
    let handle = builder(&name, pinned, options)
        .spawn(move || async move {
            process::set_executor_name(static_name);
            if let Some(cpu) = pinned
                && let Err(error) = process::pin_thread(cpu)
            {
                tracing::warn!(executor = static_name, cpu, %error, "cannot pin: running unpinned");
            }
            let _ = ready.send(());
            // Blocks this executor, which has nothing to do yet. Err: another one failed, nobody starts.
            if gone.recv().is_ok() {
                ring::spawn_local(place.take()).detach();
                watchdog::observed(main(Rt::Ring)).await;
            }
        })
        .map_err(|error| StartError::Thread(io::Error::other(error.to_string())))?;
    Ok(Begun { name, handle, is_ready, go })
}

fn builder(name: &str, pinned: Option<usize>, options: &Options) -> LocalExecutorBuilder {
    let spin = options.spin_before_park;
    // Spinning is granted to placed executors only.
    let placement = match pinned {
        Some(cpu) if !spin.is_zero() && topology_is_readable() => Placement::Fixed(cpu),
        Some(_) | None => Placement::Unbound,
    };
    LocalExecutorBuilder::new(placement)
        .name(name)
        .io_memory(IO_MEMORY_BYTES)
        .preempt_timer(options.preempt_timer)
        .spin_before_park(spin)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
}

/// Does this machine describe its processors the way the reactor reads it? (It panics where it does not.)
fn topology_is_readable() -> bool {
    Path::new("/sys/devices/system/node/node0/cpulist").exists()
        && std::panic::catch_unwind(ring::CpuSet::online).is_ok_and(|set| set.is_ok())
}

/// Runs a throw-away executor: the process's first, which nothing may depend on. Also tells whether io_uring works at all.
fn warm_up() -> Result<(), StartError> {
    static DONE: std::sync::Mutex<bool> = std::sync::Mutex::new(false);
    let mut done = DONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if !*done {
        LocalExecutorBuilder::new(Placement::Unbound)
            .name("warm-up")
            .io_memory(IO_MEMORY_BYTES)
            .spawn(|| async {})
            .and_then(ring::ExecutorJoinHandle::join)
            .map_err(|error| StartError::IoUring(error.to_string()))?;
        *done = true;
    }
    Ok(())
}

/// Runs `main` on one executor of its own and returns what it returns: for tools and tests.
pub fn run_alone<T, F>(main: impl FnOnce(Rt) -> F + Send + 'static) -> Result<T, StartError>
where
    T: Send + 'static,
    F: Future<Output = T> + 'static,
{
    let (result, results) = mpsc::channel();
    let main: Main = Box::new(move |rt| {
        Box::pin(async move {
            let _ = result.send(main(rt).await);
        })
    });
    let spec = ExecutorSpec { name: "alone".into(), placement: None, main };
    start(vec![spec], &Options::default())?.join();
    Ok(results.recv().expect("an executor that was joined has sent its result"))
}
