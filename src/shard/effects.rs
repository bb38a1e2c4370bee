//! Doing what the partitions' cores decided.

use crate::message::ProduceError;
use crate::partition::{Effect, Effects};
use crate::shard::{Shard, State};

impl Shard {
    /// Executes and clears `effects`, in order.
    pub(crate) fn run_effects(&self, state: &mut State, effects: &mut Effects) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Answer { ticket, outcome } => self.settle(state, ticket, outcome.map_err(ProduceError::from)),
                Effect::Wake(ticket) => {
                    if let Some(watch) = state.watches.get(ticket.0 as usize) {
                        watch.notify();
                    }
                }
                Effect::ProposeIsr(proposal) => {
                    state.proposals.push(*proposal);
                    self.proposing.notify();
                }
            }
        }
    }
}
