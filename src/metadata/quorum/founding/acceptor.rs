//! What one broker has promised and accepted while a cluster is founded: the acceptor of single-decree Paxos.
//!
//! *Which core*: metadata. Pure.
//! *Invariants*: of all charters only one is ever accepted by a majority of the named voters in one ballot, and every later
//! ballot finds it; promises and acceptances are durable before they are told (the caller writes [`Acceptor::to_bytes`]).
//! *Why* Paxos for something that happens once: brokers start in any order, fail at any point and come back, and whatever they
//! heard from each other by then, there must not be two clusters. Source: Lamport, Paxos Made Simple (2001).

use prost::Message;

use super::charter::{AcceptedRecord, Ballot, BallotRecord, Charter, CharterRecord};
use crate::model::BrokerId;

/// The version of the file.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acceptor {
    promised: Option<Ballot>,
    accepted: Option<(Ballot, Charter)>,
    /// The charter, once it is known to be accepted by a majority.
    chosen: Option<Charter>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AcceptorRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, optional, tag = "2")]
    promised: Option<BallotRecord>,
    #[prost(message, optional, tag = "3")]
    accepted: Option<AcceptedRecord>,
    #[prost(message, optional, tag = "4")]
    chosen: Option<CharterRecord>,
}

impl Acceptor {
    /// Promises to take part in no earlier ballot; gives what was accepted last.
    ///
    /// # Errors
    /// It is promised to a later one.
    pub fn on_prepare(&mut self, ballot: Ballot) -> Result<Option<(Ballot, Charter)>, Ballot> {
        self.reach(ballot)?;
        Ok(self.accepted.clone())
    }

    /// Accepts a charter.
    ///
    /// # Errors
    /// It is promised to a later ballot.
    pub fn on_accept(&mut self, ballot: Ballot, charter: Charter) -> Result<(), Ballot> {
        self.reach(ballot)?;
        self.accepted = Some((ballot, charter));
        Ok(())
    }

    fn reach(&mut self, ballot: Ballot) -> Result<(), Ballot> {
        match self.promised {
            Some(promised) if promised > ballot => Err(promised),
            Some(_) | None => {
                self.promised = Some(ballot);
                Ok(())
            }
        }
    }

    /// A majority has accepted this charter.
    pub fn on_chosen(&mut self, charter: Charter) {
        assert!(self.chosen.as_ref().is_none_or(|known| *known == charter), "a cluster is founded once");
        self.chosen = Some(charter);
    }

    /// The charter that was chosen, if it is known here.
    pub fn chosen(&self) -> Option<&Charter> {
        self.chosen.as_ref()
    }

    /// A ballot of `node` that goes before all that were seen, `seen` among them.
    pub fn next_ballot(&self, node: BrokerId, seen: Option<Ballot>) -> Ballot {
        let round = self.promised.max(seen).map_or(1, |ballot| ballot.round + 1);
        Ballot { round, node }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let record = AcceptorRecord {
            format: FORMAT,
            promised: self.promised.map(BallotRecord::from),
            accepted: self.accepted.as_ref().map(AcceptedRecord::of),
            chosen: self.chosen.as_ref().map(CharterRecord::from),
        };
        let body = record.encode_to_vec();
        [&crc32c::crc32c(&body).to_be_bytes()[..], &body].concat()
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// They are damaged, or of a newer build.
    pub fn from_bytes(bytes: &[u8]) -> Result<Acceptor, String> {
        let (crc, body) = bytes.split_first_chunk().ok_or("it is cut short")?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return Err("its checksum does not fit".into());
        }
        let record = AcceptorRecord::decode(body).map_err(|error| error.to_string())?;
        if record.format != FORMAT {
            return Err(format!("format {}, this build knows {FORMAT}", record.format));
        }
        Ok(Acceptor {
            promised: record.promised.map(Ballot::from),
            accepted: record.accepted.map(AcceptedRecord::read).transpose()?,
            chosen: record.chosen.map(CharterRecord::charter).transpose()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use proptest::prelude::*;

    use super::*;

    fn ballot(round: u64, node: i32) -> Ballot {
        Ballot { round, node: BrokerId(node) }
    }

    fn charter(name: &str) -> Charter {
        Charter { cluster_id: name.into(), voters: (1..=5).map(|node| (BrokerId(node), None)).collect() }
    }

    #[test]
    fn a_promise_shuts_out_earlier_ballots_and_tells_what_was_accepted() {
        let mut acceptor = Acceptor::default();
        assert_eq!(acceptor.on_prepare(ballot(1, 2)), Ok(None));
        assert_eq!(acceptor.on_prepare(ballot(1, 1)), Err(ballot(1, 2)));
        assert_eq!(acceptor.on_accept(ballot(1, 1), charter("a")), Err(ballot(1, 2)));
        assert_eq!(acceptor.on_accept(ballot(1, 2), charter("b")), Ok(()));
        assert_eq!(acceptor.on_prepare(ballot(2, 1)), Ok(Some((ballot(1, 2), charter("b")))));
        assert_eq!(acceptor.next_ballot(BrokerId(3), Some(ballot(7, 1))), ballot(8, 3));
    }

    #[test]
    fn the_file_reads_back_and_damage_is_noticed() {
        let mut acceptor = Acceptor::default();
        acceptor.on_accept(ballot(1, 2), charter("a")).unwrap();
        acceptor.on_chosen(charter("a"));
        let bytes = acceptor.to_bytes();
        assert_eq!(Acceptor::from_bytes(&bytes), Ok(acceptor));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Acceptor::from_bytes(&damaged).is_err(), "byte {at}");
            assert!(Acceptor::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    proptest! {
        /// Founders that come between each other, fail at any point and lose any message: one charter at most is chosen.
        #[test]
        fn one_charter_is_chosen_whatever_is_lost(
            steps in proptest::collection::vec((0usize..5, 0usize..5, 0u8..4), 1..200),
        ) {
            let mut acceptors = vec![Acceptor::default(); 5];
            let mut founders = vec![Founder::default(); 5];
            let mut chosen: Option<Charter> = None;
            for (founder, acceptor, step) in steps {
                let node = BrokerId(founder as i32 + 1);
                let state = &mut founders[founder];
                match (step, state.ballot) {
                    (0, _) | (_, None) => *state = Founder {
                        ballot: Some(acceptors[founder].next_ballot(node, state.ballot)),
                        ..Founder::default()
                    },
                    (1, Some(ballot)) if state.charter.is_none() => {
                        if let Ok(accepted) = acceptors[acceptor].on_prepare(ballot) {
                            state.promised.insert(acceptor, accepted);
                        }
                        if state.promised.len() >= 3 {
                            let newest = state.promised.values().flatten().max_by_key(|(ballot, _)| *ballot);
                            let own = || charter(&format!("of {founder}"));
                            state.charter = Some(newest.map_or_else(own, |(_, charter)| charter.clone()));
                        }
                    }
                    (2, Some(ballot)) => if let Some(charter) = &state.charter {
                        if acceptors[acceptor].on_accept(ballot, charter.clone()).is_ok() {
                            state.accepted.insert(acceptor);
                        }
                        if state.accepted.len() >= 3 {
                            prop_assert_eq!(chosen.get_or_insert(charter.clone()), charter);
                        }
                    },
                    _ => {}
                }
            }
        }
    }

    #[derive(Clone, Default)]
    struct Founder {
        ballot: Option<Ballot>,
        promised: std::collections::BTreeMap<usize, Option<(Ballot, Charter)>>,
        charter: Option<Charter>,
        accepted: std::collections::BTreeSet<usize>,
    }
}
