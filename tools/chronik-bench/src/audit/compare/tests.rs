//! An auditor that finds nothing is worth nothing: each kind of fault is planted, and found.

use super::*;

const RECORDS: i64 = 100;

/// A partition of one lane, all acknowledged, from offset 10.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.on_acknowledged(0, 10, 3, 0, RECORDS as u64);
    ledger
}

fn record(offset: i64, sequence: u64) -> Observed {
    let identity = Identity { run: 1, partition: 0, lane: 3, sequence, due_ns: 0 };
    Observed { partition: 0, offset, identity: Some(identity), intact: true }
}

fn log() -> Vec<Observed> {
    (0..RECORDS).map(|n| record(10 + n, n as u64)).collect()
}

/// Offsets as a log has them, whatever was planted.
fn renumbered(mut log: Vec<Observed>) -> Vec<Observed> {
    for (n, record) in log.iter_mut().enumerate() {
        record.offset = 10 + n as i64;
    }
    log
}

fn audit(ledger: Ledger, log: &[Observed]) -> Audit {
    let mut auditor = Auditor::new(ledger, &[10]);
    for record in log {
        auditor.observe(record);
    }
    auditor.finish(&[log.last().map_or(10, |record| record.offset + 1)])
}

#[test]
fn a_good_log_is_clean() {
    let found = audit(ledger(), &log());
    assert!(found.is_clean(), "{found:?}");
    assert_eq!((found.acknowledged, found.read), (100, 100));
}

#[test]
fn a_lost_record_in_the_middle_is_found() {
    let mut log = log();
    log.remove(40);
    let found = audit(ledger(), &log);
    assert_eq!((found.missing, found.gaps), (1, 1));
    // The same loss in a log that closed the gap: every record behind it sits at another's offset.
    let found = audit(ledger(), &renumbered(log));
    assert_eq!((found.replaced, found.missing, found.gaps), (59, 1, 0));
}

#[test]
fn a_lost_tail_is_found() {
    let found = audit(ledger(), &log()[..90]);
    assert_eq!((found.missing, found.gaps), (10, 0));
    assert_eq!(audit(ledger(), &[]).missing, 100);
}

#[test]
fn an_end_offset_beyond_the_last_record_is_a_gap() {
    let mut auditor = Auditor::new(Ledger::default(), &[0, 5]);
    auditor.observe(&Observed { partition: 1, offset: 5, identity: None, intact: true });
    let found = auditor.finish(&[0, 8]);
    assert_eq!((found.gaps, found.foreign), (2, 1));
}

#[test]
fn a_duplicate_is_found() {
    let mut log = log();
    log.push(log[20]);
    let found = audit(ledger(), &renumbered(log));
    assert_eq!((found.duplicated, found.reordered, found.unacknowledged), (1, 0, 1));
}

#[test]
fn a_reordering_is_found() {
    let mut log = log();
    log.swap(30, 31);
    let found = audit(ledger(), &renumbered(log));
    assert_eq!((found.reordered, found.replaced, found.duplicated), (1, 2, 0));
}

#[test]
fn a_changed_byte_is_found() {
    let mut log = log();
    log[7].intact = false;
    assert_eq!(audit(ledger(), &log).faults(), [("corrupted", 1)]);
}

#[test]
fn a_foreign_record_at_an_acknowledged_offset_is_a_loss() {
    let mut log = log();
    log[7].identity = None;
    let found = audit(ledger(), &log);
    assert_eq!((found.replaced, found.foreign), (1, 1));
}

#[test]
fn a_record_in_another_partition_is_misplaced() {
    let mut auditor = Auditor::new(Ledger::default(), &[0, 0]);
    auditor.observe(&Observed { partition: 1, ..record(0, 0) });
    assert_eq!(auditor.finish(&[0, 1]).misplaced, 1);
}

#[test]
fn unacknowledged_and_foreign_records_are_no_fault() {
    let mut ledger = ledger();
    let mut log = log();
    log.push(record(0, 100));
    log.push(Observed { identity: None, ..record(0, 0) });
    log.push(record(0, 102));
    ledger.on_acknowledged(0, 112, 3, 102, 1);
    let found = audit(ledger, &renumbered(log));
    assert!(found.is_clean(), "{found:?}");
    assert_eq!((found.unacknowledged, found.foreign), (1, 1));
}

#[test]
fn lanes_may_interleave_but_each_keeps_its_order() {
    let mut ledger = Ledger::default();
    let mut log = Vec::new();
    for n in 0..10 {
        let identity = Identity { run: 1, partition: 0, lane: n % 2, sequence: u64::from(n / 2), due_ns: 0 };
        ledger.on_acknowledged(0, 10 + i64::from(n), n % 2, identity.sequence, 1);
        log.push(Observed { partition: 0, offset: 10 + i64::from(n), identity: Some(identity), intact: true });
    }
    assert!(audit(ledger, &log).is_clean());
}

#[test]
fn an_offset_given_to_two_records_is_found() {
    let mut ledger = ledger();
    ledger.on_acknowledged(0, 50, 4, 0, 2);
    assert_eq!(audit(ledger, &log()).faults(), [("offsets given twice", 2)]);
}

#[test]
fn a_sequence_from_a_damaged_record_takes_no_memory() {
    let found = audit(Ledger::default(), &[record(10, u64::MAX)]);
    assert_eq!(found.foreign, 1);
}
