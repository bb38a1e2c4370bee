//! How much memory a piece of work takes at most, counted in the allocator, for each thread by itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

/// No decoder has a use for more at once. Such a call would abort the process without a word about the input.
const AT_ONCE_MAX: usize = 1 << 30;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// Notes which input this thread works on, for the last word of the process.
pub fn working_on(seed: u64) {
    SEED.set(seed);
}

fn count(bytes: isize) {
    // The thread's own end frees memory too, when the counters are gone.
    let _gone = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        PEAK.with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn refuse(bytes: usize) {
    if bytes > AT_ONCE_MAX {
        let seed = SEED.try_with(Cell::get).unwrap_or(0);
        // What follows is the end: an allocator must not unwind.
        let _unseen = writeln!(std::io::stderr(), "{bytes} bytes at once; again by CHRONIK_FUZZ_SEED={seed}");
        std::process::abort();
    }
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).unwrap_or(isize::MAX)
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        refuse(layout.size());
        count(signed(layout.size()));
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        refuse(new_size);
        count(signed(new_size) - signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Does the work; returns how many bytes it held at most, beyond what was held before.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let output = work();
    (output, usize::try_from(PEAK.get() - before).unwrap_or(0))
}

#[test]
fn what_is_taken_and_freed_again_counts() {
    let ((), taken) = peak_of(|| drop(Vec::<u8>::with_capacity(100_000)));
    assert!((100_000..200_000).contains(&taken), "{taken}");
}
