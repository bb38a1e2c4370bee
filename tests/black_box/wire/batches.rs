//! Record batches that lie about themselves (lesson 74).

use bytes::Bytes;
use kafka_protocol::records::Compression;

use crate::support::load::{create_topic, offsets, read_all};
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, produce_request, with_right_crc};
use crate::support::{fresh_name, shared};

/// A record batch without its records.
const HEADER_BYTES: usize = 61;
const CORRUPT_MESSAGE: i16 = 2;

/// Sends one batch; the error code, or `None` where the broker closed the connection instead.
fn outcome(bootstrap: &str, topic: &str, batch: Vec<u8>) -> Option<i16> {
    let mut wire = Wire::connect(bootstrap);
    wire.send(&produce_request(topic, 0, -1, Bytes::from(batch)), PRODUCE_VERSION);
    let mut body = wire.receive_raw().ok()?;
    use kafka_protocol::messages::{ProduceResponse, ResponseHeader};
    use kafka_protocol::protocol::{Decodable, HeaderVersion};
    ResponseHeader::decode(&mut body, ProduceResponse::header_version(PRODUCE_VERSION)).expect("a header");
    let response = ProduceResponse::decode(&mut body, PRODUCE_VERSION).expect("a body");
    let partition = &response.responses[0].partition_responses[0];
    assert_eq!(partition.error_code == 0, partition.base_offset >= 0, "an error never carries an offset");
    Some(partition.error_code)
}

#[test]
fn a_batch_with_any_bit_flipped_is_refused() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("flip"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let good = batch(&[b"first", b"second"], Compression::None);
    for at in 0..good.len() {
        let mut spoiled = good.to_vec();
        spoiled[at] ^= 1 << (at % 8);
        let code = outcome(&bootstrap, &topic, spoiled);
        match at {
            // The broker chooses the base offset and the leader epoch; a producer's words for them do not count, or are refused.
            0..=7 | 12..=15 => {}
            HEADER_BYTES.. => assert_eq!(code, Some(CORRUPT_MESSAGE), "byte {at}"),
            // A field that cannot be is refused before the checksum is looked at.
            _ => assert_ne!(code, Some(0), "byte {at}"),
        }
    }
    assert_only_whole_batches(&bootstrap, &topic);
}

#[test]
fn a_batch_whose_fields_disagree_is_refused_though_its_checksum_is_right() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("lies"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let good = batch(&[b"first", b"second"], Compression::None).to_vec();
    let spoil = |at: usize, bytes: &[u8]| {
        let mut spoiled = good.clone();
        spoiled[at..at + bytes.len()].copy_from_slice(bytes);
        with_right_crc(spoiled)
    };
    let lies = [
        ("an unknown codec", spoil(21, &7_i16.to_be_bytes())),
        ("a control batch", spoil(21, &0x20_i16.to_be_bytes())),
        ("a last offset delta beyond the count", spoil(23, &7_i32.to_be_bytes())),
        ("a last offset delta below the count", spoil(23, &0_i32.to_be_bytes())),
        ("a negative last offset delta", spoil(23, &(-1_i32).to_be_bytes())),
        ("a count beyond the records", spoil(57, &3_i32.to_be_bytes())),
        ("no records", spoil(57, &0_i32.to_be_bytes())),
        ("a negative count", spoil(57, &(-2_i32).to_be_bytes())),
        ("a count of two billion", spoil(57, &i32::MAX.to_be_bytes())),
        ("half a record", with_right_crc(shortened(&good, 3))),
        ("nothing but a header", with_right_crc(shortened(&good, good.len() - 61))),
        ("magic 1", spoil(16, &[1])),
        ("magic 3", spoil(16, &[3])),
    ];
    for (name, batch) in lies {
        let code = outcome(&bootstrap, &topic, batch);
        assert_ne!(code, Some(0), "{name}");
    }
    assert_eq!(offsets(&bootstrap, &topic, 0), (0, 0));
    assert_eq!(outcome(&bootstrap, &topic, good), Some(0));
}

/// The batch without its last bytes, and with a length that says so.
fn shortened(batch: &[u8], by: usize) -> Vec<u8> {
    let mut batch = batch[..batch.len() - by].to_vec();
    let length = i32::try_from(batch.len() - 12).expect("a small batch");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch
}

/// What was stored is the good batch, whole, any number of times.
fn assert_only_whole_batches(bootstrap: &str, topic: &str) {
    let records = read_all(bootstrap, topic, 0);
    for pair in records.chunks(2) {
        let values: Vec<&[u8]> = pair.iter().map(|record| record.value.as_deref().expect("a value")).collect();
        assert_eq!(values, [&b"first"[..], b"second"]);
    }
}
