//! Fetches that found too little and wait for the high watermark: each is woken once per move, never polled (lesson 86).
//!
//! *Which core*: the leader's shard. *Not here*: deadlines; a fetch spans partitions, so its own task keeps them.

/// The shard's name for a parked fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchTicket(pub u64);

/// The fetches parked at one partition.
#[derive(Debug, Default)]
pub struct FetchWaiters {
    parked: Vec<(FetchTicket, i64)>,
}

impl FetchWaiters {
    /// Wakes `ticket` when the high watermark passes `offset`.
    pub fn park(&mut self, ticket: FetchTicket, offset: i64) {
        self.parked.push((ticket, offset));
    }

    /// Forgets `ticket`: it was answered, or its client is gone.
    pub fn unpark(&mut self, ticket: FetchTicket) {
        self.parked.retain(|(parked, _)| *parked != ticket);
    }

    /// The high watermark is now `rung`: names those it has passed. They stay parked until they say otherwise.
    pub fn on_high_watermark(&self, rung: i64, mut wake: impl FnMut(FetchTicket)) {
        self.parked.iter().filter(|(_, offset)| *offset < rung).for_each(|(ticket, _)| wake(*ticket));
    }

    /// Something that every fetch must hear of: leadership lost, log offline.
    pub fn wake_all(&self, mut wake: impl FnMut(FetchTicket)) {
        self.parked.iter().for_each(|(ticket, _)| wake(*ticket));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fetches_below_the_high_watermark_wake() {
        let mut waiters = FetchWaiters::default();
        waiters.park(FetchTicket(1), 5);
        waiters.park(FetchTicket(2), 6);
        let mut woken = Vec::new();
        waiters.on_high_watermark(6, |t| woken.push(t.0));
        assert_eq!(woken, [1]);
        waiters.unpark(FetchTicket(1));
        waiters.on_high_watermark(7, |t| woken.push(t.0));
        assert_eq!(woken, [1, 2]);
    }
}
