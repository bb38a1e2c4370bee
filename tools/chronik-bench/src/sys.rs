//! The three things asked of Linux that std does not offer: waiting for sockets to the nanosecond, waking up on time, CPU used.
//!
//! Invariants: all unsafe code of this program is in this file.

use std::io;
use std::os::fd::RawFd;

/// What one socket is waited for, and what came of it.
pub type Interest = libc::pollfd;

/// Waits for input always, for output where `write` says so.
pub fn interest(socket: RawFd, write: bool) -> Interest {
    Interest { fd: socket, events: libc::POLLIN | if write { libc::POLLOUT } else { 0 }, revents: 0 }
}

/// Whether a read would not block: input, or an end, or an error that the read will tell.
pub fn is_readable(interest: &Interest) -> bool {
    interest.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

/// Whether a write would not block.
pub fn is_writable(interest: &Interest) -> bool {
    interest.revents & (libc::POLLOUT | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
}

/// Waits until a socket is ready or `timeout_ns` is over; whether any is ready. A signal ends the wait early.
pub fn wait(interests: &mut [Interest], timeout_ns: u64) -> io::Result<bool> {
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: the slice is valid for its length during the call, the timespec outlives it, and a null signal mask is allowed.
    let ready = unsafe {
        libc::ppoll(interests.as_mut_ptr(), interests.len() as libc::nfds_t, &raw const timeout, std::ptr::null())
    };
    if ready >= 0 {
        return Ok(ready > 0);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
}

/// Asks that this thread's sleeps end when they should, not up to 50 us later.
pub fn wake_on_time() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches no memory. Failing leaves the default, which is harmless.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64);
    }
}

/// CPU time used by this process so far, all threads, user and system, in seconds.
pub fn cpu_seconds() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for one rusage, and all zeros is a valid one should the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
