//! Publication: every new image goes to every subscriber, with what changed; who acts on it says so.
//!
//! *Which core*: metadata; a subscriber is a task there that hands publications on to a shard.
//! *Invariants*: a subscriber sees versions rise and misses no change; it never has more than one publication waiting: what
//! it has not taken yet is joined with what follows, so that a slow one costs no memory and holds up nobody else.
//! *Not here*: the ring to the other core (mesh).
//! *Why* acknowledgements: a topic's creation is answered only when every shard of this broker knows the topic, for the
//! client's next request may reach any of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::image::{Delta, Image};
use super::wait::Signal;

/// An image, and what it changed since the publication before it.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The image.
    pub image: Arc<Image>,
    /// What changed; in a subscriber's first publication: everything there is.
    pub delta: Arc<Delta>,
}

/// All subscribers.
pub struct Publisher {
    slots: RefCell<Vec<Rc<Slot>>>,
    progress: Rc<Signal>,
}

/// One subscriber's end. Dropping it ends the subscription; nobody waits for it any more.
pub struct Subscription {
    slot: Rc<Slot>,
    progress: Rc<Signal>,
}

struct Slot {
    pending: RefCell<Option<Publication>>,
    acknowledged: Cell<u64>,
    /// By either side.
    closed: Cell<bool>,
    arrived: Signal,
}

impl Publisher {
    /// Without subscribers; `progress` is raised whenever [`Publisher::acknowledged`] may have risen.
    pub fn new(progress: Rc<Signal>) -> Publisher {
        Publisher { slots: RefCell::default(), progress }
    }

    /// A new subscriber, whose first publication is `image` as if everything in it were new.
    pub fn subscribe(&self, image: Arc<Image>) -> Subscription {
        let delta = Delta { controller: true, ..Delta::between(&Image::empty("", []), &image) };
        let first = Publication { image, delta: Arc::new(delta) };
        let slot = Rc::new(Slot {
            pending: RefCell::new(Some(first)),
            acknowledged: Cell::new(0),
            closed: Cell::new(false),
            arrived: Signal::default(),
        });
        self.slots.borrow_mut().push(slot.clone());
        Subscription { slot, progress: self.progress.clone() }
    }

    /// Hands a publication to every subscriber.
    pub fn publish(&self, publication: &Publication) {
        for slot in self.open() {
            let earlier = slot.pending.take();
            slot.pending.replace(Some(join(earlier, publication.clone())));
            slot.arrived.raise();
        }
    }

    /// The version that every subscriber acts on; `u64::MAX` without subscribers.
    pub fn acknowledged(&self) -> u64 {
        self.open().iter().map(|slot| slot.acknowledged.get()).min().unwrap_or(u64::MAX)
    }

    /// Ends all subscriptions, once what is pending is taken.
    pub fn close(&self) {
        for slot in self.open() {
            slot.closed.set(true);
            slot.arrived.raise();
        }
    }

    fn open(&self) -> Vec<Rc<Slot>> {
        let mut slots = self.slots.borrow_mut();
        slots.retain(|slot| !slot.closed.get());
        slots.clone()
    }
}

fn join(earlier: Option<Publication>, later: Publication) -> Publication {
    let Some(earlier) = earlier else { return later };
    let mut delta = Arc::unwrap_or_clone(earlier.delta);
    delta.join(Arc::unwrap_or_clone(later.delta));
    Publication { image: later.image, delta: Arc::new(delta) }
}

impl Subscription {
    /// The next publication; `None` when the node has stopped.
    pub async fn next(&self) -> Option<Publication> {
        let taken = || match self.slot.pending.take() {
            None if self.slot.closed.get() => Some(None),
            None => None,
            publication => Some(publication),
        };
        self.slot.arrived.until(taken).await
    }

    /// The subscriber acts on this version from now on, and on all before it.
    pub fn acknowledge(&self, version: u64) {
        if version > self.slot.acknowledged.get() {
            self.slot.acknowledged.set(version);
            self.progress.raise();
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.slot.closed.set(true);
        self.progress.raise();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::metadata::change::{Action, Change, CreateTopics, DeleteTopics, Id, PartitionRecord, TopicRecord};

    fn create(image: &Image, low: u64) -> Publication {
        let partition = PartitionRecord {
            partition: 0,
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            elr: vec![],
        };
        let topic = TopicRecord {
            id: Id { high: 0, low },
            name: format!("t{low}"),
            partitions: vec![partition],
            configs: Default::default(),
        };
        step(image, Action::CreateTopics(CreateTopics { topics: vec![topic] }))
    }

    fn step(image: &Image, action: Action) -> Publication {
        let (image, delta) = image.apply(image.version() + 1, &Change::new(action)).unwrap();
        Publication { image: Arc::new(image), delta: Arc::new(delta) }
    }

    #[test]
    fn a_subscriber_that_is_slow_gets_the_changes_joined_and_misses_none() {
        let publisher = Publisher::new(Rc::default());
        let start = create(&Image::empty("c", []), 1);
        let (quick, slow) = (publisher.subscribe(start.image.clone()), publisher.subscribe(start.image.clone()));
        assert_eq!(block_on(quick.next()).unwrap().delta.topics_created.len(), 1);
        assert_eq!(block_on(slow.next()).unwrap().delta.topics_created.len(), 1);
        let mut latest = start;
        for low in 2..=10 {
            latest = create(&latest.image, low);
            publisher.publish(&latest);
            assert_eq!(block_on(quick.next()).unwrap().delta.topics_created.len(), 1);
        }
        latest = step(&latest.image, Action::DeleteTopics(DeleteTopics { ids: vec![Id { high: 0, low: 5 }] }));
        publisher.publish(&latest);
        let joined = block_on(slow.next()).unwrap();
        assert_eq!(joined.image.version(), latest.image.version());
        assert_eq!((joined.delta.topics_created.len(), joined.delta.topics_deleted.len()), (8, 0));
        assert!(block_on(poll_once(slow.next())).is_none(), "one publication, not nine");
    }

    #[test]
    fn a_version_counts_once_every_open_subscriber_has_acknowledged_it() {
        let publisher = Publisher::new(Rc::default());
        assert_eq!(publisher.acknowledged(), u64::MAX);
        let image = Arc::new(Image::empty("c", []));
        let (one, two) = (publisher.subscribe(image.clone()), publisher.subscribe(image));
        one.acknowledge(7);
        assert_eq!(publisher.acknowledged(), 0);
        two.acknowledge(5);
        two.acknowledge(3);
        assert_eq!(publisher.acknowledged(), 5);
        drop(two);
        assert_eq!(publisher.acknowledged(), 7);
    }

    #[test]
    fn closing_ends_subscriptions_after_what_is_pending() {
        let publisher = Publisher::new(Rc::default());
        let subscription = publisher.subscribe(Arc::new(Image::empty("c", [])));
        publisher.close();
        assert!(block_on(subscription.next()).is_some());
        assert!(block_on(subscription.next()).is_none());
    }
}
