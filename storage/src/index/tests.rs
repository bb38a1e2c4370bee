//! Indexes, built, looked up, read back.

#![allow(clippy::unwrap_used, reason = "a test may")]

use proptest::prelude::*;

use super::*;
use crate::batch::{BatchBuilder, BatchHeader, NewRecord};
use crate::ids::LeaderEpoch;

/// Batches of some hundred bytes, five records each, whose timestamps do not rise all the time.
fn segment(base_offset: i64, count: i64) -> (Vec<u8>, Vec<(u64, BatchHeader)>) {
    let (mut bytes, mut batches) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut builder = BatchBuilder::new(1_000 + number * 10 - number % 3 * 25);
        for delta in 0..5 {
            builder.push(NewRecord { timestamp_delta: delta, value: Some(&[1; 40]), ..NewRecord::default() });
        }
        let batch = builder.at(base_offset + number * 5, LeaderEpoch(0)).build();
        batches.push((bytes.len() as u64, BatchHeader::parse(&batch).unwrap()));
        bytes.extend(batch);
    }
    (bytes, batches)
}

fn built(base_offset: i64, batches: &[(u64, BatchHeader)]) -> (OffsetIndex, TimeIndex) {
    let mut builder = IndexBuilder::new(base_offset, 1_000);
    batches.iter().for_each(|(position, header)| builder.add(header, *position));
    builder.finish()
}

#[test]
fn a_lookup_leads_to_the_batch_or_shortly_before_it() {
    let (_, batches) = segment(700, 200);
    let (offsets, _) = built(700, &batches);
    assert!(offsets.len() > 20, "{} entries", offsets.len());
    for (position, header) in &batches {
        for offset in header.base_offset..header.end_offset() {
            let found = offsets.lookup(offset);
            assert!(found <= *position && position - found <= 1_500, "offset {offset}: {found}, it lies at {position}");
            assert!(batches.iter().any(|(start, _)| *start == found));
        }
    }
    assert_eq!(offsets.lookup(0), 0);
}

#[test]
fn a_lookup_by_time_passes_no_record_that_is_late_enough() {
    let (_, batches) = segment(700, 200);
    let (_, times) = built(700, &batches);
    assert!(times.len() > 20, "{} entries", times.len());
    for timestamp in 900..3_100 {
        let from = times.lookup(timestamp).unwrap_or(700);
        let first = batches.iter().find(|(_, header)| header.max_timestamp >= timestamp);
        assert!(first.is_none_or(|(_, header)| header.last_offset() >= from), "timestamp {timestamp}");
    }
    let newest = batches.iter().map(|(_, header)| header.max_timestamp).max();
    assert_eq!(times.newest().map(|entry| entry.timestamp), newest);
}

#[test]
fn both_files_have_the_bytes_of_kafkas() {
    let mut offsets = OffsetIndex::new(100);
    assert!(offsets.append(OffsetEntry { offset: 104, position: 4_200 }));
    assert!(offsets.append(OffsetEntry { offset: 300, position: 9_000 }));
    assert_eq!(offsets.to_bytes(), [0, 0, 0, 4, 0, 0, 0x10, 0x68, 0, 0, 0, 200, 0, 0, 0x23, 0x28]);
    let mut times = TimeIndex::new(100);
    assert!(times.append(TimeEntry { timestamp: 0x0102_0304_0506, offset: 104 }));
    assert_eq!(times.to_bytes(), [0, 0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 4]);
}

#[test]
fn an_entry_that_does_not_rise_or_has_no_room_is_not_taken() {
    let mut offsets = OffsetIndex::new(100);
    assert!(offsets.append(OffsetEntry { offset: 104, position: 10 }));
    for (offset, position) in [(104, 20), (105, 10), (99, 20), (105, 1 << 31), (100 + (1 << 31), 20)] {
        assert!(!offsets.append(OffsetEntry { offset, position }), "{offset} at {position}");
    }
    let mut times = TimeIndex::new(100);
    assert!(times.append(TimeEntry { timestamp: 5, offset: 104 }));
    for (timestamp, offset) in [(5, 105), (4, 105), (6, 103), (6, 99)] {
        assert!(!times.append(TimeEntry { timestamp, offset }), "{timestamp} at {offset}");
    }
    assert_eq!((offsets.len(), times.len()), (1, 1));
}

#[test]
fn files_that_break_the_order_or_leave_the_segment_are_refused() {
    let offsets = |bytes: &[u8]| OffsetIndex::from_bytes(100, 5_000, bytes);
    assert_eq!(offsets(&[0; 7]), Err(IndexError::Partial { bytes: 7, entry_bytes: 8 }));
    assert_eq!(offsets(&[0; 16]), Err(IndexError::NotRising(1)));
    assert_eq!(offsets(&[0, 0, 0, 4, 0, 0, 0x13, 0x88]), Err(IndexError::Outside(0)));
    assert_eq!(offsets(&[0x80, 0, 0, 0, 0, 0, 0, 1]), Err(IndexError::Outside(0)));
    assert_eq!(offsets(&vec![0; 8 * (ENTRIES_MAX + 1)]), Err(IndexError::TooMany(ENTRIES_MAX + 1)));
    let times = |bytes: &[u8]| TimeIndex::from_bytes(100, 110, bytes);
    assert_eq!(times(&[0; 13]), Err(IndexError::Partial { bytes: 13, entry_bytes: 12 }));
    assert_eq!(times(&[0; 24]), Err(IndexError::NotRising(1)));
    assert_eq!(times(&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 10]), Err(IndexError::Outside(0)));
    assert_eq!(OffsetIndex::from_bytes(i64::MAX, 9, &[0, 0, 0, 1, 0, 0, 0, 1]), Err(IndexError::Outside(0)));
}

proptest! {
    #[test]
    fn what_was_built_comes_back_and_can_be_cut(count in 1..80_i64, cut in 0..500_i64) {
        let (bytes, batches) = segment(7, count);
        let (mut offsets, mut times) = built(7, &batches);
        let end_offset = 7 + count * 5;
        prop_assert_eq!(OffsetIndex::from_bytes(7, bytes.len() as u64, &offsets.to_bytes()), Ok(offsets.clone()));
        prop_assert_eq!(TimeIndex::from_bytes(7, end_offset, &times.to_bytes()), Ok(times.clone()));
        offsets.truncate_to(7 + cut);
        times.truncate_to(7 + cut);
        prop_assert!(offsets.iter().all(|entry| entry.offset < 7 + cut));
        prop_assert!(times.iter().all(|entry| entry.offset < 7 + cut));
    }
}
