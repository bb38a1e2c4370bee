//! A bounded first-in first-out queue between tasks of one executor.
//!
//! *Invariants*: never more than its capacity; items leave in the order they came, and waiting pushers are served in turn.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::local::{Budget, Permit};

/// A queue. Cheap to clone; every clone is the same queue. Any number of tasks push, one pops.
pub struct Queue<T>(Rc<Inner<T>>);

struct Inner<T> {
    /// Slots, as bytes of a budget: it knows how to wait in turn.
    room: Budget,
    state: RefCell<State<T>>,
}

struct State<T> {
    items: VecDeque<(T, Permit)>,
    is_closed: bool,
    popper: Option<Waker>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue(self.0.clone())
    }
}

impl<T> Queue<T> {
    /// A queue for at most `capacity` items.
    pub fn new(capacity: usize) -> Queue<T> {
        assert!(capacity > 0, "a queue without a slot passes nothing");
        let state = State { items: VecDeque::new(), is_closed: false, popper: None };
        Queue(Rc::new(Inner { room: Budget::new(capacity), state: RefCell::new(state) }))
    }

    /// Appends, waiting for room. Err: the queue is closed.
    pub async fn push(&self, item: T) -> Result<(), T> {
        if self.0.state.borrow().is_closed {
            return Err(item);
        }
        let slot = self.0.room.acquire(1).await;
        self.put(item, slot)
    }

    /// Appends if there is room and nobody waits for it. Err: there is none, or the queue is closed.
    pub fn try_push(&self, item: T) -> Result<(), T> {
        match self.0.room.try_acquire(1) {
            Some(slot) => self.put(item, slot),
            None => Err(item),
        }
    }

    fn put(&self, item: T, slot: Permit) -> Result<(), T> {
        let popper = {
            let mut state = self.0.state.borrow_mut();
            if state.is_closed {
                return Err(item);
            }
            state.items.push_back((item, slot));
            state.popper.take()
        };
        popper.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// The oldest item, waiting for one; `None`: the queue is closed and empty. Dropping the future loses nothing.
    pub async fn pop(&self) -> Option<T> {
        let popped = poll_fn(|context| {
            let mut state = self.0.state.borrow_mut();
            match state.items.pop_front() {
                Some(popped) => Poll::Ready(Some(popped)),
                None if state.is_closed => Poll::Ready(None),
                None => {
                    state.popper = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        });
        // The slot is given back here, outside the borrow: that wakes a pusher.
        popped.await.map(|(item, _slot)| item)
    }

    /// The oldest item, if there is one.
    pub fn try_pop(&self) -> Option<T> {
        let popped = self.0.state.borrow_mut().items.pop_front();
        popped.map(|(item, _slot)| item)
    }

    /// Items in the queue.
    pub fn len(&self) -> usize {
        self.0.state.borrow().items.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on nothing is appended; what is in it can still be popped. Who waits for room learns it as it comes up.
    pub fn close(&self) {
        let popper = {
            let mut state = self.0.state.borrow_mut();
            state.is_closed = true;
            state.popper.take()
        };
        popper.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn items_leave_in_order_and_pushers_wait_for_room() {
        let queue = Queue::new(2);
        assert_eq!((queue.try_push(1), queue.try_push(2), queue.try_push(3)), (Ok(()), Ok(()), Err(3)));
        let mut waiting = Box::pin(queue.push(4));
        assert!(block_on(poll_once(&mut waiting)).is_none());
        assert_eq!(queue.try_pop(), Some(1));
        // The slot is promised to the one who waits.
        assert_eq!(queue.try_push(5), Err(5));
        assert_eq!(block_on(waiting), Ok(()));
        assert_eq!((block_on(queue.pop()), block_on(queue.pop())), (Some(2), Some(4)));
        assert!(queue.is_empty());
        assert!(block_on(poll_once(queue.pop())).is_none());
    }

    #[test]
    fn a_closed_queue_is_emptied_and_takes_no_more() {
        let queue = Queue::new(1);
        assert_eq!(queue.try_push(1), Ok(()));
        let mut waiting = Box::pin(queue.push(2));
        assert!(block_on(poll_once(&mut waiting)).is_none());
        queue.close();
        assert_eq!(block_on(queue.pop()), Some(1));
        assert_eq!(block_on(waiting), Err(2));
        assert_eq!(block_on(queue.push(3)), Err(3));
        assert_eq!(block_on(queue.pop()), None);
    }
}
