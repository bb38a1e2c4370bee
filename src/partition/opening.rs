//! Where a follower's log and its leader's part: by epochs alone, never by the high watermark (KIP-101, KIP-279, KIP-595).
//!
//! *Which core*: the leader's answer on its shard, the follower's cut on its own.
//! *Invariants*: each round ends in agreement or takes away the follower's end or its last epoch, so there are only so many.
//! *Why* not by the high watermark: a follower learns it late. Truncating to it after a restart loses what was acknowledged, or
//! leaves two logs that differ.

use storage::epochs::EpochCache;

use crate::model::LeaderEpoch;
use crate::partition::replication::{OpeningAnswer, OpeningRequest};

/// The leader's answer: its log is `log_start..log_end`, written by `epochs`, its own reign among them.
pub fn answer(epochs: &EpochCache, log_start: i64, log_end: i64, request: &OpeningRequest) -> OpeningAnswer {
    if request.end_offset < log_start {
        return OpeningAnswer::BeginAt(log_start);
    }
    let Some(last_epoch) = request.last_epoch else {
        return if request.end_offset <= log_end { OpeningAnswer::Agreed } else { OpeningAnswer::BeginAt(log_start) };
    };
    let known = epochs.end_offset_for(last_epoch, log_end);
    let (leader_epoch, end_offset) = known.expect("a reign is in the epochs before it begins");
    if leader_epoch == last_epoch && request.end_offset <= end_offset {
        OpeningAnswer::Agreed
    } else {
        OpeningAnswer::Diverging { leader_epoch, end_offset }
    }
}

/// Where a follower cuts its log, `..log_end` written by `epochs`, when its leader has `leader_epoch` up to `end_offset`.
pub fn cut(epochs: &EpochCache, log_end: i64, leader_epoch: LeaderEpoch, end_offset: i64) -> i64 {
    match epochs.end_offset_for(leader_epoch, log_end) {
        Some((own_epoch, own_end)) if own_epoch == leader_epoch => own_end.min(end_offset),
        // The leader's epoch is not here: what came after the newest below it goes, and the leader is asked again.
        Some((_, own_end)) => own_end,
        None => log_end,
    }
}
