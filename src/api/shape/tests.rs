//! Requests that claim more than they have.

use bytes::BytesMut;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::{BrokerId, FetchRequest};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use uuid::Uuid;

use super::*;

/// With every tagged field that the version has.
fn fetch(version: i16) -> Vec<u8> {
    let mut partition = FetchPartition::default();
    if version >= 17 {
        partition.replica_directory_id = Uuid::from_bytes([0xdd; 16]);
    }
    if version >= 18 {
        partition.high_watermark = 0x1111_1111_1111_1111;
    }
    let mut request = FetchRequest::default()
        .with_cluster_id(Some(StrBytes::from_static_str("ccccc")))
        .with_topics(vec![FetchTopic::default().with_partitions(vec![partition; 2])]);
    if version >= 15 {
        request.replica_state = ReplicaState::default().with_replica_id(BrokerId(0x2222_2222)).with_replica_epoch(3);
    }
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes, version).expect("a fetch of that version");
    bytes.to_vec()
}

fn place(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).expect("it is there")
}

#[test]
fn known_tagged_fields_are_walked_as_they_are_decoded() {
    for version in 12..=18 {
        let bytes = fetch(version);
        assert_eq!(check(ApiKey::Fetch, version, &bytes), Ok(bytes.len()), "version {version}");
        for end in 0..bytes.len() {
            check(ApiKey::Fetch, version, &bytes[..end]).expect_err("cut");
        }
    }
}

/// Lesson 81. The decoder reads these by their form: were they skipped by a size that lies, it would find other lengths behind
/// them than those that were checked.
#[test]
fn a_tagged_field_that_does_not_fill_its_size_is_refused() {
    // Tag, size, first bytes of the value.
    for (tag, lie) in
        [(0, &[0, 16, 0xdd][..]), (1, &[1, 8, 0x11][..]), (0, &[0, 6, 6, b'c'][..]), (1, &[1, 13, 0x22][..])]
    {
        let good = fetch(18);
        let at = place(&good, lie) + 1;
        for size in (0..=20).filter(|size| *size != good[at]) {
            let mut bytes = good.clone();
            bytes[at] = size;
            assert_eq!(check(ApiKey::Fetch, 18, &bytes), Err(ShapeError::Tag(tag)), "{size} for {}", good[at]);
        }
    }
}

#[test]
fn a_tagged_field_of_a_later_version_is_refused() {
    let bytes = [&fetch(14)[..fetch(14).len() - 9], &[1, 1, 1, 0]].concat();
    assert_eq!(check(ApiKey::Fetch, 14, &bytes), Err(ShapeError::Tag(1)));
    FetchRequest::decode(&mut &bytes[..], 14).expect_err("the decoder refuses it, too");
}

#[test]
fn unknown_tagged_fields_are_skipped_by_their_size() {
    let mut bytes = fetch(12);
    let tags = place(&bytes, &[1, 0, 6, 6]);
    bytes[tags] = 2;
    bytes.extend([99, 3, 0xff, 0xff, 0xff]);
    assert_eq!(check(ApiKey::Fetch, 12, &bytes), Ok(bytes.len()));
    FetchRequest::decode(&mut &bytes[..], 12).expect("the decoder skips it, too");
}

#[test]
fn an_array_of_more_elements_than_bytes_is_refused() {
    // Metadata, version 1: topics.
    let lie = [i32::MAX.to_be_bytes().as_slice(), &[0; 100]].concat();
    assert_eq!(check(ApiKey::Metadata, 1, &lie), Err(ShapeError::Array { count: i32::MAX as u64, left: 100 }));
    assert_eq!(check(ApiKey::Metadata, 1, &(-2_i32).to_be_bytes()), Err(ShapeError::Negative));
    assert_eq!(check(ApiKey::Metadata, 9, &[0xff, 0xff, 0xff, 0xff, 0x1f, 0, 0]), Err(ShapeError::Varint));
}
