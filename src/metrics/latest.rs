//! A place for the latest value: one thread puts, another takes, and neither ever waits for the other.
//!
//! *Which core*: a shard puts, the admin thread takes. *Invariants*: a value is owned by the place or by one of the two, never by both.
//! *Why not a lock*: the admin thread is not pinned; it could be put aside while it holds one, and the shard would stand still.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// See above.
pub struct Latest<T>(AtomicPtr<T>, std::marker::PhantomData<T>);

// SAFETY: a value moves from thread to thread through the pointer, as through a channel; it is never shared.
unsafe impl<T: Send> Send for Latest<T> {}
// SAFETY: as above; every access takes the whole value out by one atomic swap.
unsafe impl<T: Send> Sync for Latest<T> {}

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Latest(AtomicPtr::new(ptr::null_mut()), std::marker::PhantomData)
    }
}

impl<T> Latest<T> {
    /// Puts a value in place of the one before, if nobody has taken that.
    pub fn put(&self, value: T) {
        self.swap(Box::into_raw(Box::new(value)));
    }

    /// Takes the value, if one was put since the last time.
    pub fn take(&self) -> Option<T> {
        self.swap(ptr::null_mut())
    }

    fn swap(&self, new: *mut T) -> Option<T> {
        let old = self.0.swap(new, Ordering::AcqRel);
        // SAFETY: not null, so it came from `Box::into_raw` in `put`; the swap took it out, so that nobody else has it.
        (!old.is_null()).then(|| *unsafe { Box::from_raw(old) })
    }
}

impl<T> Drop for Latest<T> {
    fn drop(&mut self) {
        self.take();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_last_value_is_taken_once() {
        let latest = Latest::default();
        assert_eq!(latest.take(), None);
        latest.put(String::from("a"));
        latest.put(String::from("b"));
        assert_eq!(latest.take().as_deref(), Some("b"));
        assert_eq!(latest.take(), None);
    }

    #[test]
    fn values_that_nobody_takes_are_dropped() {
        let value = Arc::new(());
        let latest = Latest::default();
        latest.put(value.clone());
        latest.put(value.clone());
        assert_eq!(Arc::strong_count(&value), 2);
        drop(latest);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_reader_sees_values_in_order() {
        let latest: Arc<Latest<u64>> = Arc::default();
        let writer = latest.clone();
        let thread = std::thread::spawn(move || (1..=10_000).for_each(|value| writer.put(value)));
        let mut last = 0;
        while last < 10_000 {
            if let Some(value) = latest.take() {
                assert!(value > last);
                last = value;
            }
            std::thread::yield_now();
        }
        thread.join().expect("the writer does not panic");
    }
}
