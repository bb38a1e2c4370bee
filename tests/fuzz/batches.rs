//! Record batches: what producers send, and what a scan of a log finds.

use bytes::BytesMut;
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use storage::batch::{BatchHeader, ProducedLimits, validate, validate_produced};

const LIMITS: ProducedLimits =
    ProducedLimits { batch_bytes_max: 1 << 20, timestamp_min: i64::MIN, timestamp_max: i64::MAX };

fn samples() -> Vec<Vec<u8>> {
    let record = |offset: i64| Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: 7,
        producer_epoch: 1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: i32::try_from(offset).expect("few"),
        timestamp: 1_690_000_000_000 + offset,
        key: Some(b"key".as_slice().into()),
        value: Some(vec![b'v'; 100].into()),
        headers: Default::default(),
    };
    [1, 2, 50]
        .into_iter()
        .map(|count| {
            let records: Vec<Record> = (0..count).map(record).collect();
            let mut batch = BytesMut::new();
            let options = RecordEncodeOptions { version: 2, compression: Compression::None };
            RecordBatchEncoder::encode(&mut batch, &records, &options).expect("a batch");
            batch.to_vec()
        })
        .collect()
}

/// Half of the inputs get the right checksum, or none would reach the checks behind it.
fn with_right_crc(input: &[u8]) -> Vec<u8> {
    let mut input = input.to_vec();
    if input.len() > 21 && input[20] & 1 == 0 {
        let crc = crc32c::crc32c(&input[21..]);
        input[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    input
}

#[test]
fn fuzz_a_produced_batch_is_valid_or_refused() {
    crate::run(&samples(), |input| {
        let input = with_right_crc(input);
        if let Ok(header) = validate_produced(&input, &LIMITS) {
            assert_eq!(header.batch_bytes, input.len());
            assert!(header.record_count > 0 && header.end_offset() > header.base_offset);
        }
    });
}

#[test]
fn fuzz_a_scan_never_reads_beyond_a_batch() {
    crate::run(&samples(), |input| {
        let input = with_right_crc(input);
        if let Ok(header) = BatchHeader::parse(&input) {
            assert!(header.batch_bytes >= 61);
        }
        if let Ok(header) = validate(&input) {
            assert!(header.batch_bytes <= input.len());
        }
    });
}
