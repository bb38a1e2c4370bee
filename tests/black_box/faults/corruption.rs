//! Torn and spoiled files. Each byte gets a partition of its own, so that one restart shows them all.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use crate::support::broker::{Broker, Options};
use crate::support::eventually;
use crate::support::load::{LIMIT, create_topic};
use crate::support::shared;
use crate::support::wire::{PRODUCE_VERSION, Wire, batch, produce_request};

const TOPIC: &str = "t";
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const FETCH_VERSION: i16 = 12;
const STOP: Duration = Duration::from_secs(10);

/// The values of the batches that every partition gets, one record each.
const VALUES: [&[u8]; 5] = [b"zero", b"one", b"two", b"three", b"four"];

/// The first segment of a partition.
fn segment(broker: &Broker, partition: usize) -> File {
    let path = broker.partition_dir(TOPIC, index(partition)).join("00000000000000000000.log");
    OpenOptions::new().read(true).write(true).open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn index(partition: usize) -> i32 {
    i32::try_from(partition).expect("few")
}

/// Produces the values to each of so many partitions; returns the length of each batch on disk.
fn fill(broker: &Broker, partitions: usize) -> Vec<usize> {
    create_topic(&broker.bootstrap(), TOPIC, index(partitions), &[]);
    let mut wire = Wire::connect(&broker.bootstrap());
    let batches: Vec<Bytes> = VALUES.iter().map(|value| batch(&[value], Compression::None)).collect();
    for (number, batch) in batches.iter().enumerate() {
        let requests = (0..partitions).map(|partition| produce_request(TOPIC, index(partition), -1, batch.clone()));
        let requests: Vec<ProduceRequest> = requests.collect();
        let ids: Vec<i32> = requests.iter().map(|request| wire.send(request, PRODUCE_VERSION)).collect();
        let codes: Vec<i16> =
            ids.into_iter().map(|id| code(&wire.receive::<ProduceRequest>(PRODUCE_VERSION, id))).collect();
        for (request, first) in requests.iter().zip(codes).filter(|(_, first)| *first != 0) {
            // A new partition may need a moment to open.
            assert!(number == 0 && first == NOT_LEADER_OR_FOLLOWER, "error {first}");
            eventually(LIMIT, "it takes a batch", || (code(&wire.ask(request, PRODUCE_VERSION)) == 0).then_some(()));
        }
    }
    batches.iter().map(Bytes::len).collect()
}

/// The error code of a response about one partition.
fn code(response: &ProduceResponse) -> i16 {
    response.responses[0].partition_responses[0].error_code
}

/// What a fetch of a whole partition gives: its bytes, or the error code.
fn fetch(wire: &mut Wire, partition: usize) -> Result<Bytes, i16> {
    let partition = FetchPartition::default().with_partition(index(partition)).with_partition_max_bytes(1 << 20);
    let topic =
        FetchTopic::default().with_topic(TopicName(StrBytes::from_static_str(TOPIC))).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_bytes(1 << 20).with_max_wait_ms(0).with_topics(vec![topic]);
    let response = wire.ask(&request, FETCH_VERSION);
    assert_eq!(response.error_code, 0);
    let partition = &response.responses[0].partitions[0];
    match partition.error_code {
        0 => Ok(partition.records.clone().unwrap_or_default()),
        code => Err(code),
    }
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_three_batches_costs_only_the_torn_batches() {
    if !shared::is_ours() {
        return;
    }
    let torn: usize = VALUES[2..].iter().map(|value| batch(&[value], Compression::None).len()).sum();
    let mut broker = Broker::start_with(Options { settings: no_checkpoints(), ..Options::default() });
    let lengths = fill(&broker, torn);
    let whole: usize = lengths.iter().sum();
    let before: Vec<Bytes> = {
        let mut wire = Wire::connect(&broker.bootstrap());
        (0..torn).map(|partition| fetch(&mut wire, partition).expect("just written")).collect()
    };
    broker.kill();
    for cut in 1..=torn {
        let file = segment(&broker, cut - 1);
        let at = (whole - cut) as u64;
        let end = file.metadata().expect("it is open").len();
        if cut % 2 == 0 {
            file.set_len(at).expect("ours");
        } else {
            let zeros = vec![0; usize::try_from(end.min(at + 4096) - at).expect("small")];
            file.write_all_at(&zeros, at).expect("ours");
        }
        file.sync_all().expect("ours");
    }
    broker.launch();
    let mut wire = Wire::connect(&broker.bootstrap());
    for cut in 1..=torn {
        let mut ends = lengths.iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        let batches_left = ends.clone().filter(|end| *end <= whole - cut).count();
        let bytes_left = ends.nth(batches_left - 1).expect("two batches are never torn");
        let found = fetch(&mut wire, cut - 1).unwrap_or_else(|code| panic!("cut {cut}: error {code}"));
        assert_eq!(found, before[cut - 1].slice(..bytes_left), "cut {cut}");
        let again = produce_request(TOPIC, index(cut - 1), -1, batch(&[b"again"], Compression::None));
        let response = wire.ask(&again, PRODUCE_VERSION);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (0, batches_left as i64), "cut {cut}");
    }
}

/// A torn tail is one above every checkpoint; below one it is corruption.
fn no_checkpoints() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_bit_flipped_at_any_byte_is_an_error_or_harmless_and_never_wrong_data() {
    if !shared::is_ours() {
        return;
    }
    let whole: usize = VALUES.iter().map(|value| batch(&[value], Compression::None).len()).sum();
    let mut broker = Broker::start();
    fill(&broker, whole);
    let good = fetch(&mut Wire::connect(&broker.bootstrap()), 0).expect("just written");
    assert_eq!(good.len(), whole);
    assert!(broker.stop(STOP).success());
    for at in 0..whole {
        let file = segment(&broker, at);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).expect("it was written");
        assert_eq!(byte[0], good[at], "a segment holds the batches as they are served");
        byte[0] ^= 1 << (at % 8);
        file.write_all_at(&byte, at as u64).expect("ours");
        file.sync_all().expect("ours");
    }
    broker.launch();
    let mut wire = Wire::connect(&broker.bootstrap());
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for at in 0..whole {
        let outcome = match fetch(&mut wire, at) {
            Ok(found) => {
                if !good.starts_with(&found) {
                    wrong.push(at);
                }
                format!("{} bytes", found.len())
            }
            Err(code) => format!("error {code}"),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{whole} flips: {outcomes:?}");
    assert!(wrong.is_empty(), "something else is served where these bytes were spoiled: {wrong:?}");
    assert!(outcomes.keys().any(|outcome| outcome.starts_with("error")), "nothing was noticed");
}
