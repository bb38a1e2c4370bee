//! Behaviour as text: `testdata/{leader,follower}/*.txt` hold inputs (`> ...`) and, below each, what is done and where the
//! offsets stand.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test transcripts` writes what is done now; read the difference before it is committed.

#![allow(clippy::unwrap_used, reason = "a test may")]

mod follower;
mod leader;

use std::fmt::Write as _;
use std::path::Path;

use storage::epochs::EpochCache;

use super::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogEndOffset, LogStartOffset};
use crate::model::LeaderEpoch;

#[test]
fn leaders_do_as_is_written_down() {
    check("leader", 10, leader::Stage::default);
}

#[test]
fn followers_do_as_is_written_down() {
    check("follower", 4, follower::Stage::default);
}

trait Stage {
    /// What an input leads to.
    fn perform(&mut self, input: &Input) -> String;
}

fn check<S: Stage>(kind: &str, count: usize, stage: impl Fn() -> S) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/partition/testdata").join(kind);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= count, "transcripts are there");
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written, &mut stage());
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(written, played, "{}", path.display());
        }
    }
}

fn play(transcript: &str, stage: &mut impl Stage) -> String {
    let mut out = String::new();
    for line in transcript.lines() {
        match line.strip_prefix("> ") {
            Some(input) => writeln!(out, "{line}\n{}", stage.perform(&Input::new(input))).unwrap(),
            None if line.starts_with("# ") => writeln!(out, "{line}").unwrap(),
            None => {}
        }
    }
    out
}

/// A verb, then numbers and words, then `name=value`s.
struct Input<'a> {
    verb: &'a str,
    words: Vec<&'a str>,
}

impl<'a> Input<'a> {
    fn new(line: &'a str) -> Input<'a> {
        let mut words = line.split(' ');
        Input { verb: words.next().unwrap(), words: words.collect() }
    }

    fn word(&self, index: usize) -> &'a str {
        self.words[index]
    }

    fn number(&self, index: usize) -> i64 {
        self.words[index].parse().unwrap()
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    fn value(&self, name: &str) -> Option<i64> {
        self.text(name).map(|value| value.parse().unwrap())
    }

    /// `start=` `high=` `flushed=` `end=`, each 0 if it is not named.
    fn ladder(&self) -> Ladder {
        let at = |name| self.value(name).unwrap_or(0);
        let (start, high) = (LogStartOffset(at("start")), HighWatermark(at("high")));
        Ladder::new(start, high, FlushedEndOffset(at("flushed")), LogEndOffset(at("end")))
    }

    /// `epochs=0:0,3:10`: epoch 3 begins at offset 10.
    fn epochs(&self) -> EpochCache {
        let entries = self.text("epochs").into_iter().flat_map(|list| list.split(','));
        EpochCache::new(entries.map(|entry| {
            let (epoch, start) = entry.split_once(':').unwrap();
            (LeaderEpoch(epoch.parse().unwrap()), start.parse().unwrap())
        }))
    }
}

fn offsets(ladder: &Ladder) -> String {
    let (start, high) = (ladder.log_start().0, ladder.high_watermark().0);
    let (flushed, end) = (ladder.flushed_end().0, ladder.log_end().0);
    format!("= start {start} high {high} flushed {flushed} end {end}")
}
