//! What a producer's retries and gaps meet with.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;
use crate::ids::LeaderEpoch;

fn of(producer_id: i64, epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    BatchHeader {
        base_offset,
        batch_bytes: 61,
        leader_epoch: LeaderEpoch(0),
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: 0,
        max_timestamp: base_offset + 1_000,
        producer_id: ProducerId(producer_id),
        producer_epoch: epoch,
        base_sequence,
        record_count: count,
    }
}

fn batch(epoch: i16, base_sequence: i32, count: i32, base_offset: i64) -> BatchHeader {
    of(7, epoch, base_sequence, count, base_offset)
}

fn table(batches: &[BatchHeader]) -> ProducerTable {
    let mut table = ProducerTable::default();
    batches.iter().for_each(|batch| table.advance(batch, 0));
    table
}

fn expected_of(result: Result<ProducerVerdict, SequenceError>) -> Option<i32> {
    match result {
        Err(SequenceError::OutOfOrderSequence { expected, .. }) => Some(expected),
        _ => None,
    }
}

#[test]
fn a_retry_of_any_of_the_last_five_batches_is_a_duplicate_at_its_first_offsets() {
    let batches: Vec<_> = (0..6).map(|n| batch(0, n * 10, 10, i64::from(n) * 10 + 100)).collect();
    let table = table(&batches);
    for n in 1..6 {
        let base_offset = i64::from(n) * 10 + 100;
        let (last_offset, timestamp) = (base_offset + 9, base_offset + 1_000);
        let verdict = table.check(&batch(0, n * 10, 10, 0));
        assert_eq!(verdict, Ok(ProducerVerdict::Duplicate { base_offset, last_offset, timestamp }));
    }
    // The sixth last is forgotten, and part of a batch was never a batch.
    assert_eq!(expected_of(table.check(&batch(0, 0, 10, 0))), Some(60));
    assert_eq!(expected_of(table.check(&batch(0, 50, 9, 0))), Some(60));
    assert_eq!(expected_of(table.check(&batch(0, 51, 9, 0))), Some(60));
}

#[test]
fn a_gap_is_refused_and_the_next_sequence_is_taken() {
    let table = table(&[batch(0, 0, 10, 0)]);
    assert_eq!(table.check(&batch(0, 10, 1, 0)), Ok(ProducerVerdict::Append));
    assert_eq!(expected_of(table.check(&batch(0, 11, 1, 0))), Some(10));
}

/// Kafka since 2.5: what is not known may have been deleted or forgotten.
#[test]
fn an_unknown_producer_may_begin_anywhere() {
    let mut table = table(&[]);
    assert_eq!(table.check(&batch(3, 500, 1, 0)), Ok(ProducerVerdict::Append));
    table.advance(&batch(3, 500, 1, 0), 0);
    assert_eq!(table.check(&batch(3, 501, 1, 0)), Ok(ProducerVerdict::Append));
    assert_eq!(table.check(&of(-1, -1, -1, 1, 0)), Ok(ProducerVerdict::NotIdempotent));
}

#[test]
fn a_newer_epoch_begins_at_zero_and_fences_the_older() {
    let mut table = table(&[batch(3, 0, 10, 0)]);
    assert_eq!(expected_of(table.check(&batch(4, 10, 1, 0))), Some(0));
    assert_eq!(table.check(&batch(4, 0, 10, 0)), Ok(ProducerVerdict::Append), "the same numbers, but no retry");
    table.advance(&batch(4, 0, 1, 10), 0);
    assert!(matches!(
        table.check(&batch(3, 0, 10, 0)),
        Err(SequenceError::InvalidProducerEpoch { found: 3, current: 4, .. })
    ));
}

#[test]
fn sequences_wrap_to_zero() {
    let table = table(&[batch(0, i32::MAX - 3, 2, 0), batch(0, i32::MAX - 1, 3, 2)]);
    assert_eq!(table.check(&batch(0, 1, 1, 0)), Ok(ProducerVerdict::Append));
    assert_eq!(expected_of(table.check(&batch(0, 0, 1, 0))), Some(1));
    assert!(matches!(
        table.check(&batch(0, i32::MAX - 1, 3, 0)),
        Ok(ProducerVerdict::Duplicate { base_offset: 2, .. })
    ));
}

#[test]
fn an_idle_producer_is_forgotten() {
    let mut table = table(&[batch(0, 0, 1, 0)]);
    table.expire(99, 100);
    assert_eq!(table.len(), 1);
    table.expire(100, 100);
    assert!(table.is_empty());
}

#[test]
fn markers_of_transactions_do_not_count() {
    let mut marker = batch(0, -1, 1, 10);
    marker.attributes = 0x30;
    let mut table = table(&[batch(0, 0, 10, 0)]);
    let before = table.clone();
    table.advance(&marker, 5);
    assert_eq!(table, before);
}

#[test]
fn no_more_producers_are_known_than_there_is_room_for_and_the_idlest_go() {
    let mut table = ProducerTable::new(100);
    for id in 0..1_000 {
        table.advance(&of(id, 0, 0, 1, id), 10_000 + id);
        table.advance(&of(7_777, 0, id as i32, 1, id), 10_000 + id);
        assert!(table.len() <= 100);
    }
    assert!(table.len() >= 85);
    for id in 930..1_000 {
        assert!(matches!(table.check(&of(id, 0, 0, 1, 0)), Ok(ProducerVerdict::Duplicate { .. })), "{id}");
    }
    assert_eq!(expected_of(table.check(&of(7_777, 0, 0, 1, 0))), Some(1_000), "who writes is not forgotten");
    let mut one = ProducerTable::new(1);
    one.advance(&of(1, 0, 0, 1, 0), 0);
    one.advance(&of(2, 0, 0, 1, 1), 0);
    assert_eq!(one.len(), 1);
}

#[test]
fn a_cut_forgets_what_lay_beyond_and_says_when_that_is_not_enough() {
    let batches: Vec<_> = (0..8).map(|n| batch(0, n * 10, 10, i64::from(n) * 10)).collect();
    let mut cut = table(&batches);
    assert!(cut.truncate_to(60));
    assert_eq!(expected_of(cut.check(&batch(0, 70, 10, 0))), Some(60));
    assert!(matches!(cut.check(&batch(0, 50, 10, 0)), Ok(ProducerVerdict::Duplicate { .. })));
    assert!(cut.truncate_to(60));
    assert!(!cut.truncate_to(30), "batches 0 to 2 are in the log, and no longer here");
    assert!(cut.is_empty());
    let mut fenced = table(&[batch(0, 0, 10, 0), batch(1, 0, 10, 10)]);
    assert!(!fenced.truncate_to(10), "epoch 0 has written, and is no longer here");
}

/// Kafka's own reader takes these bytes up to those that are ours: its tools print them (checked with Kafka 4.3).
#[test]
fn the_snapshot_has_these_bytes() {
    let table = table(&[of(2, 1, 0, 1, 4), of(2, 1, 1, 3, 5), of(1, 0, 9, 1, 8)]);
    let hex: String = table.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let kafkas = concat!(
        "0001c04bd2d600000002",
        "0000000000000001000000000009000000000000000800000000",
        "00000000000003f0ffffffffffffffffffffffff",
        "0000000000000002000100000003000000000000000700000002",
        "00000000000003edffffffffffffffffffffffff",
    );
    let ours = concat!(
        "01",
        "0000000000000000",
        "00",
        "0000000000000000",
        "01",
        "00000000000000000000000400000000",
        "00000000000003ec",
    );
    assert_eq!(hex, [kafkas, ours].concat());
    assert_eq!(ProducerTable::from_bytes(&table.to_bytes()), Ok(table));
    assert_eq!(ProducerTable::from_bytes(&ProducerTable::default().to_bytes()), Ok(ProducerTable::default()));
}

#[test]
fn a_snapshot_that_is_cut_flipped_or_of_another_version_is_refused() {
    let bytes = table(&[of(2, 1, 0, 1, 4), of(2, 1, 1, 3, 5), of(1, 0, 9, 1, 8)]).to_bytes();
    for cut in 0..bytes.len() {
        assert!(ProducerTable::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for (byte, bit) in (0..bytes.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut flipped = bytes.clone();
        flipped[byte] ^= 1 << bit;
        assert!(ProducerTable::from_bytes(&flipped).is_err(), "byte {byte} bit {bit}");
    }
    let mut newer = bytes.clone();
    newer[1] = 2;
    assert_eq!(ProducerTable::from_bytes(&newer), Err(SnapshotError::Version));
}

proptest! {
    /// Whatever happened, a snapshot gives the same table, and a table cut or made anew from the log agree wherever the cut was
    /// enough.
    #[test]
    fn snapshots_and_cuts_agree_with_the_log(
        steps in prop::collection::vec((0..4_i64, 1..5_i32, prop::bool::weighted(0.05)), 1..60),
        cut in 0..60_usize,
    ) {
        let mut log = Vec::new();
        let mut next = [(0_i16, 0_i32); 4];
        let mut end = 0;
        for (id, count, bump) in steps {
            let (epoch, sequence) = &mut next[id as usize];
            if bump {
                (*epoch, *sequence) = (*epoch + 1, 0);
            }
            let header = of(id, *epoch, *sequence, count, end);
            prop_assert_eq!(table(&log).check(&header), Ok(ProducerVerdict::Append));
            log.push(header);
            *sequence += count;
            end += i64::from(count);
        }
        let mut whole = table(&log);
        prop_assert_eq!(ProducerTable::from_bytes(&whole.to_bytes()), Ok(whole.clone()));
        log.truncate(cut);
        let anew = table(&log);
        if whole.truncate_to(log.last().map_or(0, BatchHeader::end_offset)) {
            prop_assert_eq!(whole.len(), anew.len());
            for header in log.iter().rev().take(1) {
                prop_assert_eq!(whole.check(header), anew.check(header));
            }
            for (id, (epoch, _)) in next.iter().enumerate() {
                for sequence in 0..30 {
                    let probe = of(id as i64, *epoch, sequence, 1, 0);
                    prop_assert_eq!(
                        whole.check(&probe) == Ok(ProducerVerdict::Append),
                        anew.check(&probe) == Ok(ProducerVerdict::Append)
                    );
                }
            }
        }
    }
}
