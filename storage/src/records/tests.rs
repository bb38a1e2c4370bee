//! Records in and out of batches.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::batch::{BatchBuilder, Compression, assign};
use crate::ids::LeaderEpoch;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn all<'a>(records: &'a Records<'_>) -> Result<Vec<Record<'a>>, RecordsError> {
    records.iter().collect()
}

fn builder() -> BatchBuilder {
    let headers = [("a", Some(&b"1"[..])), ("", None), ("c", Some(&[]))];
    BatchBuilder::new(1_000)
        .with(NewRecord { timestamp_delta: 0, key: Some(b"key"), value: Some(b"value"), headers: &headers })
        .with(NewRecord { timestamp_delta: 50, key: None, value: None, headers: &[] })
        .with(NewRecord { timestamp_delta: -3, key: Some(b""), value: Some(&[7; 300]), headers: &[] })
        .with(NewRecord { timestamp_delta: 50, key: None, value: Some(b""), headers: &[] })
}

#[test]
fn records_come_back_as_they_were_put_in_whatever_the_codec() {
    for codec in CODECS {
        let mut batch = builder().compression(codec).build();
        assign(&mut batch, 40, LeaderEpoch(1));
        let records = Records::of(&batch, 10_000).unwrap();
        let all = all(&records).unwrap();
        assert_eq!(all.iter().map(|record| record.offset).collect::<Vec<_>>(), [40, 41, 42, 43]);
        assert_eq!(all.iter().map(|record| record.timestamp).collect::<Vec<_>>(), [1_000, 1_050, 997, 1_050]);
        assert_eq!(all.iter().map(|record| record.key).collect::<Vec<_>>(), [Some(&b"key"[..]), None, Some(b""), None]);
        assert_eq!(all[0].value, Some(&b"value"[..]));
        assert_eq!((all[1].value, all[3].value), (None, Some(&b""[..])));
        let headers: Vec<_> = all[0].headers().collect();
        assert_eq!(headers, [(&b"a"[..], Some(&b"1"[..])), (b"", None), (b"c", Some(b""))]);
    }
}

#[test]
fn records_are_found_by_time() {
    let mut batch = builder().compression(Compression::Lz4).build();
    assign(&mut batch, 40, LeaderEpoch(1));
    let records = Records::of(&batch, 10_000).unwrap();
    assert_eq!(records.first_since(0), Ok(Some((40, 1_000))));
    assert_eq!(records.first_since(1_001), Ok(Some((41, 1_050))));
    assert_eq!(records.first_since(1_051), Ok(None));
    assert_eq!(records.newest(), Ok(Some((41, 1_050))));
}

#[test]
fn records_that_a_broker_timed_are_all_as_late_as_the_batch() {
    let batch = builder().attributes(0x08).build();
    let records = Records::of(&batch, 10_000).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp == 1_050));
}

#[test]
fn the_limit_on_decompressed_bytes_is_exact() {
    for codec in CODECS {
        let built = builder().compression(codec);
        let batch = built.build();
        assert_eq!(Records::of(&batch, built.records_bytes()).unwrap().bytes(), built.records_bytes());
        assert!(matches!(Records::of(&batch, built.records_bytes() - 1), Err(RecordsError::Decompress(_))));
    }
}

#[test]
fn a_record_that_lies_about_a_length_is_refused_where_it_lies() {
    let good = builder().build();
    let records = Records::of(&good, 10_000).unwrap();
    let mut iter = records.iter();
    let record_starts: Vec<usize> = std::iter::from_fn(|| iter.next().map(|_| iter.position)).collect();
    let record_starts = [&[0], &record_starts[..]].concat();
    let (mut refused, mut taken) = (0, 0);
    for (position, byte) in (HEADER_BYTES..good.len()).flat_map(|at| (0..=255).map(move |byte| (at, byte))) {
        let mut batch = good.clone();
        batch[position] = byte;
        match all(&Records::of(&batch, 10_000).unwrap()) {
            Ok(records) => {
                assert_eq!(records.len(), 4);
                taken += 1;
            }
            Err(RecordsError::Malformed { position: at, .. }) => {
                // In its own record, or in the next one, which then has an offset out of order.
                let own = record_starts.partition_point(|start| *start <= position - HEADER_BYTES) - 1;
                assert!(record_starts[own..].iter().take(2).any(|start| *start == at), "{at} for byte {position}");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 1_000 && taken > 1_000, "{refused} refused, {taken} taken");
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_at_once() {
    let mut batch = builder().build();
    batch[57..61].copy_from_slice(&i32::MAX.to_be_bytes());
    batch[23..27].copy_from_slice(&(i32::MAX - 1).to_be_bytes());
    let records = Records::of(&batch, 10_000).unwrap();
    assert!(matches!(records.iter().next(), Some(Err(RecordsError::Malformed { index: 0, .. }))));
    // Fewer than there are: the rest is not passed over in silence.
    batch[57..61].copy_from_slice(&2_i32.to_be_bytes());
    let records = Records::of(&batch, 10_000).unwrap();
    assert!(matches!(records.iter().nth(2), Some(Err(RecordsError::Malformed { index: 2, .. }))));
}

#[test]
fn records_whose_offsets_do_not_rise_are_refused() {
    let mut batch = builder().build();
    let second = HEADER_BYTES + Records::of(&batch, 10_000).map(|records| records.bytes()).unwrap() - 11;
    // The last record's offset delta: 3, zig-zag 6.
    let at = (second..batch.len()).find(|at| batch[*at] == 6).unwrap();
    for delta in [2, 7] {
        batch[at] = delta * 2;
        let records = Records::of(&batch, 10_000).unwrap();
        assert!(matches!(all(&records), Err(RecordsError::Malformed { index: 3, .. })), "delta {delta}");
    }
}

/// Kafka 4.3's own library made it: snappy in the framing of its Java codec.
#[test]
fn a_batch_of_a_java_producer_is_read() {
    let hex = concat!(
        "000000000000177d000000a300000007024301764d0002000000040000018bcfe568000000018bcfe5680400000000000000",
        "0900010000177d0000000582534e415050590000000001000000010000005e6e6824000000046b300e76616c756520300202",
        "68012a000202046b311409130c3739313901161c2c000404046b321609161031353833380917100606046b330d173c323337",
        "3537020268012c000808046b340d1720333136373602026801",
    );
    let batch: Vec<u8> =
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    assert_eq!(crate::batch::validate(&batch).unwrap().compression(), Ok(Compression::Snappy));
    let records = Records::of(&batch, 10_000).unwrap();
    for (number, record) in records.iter().enumerate() {
        let record = record.unwrap();
        assert_eq!(record.offset, 6_013 + number as i64);
        assert_eq!(record.key, Some(format!("k{number}").as_bytes()));
        assert_eq!(record.value, Some(format!("value {}", number * 7_919).as_bytes()));
        assert_eq!(record.headers().collect::<Vec<_>>(), [(&b"h"[..], None)]);
    }
    assert_eq!(records.iter().count(), 5);
}
