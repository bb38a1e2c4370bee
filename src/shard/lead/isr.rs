//! Changes of in-sync replicas: what this shard's leaders want goes to the controller in one request, with what gathered meanwhile in
//! the next.
//!
//! *Invariants*: one request under way; every proposal gets an answer, if only that nobody knows.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;

use crate::limits;
use crate::message::{Core, Reply, Request};
use crate::metadata::request as metadata_request;
use crate::partition::IsrProposal;
use crate::partition::isr::IsrAnswer;
use crate::shard::Shard;
use crate::shard::hosted::Role;

/// Proposes for as long as the shard lives.
pub(crate) async fn propose(shard: Rc<Shard>) {
    loop {
        shard.proposing.notified().await;
        // Whoever lags or returns does so with many partitions at once.
        shard.rt.yield_now().await;
        let proposals = std::mem::take(&mut shard.state.borrow_mut().proposals);
        if !proposals.is_empty() {
            let answers = shard.ask_controller(&proposals).await;
            shard.on_isr_answers(&proposals, answers.as_deref());
        }
    }
}

impl Shard {
    /// The controller's answers, in the order of the proposals; `None`: nobody knows what became of them.
    async fn ask_controller(&self, proposals: &[IsrProposal]) -> Option<Vec<IsrAnswer>> {
        let epoch = self.image().brokers().get(&self.me)?.epoch;
        let wish = metadata_request::Request::AlterIsr { broker: self.me, epoch, proposals: proposals.to_vec() };
        let asked = self.mesh.call(Core::Metadata, Request::Metadata(wish));
        let given_up = async {
            self.rt.sleep(Duration::from_millis(limits::ISR_ANSWER_MS_MAX)).await;
            None
        };
        match or(asked, given_up).await {
            Some(Reply::Metadata(Ok(metadata_request::Reply::AlterIsr(Ok(answers))))) => {
                Some(answers).filter(|answers| answers.len() == proposals.len())
            }
            _ => None,
        }
    }

    fn on_isr_answers(&self, proposals: &[IsrProposal], answers: Option<&[IsrAnswer]>) {
        let now = self.rt.now();
        let state = &mut *self.state.borrow_mut();
        let mut effects = std::mem::take(&mut state.effects);
        for (index, proposal) in proposals.iter().enumerate() {
            let answer = answers.map_or(IsrAnswer::Unknown, |answers| answers[index]);
            let IsrProposal { partition: id, leader_epoch, partition_epoch, .. } = *proposal;
            if let Some(Role::Leader(leading)) = state.partitions.get_mut(&id).map(|hosted| &mut hosted.role)
                && leading.leader.leader_epoch() == leader_epoch
            {
                tracing::info!("{id:?} in {leader_epoch:?}: in-sync replicas {:?}: {answer:?}", proposal.isr);
                leading.leader.on_isr_answer(partition_epoch, answer, now, &mut effects);
                leading.on_moved(id);
            }
        }
        self.run_effects(state, &mut effects);
        state.effects = effects;
        self.waiting.notify();
    }
}
