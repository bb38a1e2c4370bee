//! What a batch is, and what a producer may send.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;

const LIMITS: ProducedLimits = ProducedLimits { batch_bytes_max: 1 << 20, timestamp_min: 1_000, timestamp_max: 9_000 };
const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn three() -> BatchBuilder {
    let headers = [("trace", Some(&b"1"[..])), ("empty", None)];
    BatchBuilder::new(5_000)
        .with(NewRecord { key: Some(b"k"), value: Some(b"first"), ..NewRecord::default() })
        .with(NewRecord { timestamp_delta: 70, value: Some(b"second"), headers: &headers, ..NewRecord::default() })
        .with(NewRecord { timestamp_delta: 7, key: Some(b"gone"), ..NewRecord::default() })
}

/// The batch with some bytes replaced, and a checksum that fits.
fn patched(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// Lesson 74: the bytes that Kafka's documentation says, as Kafka 4.3's own library makes them of these records.
#[test]
fn a_batch_has_the_bytes_that_kafka_gives_it() {
    let batch = BatchBuilder::new(1_700_000_000_000)
        .at(3, LeaderEpoch(7))
        .producer(ProducerId(9), 1, 4)
        .with(NewRecord { key: Some(b"k"), value: Some(b"v"), headers: &[("h", Some(b"x"))], ..NewRecord::default() })
        .with(NewRecord { timestamp_delta: 5, value: Some(b""), ..NewRecord::default() })
        .build();
    let hex: String = batch.iter().map(|byte| format!("{byte:02x}")).collect();
    let golden = concat!(
        "00000000000000030000004500000007026fff2c0d",
        "0000000000010000018bcfe568000000018bcfe5680500000000000000090001000000040000000218",
        "000000026b027602026802780c000a02010000",
    );
    assert_eq!(hex, golden);
}

#[test]
fn every_flipped_bit_is_noticed_but_those_of_the_batchs_place() {
    let batch = three().build();
    let header = validate(&batch).unwrap();
    for (byte, bit) in (0..batch.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut flipped = batch.clone();
        flipped[byte] ^= 1 << bit;
        let is_place = byte < 8 || (12..16).contains(&byte);
        match validate(&flipped) {
            Ok(other) => assert!(is_place && other != header, "byte {byte} bit {bit}"),
            Err(_) => assert!(!is_place, "byte {byte} bit {bit}"),
        }
    }
}

#[test]
fn a_batch_cut_at_any_byte_is_truncated() {
    let batch = three().compression(Compression::Zstd).build();
    for have in 0..batch.len() {
        let need = if have < HEADER_BYTES { HEADER_BYTES } else { batch.len() };
        assert_eq!(validate(&batch[..have]), Err(BatchError::Truncated { have, need }));
    }
}

#[test]
fn a_batch_gets_its_place_and_keeps_its_checksum() {
    let mut batch = three().build();
    assign(&mut batch, i64::MAX - 1, LeaderEpoch(12));
    let header = validate(&batch).unwrap();
    assert_eq!((header.base_offset, header.leader_epoch), (i64::MAX - 1, LeaderEpoch(12)));
    // Impossible, but a producer may claim it.
    assert_eq!(header.end_offset(), i64::MAX);
}

/// Lesson 32: not only the first batch, and by the batches' own lengths.
#[test]
fn batches_follow_each_other_up_to_the_first_that_is_none() {
    let mut log = Vec::new();
    let mut starts = Vec::new();
    for (number, codec) in CODECS.into_iter().enumerate() {
        starts.push(log.len());
        log.extend(three().compression(codec).at(3 * number as i64, LeaderEpoch(0)).build());
    }
    let end = log.len();
    log.extend([0; 100]);
    let mut iterator = batches(&log);
    for (number, start) in starts.iter().enumerate() {
        assert_eq!(iterator.position(), *start);
        let (header, bytes) = iterator.next().unwrap().unwrap();
        assert_eq!((header.base_offset, bytes.len()), (3 * number as i64, header.batch_bytes));
    }
    assert_eq!(iterator.next(), Some(Err(BadBatch { position: end, error: BatchError::Magic(0) })));
    assert_eq!(iterator.next(), None);
    assert!(batches(&[]).next().is_none());
}

#[test]
fn what_a_producer_may_send_is_taken_in_every_codec() {
    for codec in CODECS {
        let batch = three().compression(codec).producer(ProducerId(1), 0, 0).build();
        assert_eq!(validate_produced(&batch, &LIMITS).unwrap().compression(), Ok(codec));
    }
    let timeless = patched(three().build(), 27, &[0xff; 16]);
    assert_eq!(validate_produced(&timeless, &LIMITS).unwrap().max_timestamp, -1);
}

#[test]
fn each_reason_to_refuse_a_producers_batch_is_told_apart() {
    let good = three().build();
    let refusal = |batch: &[u8]| validate_produced(batch, &LIMITS).unwrap_err();
    let two = [three().build(), three().build()].concat();
    assert_eq!(refusal(&two), ProducedError::Several(good.len()));
    assert_eq!(refusal(&[]), ProducedError::Batch(BatchError::Truncated { have: 0, need: HEADER_BYTES }));
    assert_eq!(refusal(&patched(good.clone(), 16, &[1])), ProducedError::Batch(BatchError::Magic(1)));
    assert_eq!(refusal(&patched(good.clone(), 22, &[5])), ProducedError::Batch(BatchError::Codec(5)));
    assert_eq!(refusal(&patched(good.clone(), 8, &[0xff; 4])), ProducedError::Batch(BatchError::Length(-1)));
    assert_eq!(refusal(&patched(good.clone(), 8, &[0, 0, 0, 48])), ProducedError::Batch(BatchError::Length(48)));
    assert!(matches!(refusal(&patched(good.clone(), 57, &[0; 4])), ProducedError::Gaps { record_count: 0, .. }));
    assert!(matches!(refusal(&patched(good.clone(), 57, &[0, 0, 0, 2])), ProducedError::Gaps { record_count: 2, .. }));
    let more = patched(good.clone(), 57, &[0, 0, 0, 4]);
    assert!(matches!(refusal(&more), ProducedError::Batch(BatchError::Count { record_count: 4, .. })));
    let extremes = [0x7f, 0xff, 0xff, 0xff];
    let most = patched(patched(good.clone(), 57, &extremes), 23, &extremes);
    assert!(matches!(refusal(&most), ProducedError::Gaps { record_count: i32::MAX, last_offset_delta: i32::MAX }));
    assert_eq!(refusal(&patched(good.clone(), 22, &[0x20])), ProducedError::Control);
    assert_eq!(refusal(&patched(good.clone(), 22, &[0x10])), ProducedError::Transactional);
    assert_eq!(refusal(&patched(good.clone(), 22, &[0x08])), ProducedError::LogAppendTime);
    assert_eq!(refusal(&three().producer(ProducerId(7), 0, -1).build()), ProducedError::Producer(7));
    assert_eq!(refusal(&three().producer(ProducerId(7), -1, 0).build()), ProducedError::Producer(7));
    let mut flipped = good.clone();
    flipped[70] ^= 1;
    assert!(matches!(refusal(&flipped), ProducedError::Batch(BatchError::Crc { .. })));
    let small = ProducedLimits { batch_bytes_max: good.len() - 1, ..LIMITS };
    let too_large = ProducedError::TooLarge { bytes: good.len(), max: good.len() - 1 };
    assert_eq!(validate_produced(&good, &small), Err(too_large));
    let exact = ProducedLimits { batch_bytes_max: good.len(), timestamp_min: 5_000, timestamp_max: 5_070 };
    assert!(validate_produced(&good, &exact).is_ok());
    for limits in [ProducedLimits { timestamp_min: 5_001, ..exact }, ProducedLimits { timestamp_max: 5_069, ..exact }] {
        assert!(matches!(validate_produced(&good, &limits), Err(ProducedError::Timestamp { .. })));
    }
}
