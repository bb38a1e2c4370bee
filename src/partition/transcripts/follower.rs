//! A follower's transcripts.
//!
//! ```text
//! > follow 5 start=0 high=3 flushed=9 end=9 epochs=0:0,3:7     the log of before, and a new reign
//! > open
//! > answer 1 Agreed | NotYet | Fenced | BeginAt 7 | Diverging 3 8      to opening 1
//! > cut 8 | begun 7                               done
//! > data high=5 start=0 9..11@3 11..12@5          the batches, and which leader wrote each; opening= and leader_epoch= are as
//!                                                 they should be unless they are named
//! > flush 12 | trimmed 4 | disconnect
//! ```

use std::fmt::Write as _;

use storage::epochs::EpochCache;

use super::{Input, offsets};
use crate::model::LeaderEpoch;
use crate::partition::follower::{Effect, Follower, LeaderFault};
use crate::partition::ladder::{FlushedEndOffset, LogEndOffset, LogStartOffset};
use crate::partition::replication::{BatchSpan, Data, OpeningAnswer, OpeningRequest};

#[derive(Default)]
pub(super) struct Stage {
    follower: Option<Follower>,
    epochs: EpochCache,
    opening: u32,
}

impl super::Stage for Stage {
    fn perform(&mut self, input: &Input) -> String {
        let mut text = String::new();
        match self.apply(input) {
            Ok(Some(effect)) => writeln!(text, "{}", self.describe(effect)).unwrap(),
            Ok(None) => {}
            Err(error) => writeln!(text, "refused: {error}").unwrap(),
        }
        let follower = self.follower.as_ref().unwrap();
        let trim = follower.trim().map_or(String::new(), |to| format!(", trims to {}", to.0));
        let ack = follower.ack().map_or("says nothing".to_owned(), |ack| {
            format!("acknowledges {} in opening {}", ack.flushed_end_offset, ack.opening)
        });
        writeln!(text, "{}, {ack}{trim}", offsets(follower.ladder())).unwrap();
        text
    }
}

impl Stage {
    fn apply(&mut self, input: &Input) -> Result<Option<Effect>, LeaderFault> {
        if input.verb == "follow" {
            let leader_epoch = LeaderEpoch(input.number(0) as i32);
            *self = Stage { follower: None, epochs: input.epochs(), opening: 0 };
            self.follower = Some(Follower::new(leader_epoch, input.ladder()));
            return Ok(None);
        }
        let follower = self.follower.as_mut().unwrap();
        match input.verb {
            "open" => return Ok(Some(follower.open(&self.epochs))),
            "answer" => return follower.on_answer(input.number(0) as u32, answer(input), &self.epochs),
            "data" => self.data(input)?,
            "cut" => {
                self.epochs.truncate_from_end(input.number(0));
                follower.on_cut(LogEndOffset(input.number(0)));
            }
            "begun" => {
                self.epochs = EpochCache::default();
                follower.on_begun(LogStartOffset(input.number(0)));
            }
            "flush" => follower.on_flushed(FlushedEndOffset(input.number(0))),
            "trimmed" => follower.on_trimmed(LogStartOffset(input.number(0))),
            "disconnect" => follower.on_disconnected(),
            verb => panic!("what is {verb}?"),
        }
        Ok(None)
    }

    fn data(&mut self, input: &Input) -> Result<(), LeaderFault> {
        let follower = self.follower.as_mut().unwrap();
        let batches: Vec<BatchSpan> = input.words.iter().filter_map(|word| span(word)).collect();
        let data = Data {
            leader_epoch: input
                .value("leader_epoch")
                .map_or(follower.leader_epoch(), |epoch| LeaderEpoch(epoch as i32)),
            opening: input.value("opening").map_or(self.opening, |opening| opening as u32),
            high_watermark: input.value("high").unwrap_or(0),
            log_start_offset: input.value("start").unwrap_or(0),
            batches: &batches,
        };
        if follower.on_data(&data)? {
            batches.iter().for_each(|batch| self.epochs.assign(batch.leader_epoch, batch.base_offset));
            follower.on_appended(LogEndOffset(batches.last().unwrap().end_offset));
        }
        Ok(())
    }

    fn describe(&mut self, effect: Effect) -> String {
        match effect {
            Effect::Ask(OpeningRequest { leader_epoch, opening, end_offset, last_epoch }) => {
                self.opening = opening;
                let epoch = last_epoch.map_or("empty".to_owned(), |epoch| format!("the last epoch is {}", epoch.0));
                format!("opening {opening} in leader epoch {}: my log ends at {end_offset}, {epoch}", leader_epoch.0)
            }
            Effect::Cut(to) => format!("cut to {}", to.0),
            Effect::BeginAt(at) => format!("begin anew at {}", at.0),
            Effect::Follow => "the logs agree".to_owned(),
            Effect::TryLater => "try later".to_owned(),
        }
    }
}

fn answer(input: &Input) -> OpeningAnswer {
    match input.word(1) {
        "Agreed" => OpeningAnswer::Agreed,
        "NotYet" => OpeningAnswer::NotYet,
        "Fenced" => OpeningAnswer::Fenced,
        "BeginAt" => OpeningAnswer::BeginAt(input.number(2)),
        "Diverging" => {
            OpeningAnswer::Diverging { leader_epoch: LeaderEpoch(input.number(2) as i32), end_offset: input.number(3) }
        }
        other => panic!("{other}?"),
    }
}

/// `9..11@3`
fn span(word: &str) -> Option<BatchSpan> {
    let (offsets, epoch) = word.split_once('@')?;
    let (base, end) = offsets.split_once("..")?;
    let (base_offset, end_offset) = (base.parse().unwrap(), end.parse().unwrap());
    Some(BatchSpan { base_offset, end_offset, leader_epoch: LeaderEpoch(epoch.parse().unwrap()) })
}
