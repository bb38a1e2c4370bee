//! Child processes that cannot outlive the tests.
//!
//! Invariants: every child is started by one thread that lives as long as this process, and dies with it even by SIGKILL.
//! Why that thread: the kernel's parent-death signal follows the *thread* that started the child, and libtest ends a test's thread.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};

type Request = (Command, Sender<io::Result<Child>>);

/// Starts a child that the kernel kills when this process ends, however it ends.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    // SAFETY: prctl is async-signal-safe and touches only the new process.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    static GUARD: OnceLock<Mutex<Sender<Request>>> = OnceLock::new();
    let guard = GUARD.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        let start = move || {
            for (mut command, reply) in requests {
                // A test that no longer waits has panicked already.
                let _gone = reply.send(command.spawn());
            }
        };
        std::thread::Builder::new().name("guard".into()).spawn(start).expect("a thread can be started");
        Mutex::new(sender)
    });
    let (reply, child) = channel();
    guard.lock().expect("no test panics while it holds the guard").send((command, reply)).expect("the guard lives on");
    child.recv().expect("the guard answers")
}
