//! What goes out when: asks the load, takes the next partitions in turn, picks a connection with room.
//!
//! Invariants: a send that the load has handed out always goes out; a turn passes only then.

use super::Client;
use super::connection::{Connection, Kind, Part};
use crate::clock::now_ns;
use crate::figures::SharedRecorder;
use crate::load::{Load, Step};
use crate::payload::Identity;

/// Requests sent before answers are taken again, when a schedule is behind.
const BURST: usize = 256;

impl Client {
    /// Sends everything that may be sent now; what is to be awaited next. `Send` means that there is more.
    pub(super) fn send_due(&mut self, load: &mut Load, recorder: &SharedRecorder) -> Step {
        let open = matches!(load, Load::Open(_));
        for _ in 0..BURST {
            let now_ns = now_ns();
            let over = load.is_over(now_ns);
            if now_ns < self.paused_until_ns && !over {
                return Step::AwaitTime(self.paused_until_ns);
            }
            let Some(index) = self.next_group() else {
                return if over { Step::Done } else { Step::AwaitAnswer };
            };
            let partitions = self.routes.group(index).partitions.len() as u64;
            let records = partitions * u64::from(self.plan.options.batch_records);
            match load.step(now_ns, self.outstanding, records) {
                Step::Send { due_ns } => {
                    if open {
                        recorder.lock().on_sent(due_ns, now_ns, records);
                    }
                    self.send(index, due_ns);
                }
                step => return step,
            }
        }
        Step::Send { due_ns: now_ns() }
    }

    /// The group whose turn it is among those with a connection that has room.
    fn next_group(&self) -> Option<usize> {
        if !self.connections.iter().any(|connection| self.has_room(connection)) {
            return None;
        }
        let broker_has_room = |broker| self.connections.iter().any(|c| c.broker == broker && self.has_room(c));
        self.routes.peek(broker_has_room)
    }

    fn has_room(&self, connection: &Connection) -> bool {
        connection.in_flight.len() < self.in_flight_max
    }

    fn send(&mut self, index: usize, due_ns: u64) {
        let group = self.routes.group(index);
        let place = self.connection_for(group.broker).expect("the group was chosen because its broker has room");
        let connection = &mut self.connections[place];
        let options = &self.plan.options;
        let mut batches = Vec::with_capacity(group.partitions.len());
        let mut parts = Vec::with_capacity(group.partitions.len());
        for partition in &group.partitions {
            let sequence = &mut connection.sequences[*partition as usize];
            let turn = *sequence / u64::from(options.batch_records) % self.batches.len() as u64;
            let batch = &self.batches[turn as usize];
            let lane = connection.lane;
            let first = Identity { run: self.plan.run, partition: *partition, lane, sequence: *sequence, due_ns };
            batches.push((*partition, if options.carries_identity() { batch.marked(&first) } else { batch.plain() }));
            let (records, bytes) = (batch.records(), batch.value_bytes());
            parts.push(Part { partition: *partition, base_sequence: *sequence, records, bytes });
            *sequence += records;
        }
        let kind = Kind::Produce(parts);
        self.outstanding += kind.outstanding();
        let correlation_id = connection.next_correlation_id();
        connection.queue(self.produce.encode(correlation_id, &batches), correlation_id, due_ns, kind);
        self.turns.insert(group.broker, place + 1);
        self.routes.on_sent(index);
    }

    /// The next connection to this broker that has room, in turn.
    fn connection_for(&self, broker: i32) -> Option<usize> {
        let turn = self.turns.get(&broker).copied().unwrap_or(0);
        let count = self.connections.len();
        (0..count).map(|step| (turn + step) % count).find(|place| {
            let connection = &self.connections[*place];
            connection.broker == broker && self.has_room(connection)
        })
    }

    /// Sends an empty request on a connection: what an answer costs when nothing is written.
    pub(super) fn send_probe(&mut self, place: usize) {
        let connection = &mut self.connections[place];
        let correlation_id = connection.next_correlation_id();
        let mut frame = self.probe.clone();
        // Length, API key and version stand before it.
        frame[8..12].copy_from_slice(&correlation_id.to_be_bytes());
        self.outstanding += Kind::Probe.outstanding();
        connection.queue(vec![frame.freeze()], correlation_id, now_ns(), Kind::Probe);
    }
}
