//! Who was heard when: what the controller knows of brokers beside the image, for the time that it is in office.
//!
//! *Which core*: metadata. Pure: the time is passed in.
//! *Invariants*: nobody is silent for too long before the controller itself has listened for that long.
//! *Not here*: what follows from silence (`brokers`).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::metadata::image::Image;
use crate::model::BrokerId;
use crate::rt::Monotonic;

/// See the module.
#[derive(Clone, Debug)]
pub struct Liveness {
    session: Duration,
    listening_since: Monotonic,
    heard: BTreeMap<BrokerId, Heard>,
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    at: Monotonic,
    /// The version of the image that all of it acts on.
    applied: u64,
}

impl Liveness {
    /// Listening from now on, as a new controller does.
    pub fn new(session: Duration, now: Monotonic) -> Liveness {
        Liveness { session, listening_since: now, heard: BTreeMap::new() }
    }

    /// The broker's present incarnation was heard; one that has just registered acts on nothing yet.
    pub fn on_heard(&mut self, broker: BrokerId, applied: u64, now: Monotonic) {
        self.heard.insert(broker, Heard { at: now, applied });
    }

    /// Brokers that are not fenced and were silent for a session.
    pub fn expired(&self, image: &Image, now: Monotonic) -> Vec<BrokerId> {
        let silent = |broker: &BrokerId| {
            let since = self.heard.get(broker).map_or(self.listening_since, |heard| heard.at.max(self.listening_since));
            now.since(since) >= self.session
        };
        image.brokers().values().filter(|broker| !broker.fenced).map(|broker| broker.id).filter(silent).collect()
    }

    /// The version that every live broker acts on, as far as it was heard.
    pub fn known_everywhere(&self, image: &Image) -> u64 {
        let applied = |id| self.heard.get(&id).map_or(0, |heard| heard.applied);
        image.live_brokers().map(|broker| applied(broker.id)).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{image_of, register_and_unfence};
    use super::*;

    const SESSION: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Monotonic {
        Monotonic(ms * 1_000_000)
    }

    #[test]
    fn a_new_controller_listens_for_a_session_before_it_fences_anybody() {
        let image = register_and_unfence(image_of(3), 3);
        let mut liveness = Liveness::new(SESSION, at(10_000));
        assert_eq!(liveness.expired(&image, at(11_999)), []);
        liveness.on_heard(BrokerId(2), 0, at(11_000));
        assert_eq!(liveness.expired(&image, at(12_000)), [BrokerId(1), BrokerId(3)]);
        assert_eq!(liveness.expired(&image, at(13_000)), [BrokerId(1), BrokerId(2), BrokerId(3)]);
    }

    #[test]
    fn what_one_live_broker_has_not_said_to_know_is_not_known_everywhere() {
        let image = register_and_unfence(image_of(3), 2);
        let mut liveness = Liveness::new(SESSION, at(0));
        liveness.on_heard(BrokerId(1), 7, at(1));
        assert_eq!(liveness.known_everywhere(&image), 0);
        liveness.on_heard(BrokerId(2), 9, at(1));
        assert_eq!(liveness.known_everywhere(&image), 7);
    }
}
