//! Whatever bytes come in, what reads batches, records and the small files beside a log gives a value or an error, never a panic,
//! and what it takes for good it can read again.
//!
//! Invariants: an input is made from one number, which a failure prints: `CHRONIK_FUZZ_SEED=N` runs that one alone.
//! `CHRONIK_FUZZ_MS` says for how long, 2,000 if nobody does.
//! Why good inputs are spoiled, and their checksums mended: random bytes get no further than the first check.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use storage::batch::{BatchBuilder, BatchHeader, CRC_START, Compression, HEADER_BYTES, NewRecord};
use storage::batch::{ProducedLimits, batches, validate_produced};
use storage::compression::{compress, decompress};
use storage::epochs::EpochCache;
use storage::ids::{LeaderEpoch, ProducerId};
use storage::index::{IndexBuilder, OffsetIndex, TimeIndex};
use storage::producers::ProducerTable;
use storage::records::Records;

const DECOMPRESSED_MAX: usize = 64 << 10;
const LIMITS: ProducedLimits =
    ProducedLimits { batch_bytes_max: 1 << 20, timestamp_min: i64::MIN, timestamp_max: i64::MAX };
const TARGETS: [fn(&mut SmallRng); 7] =
    [a_produced_batch, a_piece_of_log, records, indexes, a_producer_snapshot, an_epoch_checkpoint, compressed];

#[test]
fn fuzz_no_bytes_panic_a_decoder_and_what_it_takes_it_reads_again() {
    let variable = |name| std::env::var(name).ok().map(|value: String| value.parse::<u64>().expect(name));
    let time = Duration::from_millis(variable("CHRONIK_FUZZ_MS").unwrap_or(2_000));
    let once = variable("CHRONIK_FUZZ_SEED");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64;
    let (first, start) = (once.unwrap_or(now), Instant::now());
    let mut inputs = 0;
    while inputs == 0 || (once.is_none() && start.elapsed() < time) {
        let seed = first.wrapping_add(inputs);
        let mut random = SmallRng::seed_from_u64(seed);
        let target = TARGETS[random.random_range(0..TARGETS.len())];
        let outcome = catch_unwind(AssertUnwindSafe(|| target(&mut random)));
        assert!(outcome.is_ok(), "again by CHRONIK_FUZZ_SEED={seed}");
        inputs += 1;
    }
    println!("{inputs} inputs");
}

fn codec(random: &mut SmallRng) -> Compression {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    codecs[random.random_range(0..codecs.len())]
}

fn bytes(random: &mut SmallRng, bytes_max: usize) -> Vec<u8> {
    let length = random.random_range(0..=bytes_max);
    (0..length).map(|_| random.random_range(b'a'..=b'f')).collect()
}

fn batch(random: &mut SmallRng) -> Vec<u8> {
    let mut builder = BatchBuilder::new(random.random_range(-1..1 << 41)).compression(codec(random));
    if random.random() {
        builder = builder.producer(ProducerId(random.random_range(0..9)), 0, random.random_range(0..i32::MAX));
    }
    for _ in 0..random.random_range(1..8) {
        let (key, value, name) = (bytes(random, 9), bytes(random, 200), bytes(random, 5));
        let name = std::str::from_utf8(&name).expect("letters");
        let headers = [(name, random.random::<bool>().then_some(&key[..]))];
        builder.push(NewRecord {
            timestamp_delta: random.random_range(-5..500),
            key: random.random::<bool>().then_some(&key[..]),
            value: random.random_bool(0.9).then_some(&value[..]),
            headers: if random.random() { &headers } else { &[] },
        });
    }
    builder.build()
}

/// Spoils some places; seldom all of it.
fn spoil(input: &mut Vec<u8>, random: &mut SmallRng) {
    const LIES: [&[u8]; 8] =
        [&[0], &[0x7f], &[0xff], &[0x80, 0], &[0x7f, 0xff, 0xff, 0xff], &[0x80, 0, 0, 0], &[0xff; 4], &[0xff; 10]];
    if random.random_bool(0.02) {
        input.iter_mut().for_each(|byte| *byte = random.random());
    }
    for _ in 0..random.random_range(0..4) {
        let at = random.random_range(0..=input.len());
        let end = (at + random.random_range(0..12)).min(input.len());
        match random.random_range(0..6) {
            0 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            1 | 2 => {
                let lie = LIES[random.random_range(0..LIES.len())];
                let over = (at + lie.len()).min(input.len());
                input.splice(at..over, lie.iter().copied());
            }
            3 => input.truncate(at),
            4 => drop(input.drain(at..end)),
            _ => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
        }
    }
}

/// The length and the checksum that a batch of these bytes should have, or nothing would get beyond the two.
fn mend(batch: &mut [u8], random: &mut SmallRng) {
    if batch.len() < HEADER_BYTES {
        return;
    }
    if random.random_bool(0.9) {
        let length = batch.len() as i32 - 12;
        batch[8..12].copy_from_slice(&length.to_be_bytes());
    }
    if random.random_bool(0.9) {
        let crc = crc32c::crc32c(&batch[CRC_START..]);
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}

fn a_produced_batch(random: &mut SmallRng) {
    let mut input = batch(random);
    spoil(&mut input, random);
    mend(&mut input, random);
    if let Ok(mut header) = validate_produced(&input, &LIMITS) {
        assert_eq!(header.batch_bytes, input.len());
        assert!(header.record_count > 0 && header.last_offset_delta == header.record_count - 1);
        assert!(header.end_offset() >= header.last_offset());
        let mut table = ProducerTable::default();
        let _verdict = black_box(table.check(&header));
        header.base_offset = 7;
        table.advance(&header, 0);
        assert_eq!(ProducerTable::from_bytes(&table.to_bytes()), Ok(table));
    }
}

fn a_piece_of_log(random: &mut SmallRng) {
    let mut input: Vec<u8> = (0..random.random_range(1..5)).flat_map(|_| batch(random)).collect();
    spoil(&mut input, random);
    let (mut iterator, mut end) = (batches(&input), 0);
    while let Some(next) = iterator.next() {
        match next {
            Ok((header, bytes)) => {
                assert_eq!((bytes.len(), iterator.position()), (header.batch_bytes, end + bytes.len()));
                assert_eq!(bytes, &input[end..end + bytes.len()]);
                end += bytes.len();
            }
            Err(bad) => {
                assert_eq!(bad.position, end);
                assert!(iterator.next().is_none());
                return;
            }
        }
    }
    assert_eq!(end, input.len());
}

fn records(random: &mut SmallRng) {
    let mut input = batch(random);
    spoil(&mut input, random);
    mend(&mut input, random);
    // Spoiled as they are under a codec they seldom come out at all: then spoil them again as they came out.
    if let Ok(records) = Records::of(&input, DECOMPRESSED_MAX) {
        read(&records);
    }
    let Ok(header) = BatchHeader::parse(&input) else { return };
    let Some(inner) = input.get(HEADER_BYTES..).filter(|_| random.random()) else { return };
    let Ok(codec) = header.compression() else { return };
    let Ok(inner) = decompress(codec, inner, DECOMPRESSED_MAX) else { return };
    let mut inner = inner.into_owned();
    spoil(&mut inner, random);
    let mut again = [&input[..HEADER_BYTES], &compress(codec, &inner)].concat();
    let length = again.len() as i32 - 12;
    again[8..12].copy_from_slice(&length.to_be_bytes());
    if let Ok(records) = Records::of(&again, DECOMPRESSED_MAX) {
        read(&records);
    }
}

fn read(records: &Records<'_>) {
    assert!(records.bytes() <= DECOMPRESSED_MAX);
    let mut last_offset = None;
    for record in records.iter() {
        let Ok(record) = record else { break };
        assert!(last_offset.is_none_or(|last| last < record.offset || record.offset == i64::MAX));
        last_offset = Some(record.offset);
        let taken = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let headers: usize = record.headers().map(|(name, value)| name.len() + value.map_or(0, <[u8]>::len)).sum();
        assert!(taken + headers <= records.bytes());
    }
    let newest = records.newest();
    if let Ok(Some((_, timestamp))) = newest {
        assert!(matches!(records.first_since(timestamp), Ok(Some((_, found))) if found == timestamp));
    }
}

fn indexes(random: &mut SmallRng) {
    let base_offset = random.random_range(0..1 << 40);
    let mut builder = IndexBuilder::new(base_offset, 100);
    let (mut position, mut end_offset) = (0, base_offset);
    for _ in 0..random.random_range(0..20) {
        let mut header = BatchHeader::parse(&batch(random)).expect("a batch");
        header.base_offset = end_offset;
        builder.add(&header, position);
        (position, end_offset) = (position + header.batch_bytes as u64, header.end_offset());
    }
    let (offsets, times) = builder.finish();
    let (mut offsets, mut times) = (offsets.to_bytes(), times.to_bytes());
    spoil(&mut offsets, random);
    spoil(&mut times, random);
    if let Ok(mut index) = OffsetIndex::from_bytes(base_offset, position, &offsets) {
        assert_eq!(index.to_bytes(), offsets);
        assert!(index.iter().all(|entry| index.lookup(entry.offset) == entry.position && entry.position < position));
        index.truncate_to(base_offset + 10);
    }
    if let Ok(mut index) = TimeIndex::from_bytes(base_offset, end_offset, &times) {
        assert_eq!(index.to_bytes(), times);
        assert!(index.iter().all(|entry| index.lookup(entry.timestamp) == Some(entry.offset)));
        index.truncate_to(base_offset + 10);
    }
}

fn a_producer_snapshot(random: &mut SmallRng) {
    let (mut table, mut end_offset) = (ProducerTable::default(), 0);
    for _ in 0..random.random_range(0..30) {
        let mut header = BatchHeader::parse(&batch(random)).expect("a batch");
        header.base_offset = end_offset;
        end_offset = header.end_offset();
        table.advance(&header, random.random_range(0..100));
    }
    let mut input = table.to_bytes();
    spoil(&mut input, random);
    if input.len() > 6 && random.random_bool(0.9) {
        let crc = crc32c::crc32c(&input[6..]);
        input[2..6].copy_from_slice(&crc.to_be_bytes());
    }
    if let Ok(mut table) = ProducerTable::from_bytes(&input) {
        assert!(table.len() <= input.len() / 55);
        assert_eq!(ProducerTable::from_bytes(&table.to_bytes()).as_ref(), Ok(&table));
        let _verdict = black_box(table.check(&BatchHeader::parse(&batch(random)).expect("a batch")));
        let _is_enough = table.truncate_to(end_offset / 2);
        table.expire(100, 50);
    }
}

fn an_epoch_checkpoint(random: &mut SmallRng) {
    let entries = (0..random.random_range(0..9)).map(|n| (LeaderEpoch(n * 3), i64::from(n) * 100));
    let mut input = EpochCache::new(entries).to_text().into_bytes();
    spoil(&mut input, random);
    if let Ok(mut cache) = EpochCache::from_text(&input) {
        assert_eq!(EpochCache::from_text(cache.to_text().as_bytes()).as_ref(), Ok(&cache));
        black_box(cache.end_offset_for(LeaderEpoch(random.random()), random.random()));
        cache.truncate_from_end(random.random());
        cache.truncate_from_start(random.random());
        cache.assign(LeaderEpoch(random.random()), random.random());
        assert!(cache.entries().is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
    }
}

fn compressed(random: &mut SmallRng) {
    let codec = codec(random);
    let mut input = compress(codec, &bytes(random, 3_000));
    spoil(&mut input, random);
    let bytes_max = random.random_range(0..4_000);
    if let Ok(bytes) = decompress(codec, &input, bytes_max) {
        assert!(bytes.len() <= bytes_max);
    }
}
