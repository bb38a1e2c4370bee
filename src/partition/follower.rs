//! A follower of a partition: its log becomes its leader's, and it says how far it has flushed.
//!
//! *Which core*: the shard that owns the partition.
//! *Invariants*: nothing is appended before its log and the leader's agree, and only at its very end; it is cut by epochs alone,
//! never to the high watermark (KIP-101); what was said in an earlier opening is neither taken nor given; the high watermark
//! never falls within a leader epoch, and never passes what is flushed here.
//! *Not here*: the bytes and their checksums, time (the loop decides when to try again), and cutting: storage does not cut a log
//! while a flush of it is in flight, so no flushed end of before a cut comes after it.

use storage::epochs::EpochCache;

use crate::model::LeaderEpoch;
use crate::partition::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogEndOffset, LogStartOffset};
use crate::partition::opening;
use crate::partition::replication::{Data, OpeningAnswer, OpeningRequest, ReplicaAck};

/// What must happen next on the way to agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the leader.
    Ask(OpeningRequest),
    /// Cut the log to this end, and the epochs that began there or later, durably; then [`Follower::on_cut`]. Where the log ends
    /// there already, it is only the epochs.
    Cut(LogEndOffset),
    /// Drop the log and begin a new one here, durably; then [`Follower::on_begun`].
    BeginAt(LogStartOffset),
    /// The logs agree: say what is flushed, and data comes.
    Follow,
    /// Open again in a while, or when metadata has come.
    TryLater,
}

/// Why what the leader sent can't be. The stream is to be closed, and opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaderFault {
    /// The leader reigns in an epoch that the metadata here does not have yet (lesson 22).
    #[error("leader epoch {0:?} is not known yet")]
    UnknownLeaderEpoch(LeaderEpoch),
    /// The sender's reign is over.
    #[error("leader epoch {0:?} is over")]
    FencedLeaderEpoch(LeaderEpoch),
    /// A batch does not begin where the one before, or the log, ends; or it ends before it begins.
    #[error("a batch at {base_offset}..{end_offset} where {expected} comes next")]
    NotContiguous {
        /// The offset that comes next.
        expected: i64,
        /// Where the batch begins.
        base_offset: i64,
        /// And where it ends.
        end_offset: i64,
    },
    /// A batch's epoch is older than the one before, or newer than the leader's.
    #[error("a batch of {batch:?} after {last:?}")]
    EpochOrder {
        /// The batch's.
        batch: LeaderEpoch,
        /// That of the record before it.
        last: Option<LeaderEpoch>,
    },
    /// An answer that takes nothing away would be asked for again for ever.
    #[error("the answer to an opening agrees with nothing and takes nothing away")]
    NoProgress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is asked.
    Idle,
    /// An answer to the newest opening is awaited.
    Asked,
    /// The log is being cut.
    Cutting,
    /// The logs agree.
    Following,
}

/// A follower's state.
#[derive(Debug)]
pub struct Follower {
    leader_epoch: LeaderEpoch,
    ladder: Ladder,
    leader_high_watermark: i64,
    leader_log_start: i64,
    /// The epoch of the last record, as of the newest opening and since.
    last_epoch: Option<LeaderEpoch>,
    opening: u32,
    stage: Stage,
}

impl Follower {
    /// Begins to follow the leader of `leader_epoch`, with the log as `ladder` has it.
    pub fn new(leader_epoch: LeaderEpoch, ladder: Ladder) -> Follower {
        Follower {
            leader_epoch,
            ladder,
            leader_high_watermark: 0,
            leader_log_start: 0,
            last_epoch: None,
            opening: 0,
            stage: Stage::Idle,
        }
    }

    /// The epoch it follows in.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The partition's offsets, as this replica has them.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// The stream to the leader is up, the log is cut, or it is time to try again. `epochs` are those of the log here. An epoch in
    /// which this replica led and wrote nothing goes first: the leader's records may be older, and would be taken for its own.
    pub fn open(&mut self, epochs: &EpochCache) -> Effect {
        assert_ne!(self.stage, Stage::Cutting, "a log is opened while it is cut");
        let end_offset = self.ladder.log_end().0;
        let is_empty = end_offset == self.ladder.log_start().0;
        self.last_epoch = if is_empty { None } else { epochs.epoch_at(end_offset - 1) };
        assert!(is_empty || self.last_epoch.is_some(), "no epoch is known of the record before {end_offset}");
        if epochs.latest() > self.last_epoch {
            self.stage = Stage::Cutting;
            return Effect::Cut(LogEndOffset(end_offset));
        }
        self.opening += 1;
        self.stage = Stage::Asked;
        let Follower { leader_epoch, opening, last_epoch, .. } = *self;
        Effect::Ask(OpeningRequest { leader_epoch, opening, end_offset, last_epoch })
    }

    /// The stream has broken. A cut that has begun goes on.
    pub fn on_disconnected(&mut self) {
        if self.stage != Stage::Cutting {
            self.stage = Stage::Idle;
        }
    }

    /// The leader's answer to the opening of this number; `None`: it is not the one that is awaited.
    pub fn on_answer(
        &mut self,
        opening: u32,
        answer: OpeningAnswer,
        epochs: &EpochCache,
    ) -> Result<Option<Effect>, LeaderFault> {
        if self.stage != Stage::Asked || opening != self.opening {
            return Ok(None);
        }
        let (stage, effect) = match answer {
            OpeningAnswer::Agreed => (Stage::Following, Effect::Follow),
            OpeningAnswer::NotYet | OpeningAnswer::Fenced => (Stage::Idle, Effect::TryLater),
            OpeningAnswer::BeginAt(log_start) => (Stage::Cutting, Effect::BeginAt(LogStartOffset(log_start))),
            OpeningAnswer::Diverging { leader_epoch, end_offset } => {
                let log_end = self.ladder.log_end().0;
                let to = opening::cut(epochs, log_end, leader_epoch, end_offset);
                if to >= log_end {
                    return Err(LeaderFault::NoProgress);
                }
                (Stage::Cutting, Effect::Cut(LogEndOffset(to.max(self.ladder.log_start().0))))
            }
        };
        self.stage = stage;
        Ok(Some(effect))
    }

    /// The log was cut, durably, and ends here: at what was asked for, or below it where a batch reached beyond. Whether the
    /// logs agree now, the next [`Follower::open`] asks.
    pub fn on_cut(&mut self, end: LogEndOffset) {
        assert_eq!(self.stage, Stage::Cutting, "a cut that nobody asked for");
        self.ladder.cut_to(end);
        self.stage = Stage::Idle;
    }

    /// The log was dropped, durably, and begins anew here.
    pub fn on_begun(&mut self, at: LogStartOffset) {
        assert_eq!(self.stage, Stage::Cutting, "a new log that nobody asked for");
        self.ladder = Ladder::new(at, HighWatermark(at.0), FlushedEndOffset(at.0), LogEndOffset(at.0));
        self.stage = Stage::Idle;
    }

    /// The leader has sent this. Says whether its batches are to be appended, then [`Follower::on_appended`]; not if they
    /// belong to an earlier opening, or there are none. The offsets that came with them count already.
    pub fn on_data(&mut self, data: &Data<'_>) -> Result<bool, LeaderFault> {
        if data.leader_epoch > self.leader_epoch {
            return Err(LeaderFault::UnknownLeaderEpoch(data.leader_epoch));
        }
        if data.leader_epoch < self.leader_epoch {
            return Err(LeaderFault::FencedLeaderEpoch(data.leader_epoch));
        }
        if self.stage != Stage::Following || data.opening != self.opening {
            return Ok(false);
        }
        self.last_epoch = self.check_batches(data)?;
        self.leader_high_watermark = self.leader_high_watermark.max(data.high_watermark);
        self.leader_log_start = self.leader_log_start.max(data.log_start_offset);
        self.advance_high_watermark();
        Ok(!data.batches.is_empty())
    }

    /// Each begins where the one before ends, and epochs never fall. The epoch of the last.
    fn check_batches(&self, data: &Data<'_>) -> Result<Option<LeaderEpoch>, LeaderFault> {
        let (mut expected, mut last) = (self.ladder.log_end().0, self.last_epoch);
        for batch in data.batches {
            let (base_offset, end_offset) = (batch.base_offset, batch.end_offset);
            if base_offset != expected || end_offset <= base_offset {
                return Err(LeaderFault::NotContiguous { expected, base_offset, end_offset });
            }
            if Some(batch.leader_epoch) < last || batch.leader_epoch > self.leader_epoch {
                return Err(LeaderFault::EpochOrder { batch: batch.leader_epoch, last });
            }
            (expected, last) = (end_offset, Some(batch.leader_epoch));
        }
        Ok(last)
    }

    /// The log has grown to `end`.
    pub fn on_appended(&mut self, end: LogEndOffset) {
        self.ladder.append_to(end);
    }

    /// The log is durable up to `end`.
    pub fn on_flushed(&mut self, end: FlushedEndOffset) {
        self.ladder.flush_to(end);
        self.advance_high_watermark();
    }

    /// Records below `to` are gone.
    pub fn on_trimmed(&mut self, to: LogStartOffset) {
        self.ladder.trim_to(to);
    }

    /// What the leader is to hear; `None` while the logs do not agree.
    pub fn ack(&self) -> Option<ReplicaAck> {
        let Follower { leader_epoch, opening, .. } = *self;
        let flushed_end_offset = self.ladder.flushed_end().0;
        (self.stage == Stage::Following).then_some(ReplicaAck { leader_epoch, opening, flushed_end_offset })
    }

    /// Up to where records are to be given up because the leader has: never above the high watermark here.
    pub fn trim(&self) -> Option<LogStartOffset> {
        let to = self.leader_log_start.min(self.ladder.high_watermark().0);
        (to > self.ladder.log_start().0).then_some(LogStartOffset(to))
    }

    fn advance_high_watermark(&mut self) {
        let to = self.leader_high_watermark.min(self.ladder.flushed_end().0);
        self.ladder.raise_high_watermark(HighWatermark(to));
    }
}
