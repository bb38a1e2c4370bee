//! Which partitions the next request carries: round-robin over all partitions, each group led by one broker.
//!
//! Invariants: pure; every partition is in exactly one group; the turn passes only when a request was really sent.

use std::collections::BTreeMap;

/// Partitions that one request can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Who leads them all.
    pub broker: i32,
    /// The partitions.
    pub partitions: Vec<u32>,
}

/// The groups, and whose turn it is.
#[derive(Clone, Debug)]
pub struct Routes {
    groups: Vec<Group>,
    next: usize,
}

impl Routes {
    /// Groups of up to `per_request` partitions of the same leader.
    pub fn new(leaders: &[i32], per_request: u32) -> Self {
        let mut led: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for (partition, leader) in (0..).zip(leaders) {
            led.entry(*leader).or_default().push(partition);
        }
        let mut groups: Vec<Group> = led
            .iter()
            .flat_map(|(broker, partitions)| partitions.chunks(per_request as usize).map(|chunk| (*broker, chunk)))
            .map(|(broker, chunk)| Group { broker, partitions: chunk.to_vec() })
            .collect();
        // By first partition, so that brokers alternate as their partitions do.
        groups.sort_by_key(|group| group.partitions[0]);
        Self { groups, next: 0 }
    }

    /// Starts another thread's turns elsewhere.
    pub fn start_at(&mut self, turn: usize) {
        self.next = turn % self.groups.len().max(1);
    }

    /// The next group whose broker `has_room`, and its index.
    pub fn peek(&self, mut has_room: impl FnMut(i32) -> bool) -> Option<usize> {
        let count = self.groups.len();
        (0..count).map(|step| (self.next + step) % count).find(|index| has_room(self.groups[*index].broker))
    }

    /// A group.
    pub fn group(&self, index: usize) -> &Group {
        &self.groups[index]
    }

    /// A request for this group was sent.
    pub fn on_sent(&mut self, index: usize) {
        self.next = (index + 1) % self.groups.len();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn partitions_take_turns() {
        let mut routes = Routes::new(&[1, 2, 1, 2, 1], 1);
        let mut order = Vec::new();
        for _ in 0..6 {
            let index = routes.peek(|_| true).unwrap();
            order.push(routes.group(index).partitions[0]);
            routes.on_sent(index);
        }
        assert_eq!(order, [0, 1, 2, 3, 4, 0]);
    }

    #[test]
    fn a_full_broker_is_passed_over() {
        let routes = Routes::new(&[1, 2, 1, 2], 1);
        assert_eq!(routes.group(routes.peek(|broker| broker == 2).unwrap()).partitions, [1]);
        assert_eq!(routes.peek(|_| false), None);
    }

    #[test]
    fn groups_share_a_leader_and_cover_every_partition_once() {
        let routes = Routes::new(&[1, 2, 1, 1, 2], 2);
        let groups: Vec<(i32, Vec<u32>)> =
            (0..3).map(|index| (routes.group(index).broker, routes.group(index).partitions.clone())).collect();
        assert_eq!(groups, [(1, vec![0, 2]), (2, vec![1, 4]), (1, vec![3])]);
    }
}
