//! What an answer says, and what follows from it.
//!
//! Invariants: every batch of a request is accounted for by its answer: acknowledged, failed, or failed for not being mentioned.

use anyhow::{Context, Result};
use bytes::Bytes;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceResponse, ResponseHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion};

use super::Client;
use super::connection::{InFlight, Kind, Part};
use crate::clock::now_ns;
use crate::figures::{Counts, SharedRecorder};
use crate::wire;

impl Client {
    /// Reads a connection and takes the answers that are whole.
    pub(super) fn receive(&mut self, place: usize, recorder: &SharedRecorder) -> Result<()> {
        let read = self.connections[place].read(&mut self.scratch);
        let now_ns = now_ns();
        while let Some((request, answer)) = self.connections[place].next_answer()? {
            self.outstanding -= request.kind.outstanding();
            match &request.kind {
                // What the broker offers is known; only the time matters.
                Kind::Probe => {
                    recorder.lock().on_probe(request.due_ns, now_ns);
                }
                Kind::Produce(parts) => self.on_produced(place, &request, parts, answer, now_ns, recorder)?,
            }
        }
        read
    }

    fn on_produced(
        &mut self,
        place: usize,
        request: &InFlight,
        parts: &[Part],
        mut answer: Bytes,
        now_ns: u64,
        recorder: &SharedRecorder,
    ) -> Result<()> {
        let version = self.produce.version;
        ResponseHeader::decode(&mut answer, ProduceResponse::header_version(version))
            .context("not a response header")?;
        let response = ProduceResponse::decode(&mut answer, version).context("not an answer to Produce")?;
        let results: Vec<&PartitionProduceResponse> =
            response.responses.iter().flat_map(|topic| &topic.partition_responses).collect();
        let mut failed = false;
        let mut recorder = recorder.lock();
        for (place_asked, part) in parts.iter().enumerate() {
            // Brokers answer in the order asked, as a rule.
            let is_it = |result: &&&PartitionProduceResponse| result.index == part.partition as i32;
            let result = results.get(place_asked).filter(is_it).or_else(|| results.iter().find(is_it));
            match result {
                Some(result) if result.error_code == 0 => {
                    recorder.on_answer(request.due_ns, now_ns, Counts { messages: part.records, bytes: part.bytes });
                    if self.plan.options.audit {
                        let lane = self.connections[place].lane;
                        let (base_offset, base_sequence) = (result.base_offset, part.base_sequence);
                        self.ledger.on_acknowledged(part.partition, base_offset, lane, base_sequence, part.records);
                    }
                }
                Some(result) => {
                    failed = true;
                    recorder.on_failure(&wire::error_name(result.error_code), part.records);
                }
                None => {
                    failed = true;
                    recorder.on_failure("MissingInAnswer", part.records);
                }
            }
        }
        drop(recorder);
        if failed {
            self.pause();
        } else if self.plan.options.probe {
            self.send_probe(place);
        }
        Ok(())
    }

    /// acks=0: a request is done once it is written. Whether any was.
    pub(super) fn take_written(&mut self, recorder: &SharedRecorder) -> bool {
        let now_ns = now_ns();
        let mut any = false;
        for connection in &mut self.connections {
            while let Some(request) = connection.next_written() {
                any = true;
                self.outstanding -= request.kind.outstanding();
                if let Kind::Produce(parts) = &request.kind {
                    for part in parts {
                        let counts = Counts { messages: part.records, bytes: part.bytes };
                        recorder.lock().on_answer(request.due_ns, now_ns, counts);
                    }
                }
            }
        }
        any
    }
}
