//! A leader's behaviour as text: `testdata/*.txt` hold inputs (`> ...`) and, below each, what is done and where the offsets stand.
//!
//! ```text
//! > lead 5 replicas=1,2,3 isr=1,2 min=2 start=0 high=3 flushed=5 end=5     broker 1 begins to lead in epoch 5
//! > produce 7 acks=-1 records=2 deadline=100       ticket 7 stands for what is appended
//! > again 8 acks=-1 3..5                           ticket 8 waits for what was appended before (a duplicate)
//! > flush 7 | ack 2 7 | isr 1,2,3 | min 1 | trim 3 | time 100 | resign NotLeader | park 1 5 | leave 1
//! ```
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test transcripts` writes what is done now; read the difference before it is committed.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fmt::Write as _;
use std::path::Path;

use super::fetch_waiters::FetchTicket;
use super::isr::Isr;
use super::ladder::{FlushedEndOffset, HighWatermark, Ladder, LogEndOffset, LogStartOffset};
use super::produce_waiters::Waiter;
use super::*;
use crate::model::{BrokerId, LeaderEpoch};
use crate::rt::Monotonic;

#[test]
fn leaders_do_as_is_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/partition/testdata");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 7, "transcripts are there");
    for path in paths {
        let written = std::fs::read_to_string(&path).unwrap();
        let played = play(&written);
        if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
            std::fs::write(&path, &played).unwrap();
        } else {
            assert_eq!(written, played, "{}", path.display());
        }
    }
}

fn play(transcript: &str) -> String {
    let mut leader = None;
    let mut out = String::new();
    for line in transcript.lines() {
        match line.strip_prefix("> ") {
            Some(input) => writeln!(out, "{line}\n{}", perform(&mut leader, input)).unwrap(),
            None if line.starts_with("# ") => writeln!(out, "{line}").unwrap(),
            None => {}
        }
    }
    out
}

fn perform(stage: &mut Option<Leader>, input: &str) -> String {
    let (verb, rest) = input.split_once(' ').unwrap_or((input, ""));
    let words: Vec<&str> = rest.split(' ').collect();
    let mut text = String::new();
    let mut fx = Effects::new();
    match (verb, stage.as_mut()) {
        ("lead", _) => *stage = Some(lead(&words)),
        ("produce", Some(leader)) => text = produce(leader, &words, &mut fx),
        ("again", Some(leader)) => {
            let (base, end) = words[2].split_once("..").unwrap();
            text = wait(leader, &words, (base.parse().unwrap(), end.parse().unwrap()), &mut fx);
        }
        ("flush", Some(leader)) => leader.on_flushed(FlushedEndOffset(number(words[0])), &mut fx),
        ("ack", Some(leader)) => {
            leader.on_replica_flushed(broker(words[0]), FlushedEndOffset(number(words[1])), &mut fx);
        }
        ("isr", Some(leader)) => {
            let isr =
                Isr::new(BrokerId(1), &brokers("1,2,3"), &brokers(words[0]), word(&words, "min").unwrap() as usize);
            leader.on_isr(isr, &mut fx);
        }
        ("min", Some(leader)) => leader.on_min_insync_replicas(number(words[0]) as usize, &mut fx),
        ("trim", Some(leader)) => leader.on_trimmed(LogStartOffset(number(words[0])), &mut fx),
        ("time", Some(leader)) => leader.on_tick(Monotonic(words[0].parse().unwrap()), &mut fx),
        ("resign", Some(leader)) => leader.on_resigned(reason(words[0]), &mut fx),
        ("park", Some(leader)) => leader.on_fetch_parked(FetchTicket(words[0].parse().unwrap()), number(words[1])),
        ("leave", Some(leader)) => leader.on_fetch_left(FetchTicket(words[0].parse().unwrap())),
        _ => panic!("what is {input}?"),
    }
    fx.iter().for_each(|effect| describe(effect, &mut text));
    text + &state(stage.as_ref().unwrap())
}

fn lead(words: &[&str]) -> Leader {
    let at = |name| word(words, name).unwrap_or(0);
    let (start, high) = (LogStartOffset(at("start")), HighWatermark(at("high")));
    let ladder = Ladder::new(start, high, FlushedEndOffset(at("flushed")), LogEndOffset(at("end")));
    let list = |name: &str| brokers(words.iter().find_map(|word| word.strip_prefix(name)).unwrap());
    let isr = Isr::new(BrokerId(1), &list("replicas="), &list("isr="), at("min").max(1) as usize);
    Leader::new(LeaderEpoch(words[0].parse().unwrap()), ladder, isr)
}

fn produce(leader: &mut Leader, words: &[&str], fx: &mut Effects) -> String {
    if let Err(error) = leader.admit(acks(words)) {
        return format!("ticket {}: {error:?}, nothing is appended\n", words[0]);
    }
    let base = leader.ladder().log_end().0;
    let end = base + word(words, "records").unwrap_or(1);
    leader.on_appended(LogEndOffset(end));
    wait(leader, words, (base, end), fx)
}

fn wait(leader: &mut Leader, words: &[&str], (base_offset, end_offset): (i64, i64), fx: &mut Effects) -> String {
    if let Err(error) = leader.admit(acks(words)) {
        return format!("ticket {}: {error:?}\n", words[0]);
    }
    let deadline = Monotonic(word(words, "deadline").map_or(u64::MAX, |at| at as u64));
    let ticket = ProduceTicket(words[0].parse().unwrap());
    leader.on_waiter(acks(words), Waiter { ticket, base_offset, end_offset, deadline }, fx);
    String::new()
}

fn describe(effect: &Effect, text: &mut String) {
    match effect {
        Effect::Answer { ticket, outcome: Ok(Acknowledged { base_offset, log_start_offset }) } => {
            writeln!(text, "ticket {}: acknowledged at {base_offset}, the log starts at {log_start_offset}", ticket.0)
        }
        Effect::Answer { ticket, outcome: Err(error) } => writeln!(text, "ticket {}: {error:?}", ticket.0),
        Effect::Wake(ticket) => writeln!(text, "fetch {} wakes", ticket.0),
    }
    .unwrap();
}

fn state(leader: &Leader) -> String {
    let ladder = leader.ladder();
    let (start, high) = (ladder.log_start().0, ladder.high_watermark().0);
    let (flushed, end) = (ladder.flushed_end().0, ladder.log_end().0);
    let refuses = if leader.admit(Acks::All).is_err() { ", acks=-1 is refused" } else { "" };
    let unknown = if leader.knows_high_watermark() { "" } else { ", latest is not known yet" };
    format!("= start {start} high {high} flushed {flushed} end {end}{refuses}{unknown}\n")
}

/// The number in `name=number`.
fn word(words: &[&str], name: &str) -> Option<i64> {
    words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

fn acks(words: &[&str]) -> Acks {
    match word(words, "acks").unwrap() {
        0 => Acks::None,
        1 => Acks::Leader,
        -1 => Acks::All,
        other => panic!("acks={other}?"),
    }
}

fn reason(word: &str) -> AckError {
    match word {
        "NotLeader" => AckError::NotLeader,
        "Offline" => AckError::Offline,
        other => panic!("{other}?"),
    }
}

fn number(word: &str) -> i64 {
    word.parse().unwrap()
}

fn broker(word: &str) -> BrokerId {
    BrokerId(word.parse().unwrap())
}

fn brokers(list: &str) -> Vec<BrokerId> {
    list.split(',').map(broker).collect()
}
