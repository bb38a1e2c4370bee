//! A turn of the machine: what raft has ready is taken over, what is committed is applied, what counts is answered.
//!
//! *Which core*: metadata. *Invariants*: an entry is applied once, in order; a request is answered in the order of its change.

use std::sync::Arc;

use raft::eraftpb::{Entry, EntryType};
use raft::{Ready, StateRole};

use super::{Job, Machine, Output};
use crate::metadata::change::Change;
use crate::metadata::image::{Delta, Image};
use crate::metadata::node::report;
use crate::metadata::publish::Publication;
use crate::metadata::raft_log::record::LogRecord;
use crate::metadata::raft_log::tail::{SnapshotImage, TAIL_BYTES_FOR_SLOW_MAX};
use crate::metadata::request::SubmitError;
use crate::rt::Monotonic;

impl Machine {
    /// Takes all that raft has ready, applies what is committed, and answers what counts now.
    pub(in crate::metadata::node) fn turn(&mut self, acknowledged: u64, now: Monotonic) -> Output {
        let mut output = Output::default();
        let mut delta = Delta::default();
        let before = self.image.clone();
        self.watch_leadership();
        while self.raw.has_ready() && output.fault.is_none() {
            let ready = self.raw.ready();
            self.take(ready, &mut output, &mut delta);
        }
        self.watch_leadership();
        if self.image.controller() != self.controller() {
            self.image = Arc::new(self.image.with_controller(self.controller()));
            delta.controller = true;
        }
        if !Arc::ptr_eq(&before, &self.image) {
            output.publication = Some(Publication { image: self.image.clone(), delta: Arc::new(delta) });
            let keep_above = self.keep_above.unwrap_or(u64::MAX).min(self.image.version());
            let bytes_max = self.tail_bytes_max;
            let needed_above = self.held_by_all_heard(now).min(keep_above);
            let store = self.raw.mut_store();
            store.trim(needed_above, bytes_max);
            store.trim(keep_above, TAIL_BYTES_FOR_SLOW_MAX);
        }
        for waiting in self.waiting.iter_mut().take_while(|waiting| waiting.version <= self.image.version()) {
            if std::mem::take(&mut waiting.in_flight) {
                output.committed.push(now.since(waiting.submitted));
            }
        }
        output.led_term = (self.raw.raft.leader_id != 0).then_some(self.raw.raft.term);
        self.answer_up_to(acknowledged.min(self.image.version()));
        output
    }

    fn take(&mut self, mut ready: Ready, output: &mut Output, delta: &mut Delta) {
        output.messages.extend(ready.take_messages());
        let number = ready.number();
        let snapshot = (!ready.snapshot().is_empty()).then(|| snapshot_image(ready.snapshot()));
        let store = self.raw.mut_store();
        if let Some(snapshot) = &snapshot {
            store.restart_at(snapshot.clone());
        }
        if let Some(hard_state) = ready.hs() {
            store.set_hard_state(hard_state.clone());
        }
        store.append(ready.entries().iter().cloned()).expect("raft appends without gaps");
        let record = LogRecord::of(store.hard_state(), ready.entries());
        let messages = ready.take_persisted_messages();
        if let Some(snapshot) = snapshot {
            output.jobs.push(Job::Install { number, snapshot, record, messages });
        } else if ready.must_sync() || !messages.is_empty() {
            // A commit index alone waits for the next record: a restart finds it again.
            let payload = ready.must_sync().then(|| record.to_payload());
            output.jobs.push(Job::Record { number, payload, messages });
        }
        let committed = ready.take_committed_entries();
        self.raw.advance_append_async(ready);
        for entry in committed {
            if let Err(fault) = self.apply(&entry, delta) {
                output.fault = Some(fault);
                return;
            }
            self.raw.advance_apply_to(entry.index);
        }
    }

    fn apply(&mut self, entry: &Entry, delta: &mut Delta) -> Result<(), String> {
        if entry.get_entry_type() != EntryType::EntryNormal {
            return Err(format!("entry {}: a change of membership, which this build does not know", entry.index));
        }
        if entry.data.is_empty() {
            self.image = Arc::new(self.image.skip(entry.index));
        } else {
            let change = Change::from_bytes(&entry.data).map_err(|error| format!("entry {}: {error}", entry.index))?;
            let (image, step) = self.image.apply(entry.index, &change).map_err(|error| error.to_string())?;
            if self.reign.is_some() {
                report::report(&self.image, &image, &change);
            }
            self.image = Arc::new(image);
            delta.join(step);
        }
        let raft = &self.raw.raft;
        if raft.state == StateRole::Leader && entry.term == raft.term && self.reign != Some(raft.term) {
            // Everything from before this term is applied: from here on this node may decide.
            self.reign = Some(entry.term);
            self.elections += 1;
            self.proposed = Image::clone(&self.image);
        }
        Ok(())
    }

    /// Whoever led and does so no more does not know what becomes of what it proposed.
    pub(super) fn watch_leadership(&mut self) {
        let raft = &self.raw.raft;
        let leads = raft.state == StateRole::Leader && self.reign == Some(raft.term);
        if self.reign.is_some() && !leads {
            self.reign = None;
            let applied = self.waiting.partition_point(|waiting| waiting.version <= self.image.version());
            for waiting in self.waiting.drain(applied..) {
                waiting.answer.send(Err(SubmitError::Unknown));
            }
        }
    }

    fn answer_up_to(&mut self, version: u64) {
        let counting = self.waiting.partition_point(|waiting| waiting.version <= version);
        for waiting in self.waiting.drain(..counting) {
            waiting.answer.send(Ok(waiting.reply));
        }
    }
}

fn snapshot_image(snapshot: &raft::eraftpb::Snapshot) -> SnapshotImage {
    let metadata = snapshot.get_metadata();
    let conf_state = metadata.get_conf_state().clone();
    SnapshotImage { index: metadata.index, term: metadata.term, conf_state, image: snapshot.data.clone() }
}
