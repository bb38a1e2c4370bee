//! Whole runs over files made to order: cut and flipped at every byte.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use serde_json::Value;
use storage::batch::{BatchBuilder, BatchHeader, Compression, NewRecord};
use storage::epochs::EpochCache;
use storage::ids::{LeaderEpoch, ProducerId};
use storage::index::IndexBuilder;
use storage::producers::ProducerTable;

use crate::options::Options;
use crate::print;

const ZEROS: usize = 100;

/// Some small batches from `base_offset` on, of three records each and of every codec.
fn batches(base_offset: i64, leader_epoch: i32, count: usize) -> Vec<Vec<u8>> {
    let codecs = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
    let one = |number: usize| {
        let headers = [("h", Some(&b"x"[..]))];
        BatchBuilder::new(1_000 + number as i64)
            .at(base_offset + 3 * number as i64, LeaderEpoch(leader_epoch))
            .compression(codecs[number % codecs.len()])
            .producer(ProducerId(5), 0, 3 * number as i32)
            .with(NewRecord { key: Some(b"key"), value: Some(b"value"), ..NewRecord::default() })
            .with(NewRecord { value: Some(b"\"\xff\n"), headers: &headers, ..NewRecord::default() })
            .with(NewRecord { timestamp_delta: 9, key: Some(b"gone"), ..NewRecord::default() })
            .build()
    };
    (0..count).map(one).collect()
}

fn segment_path(dir: &Path, base_offset: i64) -> PathBuf {
    dir.join(format!("{base_offset:020}.log"))
}

/// Runs a command; its exit status as for `main`, and what it prints.
fn run(arguments: &[&str], path: &Path) -> (bool, String) {
    let options = Options::parse_from([&["chronik-log"], arguments, &[path.to_str().unwrap()]].concat());
    let mut out = Vec::new();
    let is_good = crate::run(&options, &mut out).unwrap();
    (is_good, String::from_utf8(out).unwrap())
}

/// Runs a command with `--json`; the objects that it prints.
fn run_json(arguments: &[&str], path: &Path) -> (bool, Vec<Value>) {
    let (is_good, out) = run(&[&["--json"], arguments].concat(), path);
    (is_good, out.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// A partition with two sealed segments, one open one, and what lies beside them.
fn partition() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut table = ProducerTable::default();
    for (base_offset, epoch) in [(0, 0), (15, 2), (30, 2)] {
        let (mut index, mut bytes) = (IndexBuilder::new(base_offset, 100), Vec::new());
        for batch in batches(base_offset, epoch, 5) {
            let header = BatchHeader::parse(&batch).unwrap();
            index.add(&header, bytes.len() as u64);
            table.advance(&header, 0);
            bytes.extend(batch);
        }
        if base_offset == 30 {
            bytes.extend([0; ZEROS]);
        } else {
            let (offsets, times) = index.finish();
            assert!(offsets.len() >= 2 && !times.is_empty());
            fs::write(segment_path(dir.path(), base_offset).with_extension("index"), offsets.to_bytes()).unwrap();
            fs::write(segment_path(dir.path(), base_offset).with_extension("timeindex"), times.to_bytes()).unwrap();
        }
        fs::write(segment_path(dir.path(), base_offset), bytes).unwrap();
    }
    fs::write(dir.path().join(format!("{:020}.snapshot", 45)), table.to_bytes()).unwrap();
    let epochs = EpochCache::new([(LeaderEpoch(0), 0), (LeaderEpoch(2), 15), (LeaderEpoch(3), 45)]);
    fs::write(dir.path().join("leader-epoch-checkpoint"), epochs.to_text()).unwrap();
    fs::write(dir.path().join("partition.metadata"), "version: 0\n").unwrap();
    dir
}

/// The file and byte of the only finding.
fn only_finding(found: &[Value]) -> (String, u64) {
    let bad: Vec<&Value> = found.iter().filter(|object| object["kind"] == "bad").collect();
    assert_eq!(bad.len(), 1, "{found:?}");
    let file = Path::new(bad[0]["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
    (file, bad[0]["position"].as_u64().unwrap())
}

#[test]
fn the_command_line_is_consistent() {
    Options::command().debug_assert();
}

#[test]
fn a_partition_in_order_is_said_to_be_so() {
    let dir = partition();
    let (is_good, out) = run(&["verify", "--records"], dir.path());
    assert!(is_good, "{out}");
    assert!(out.ends_with(": in order; 15 good batches, 45 records\n"), "{out}");
}

#[test]
fn a_segment_cut_at_any_byte_is_in_order_only_between_two_batches() {
    let dir = tempfile::tempdir().unwrap();
    let all = batches(0, 0, 4);
    let whole = all.concat();
    let path = segment_path(dir.path(), 0);
    for cut in 0..=whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let (is_good, found) = run_json(&["verify"], &path);
        let (mut start, mut before) = (0, 0);
        while before < all.len() && start + all[before].len() <= cut {
            start += all[before].len();
            before += 1;
        }
        assert_eq!(found.last().unwrap()["good_batches"], before, "cut at {cut}");
        // What is left of a batch may be zeros: then it is no different from space.
        let is_clean = whole[start..cut].iter().all(|byte| *byte == 0);
        assert_eq!(is_good, is_clean, "cut at {cut}");
        if !is_clean {
            assert_eq!(only_finding(&found).1, cut as u64);
        }
    }
}

#[test]
fn a_byte_flipped_anywhere_is_found_in_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let all = batches(0, 8, 4);
    let whole = [all.concat(), vec![0; ZEROS]].concat();
    let path = segment_path(dir.path(), 0);
    let starts: Vec<usize> =
        all.iter().scan(0, |end, batch| Some(std::mem::replace(end, *end + batch.len()))).collect();
    let end = whole.len() - ZEROS;
    for byte in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[byte] ^= 0x01;
        fs::write(&path, &flipped).unwrap();
        let (is_good, found) = run_json(&["verify"], &path);
        if byte >= end {
            // In the zeros it is exact; where a header should be it may pass for the beginning of one.
            let position = only_finding(&found).1;
            assert!(!is_good && (position == byte as u64 || byte < end + 12), "byte {byte}: {position}");
            continue;
        }
        let own = starts.partition_point(|start| *start <= byte) - 1;
        let in_batch = byte - starts[own];
        let raises_epoch = (12..16).contains(&in_batch);
        if raises_epoch && own == starts.len() - 1 {
            assert!(is_good, "nothing in the segment says that the last epoch is too high");
            continue;
        }
        let (position, good) = (only_finding(&found).1 as usize, &found.last().unwrap()["good_batches"]);
        assert!(!is_good);
        // An epoch that is too high shows in the next batch, whose own is lower.
        let shown = own + usize::from(raises_epoch);
        let shown_end = starts.get(shown + 1).copied().unwrap_or(whole.len() + 1);
        assert!((starts[shown]..shown_end).contains(&position), "byte {byte} of batch {own}: {position}");
        assert_eq!(*good, shown, "byte {byte}");
    }
}

#[test]
fn damage_says_where_the_next_good_batch_is() {
    let dir = tempfile::tempdir().unwrap();
    let all = batches(0, 0, 3);
    let (path, start, end) = (segment_path(dir.path(), 0), all[0].len(), all[0].len() + all[1].len());
    let mut bytes = all.concat();
    bytes[start + 70] ^= 1;
    fs::write(&path, bytes).unwrap();
    let (_, out) = run(&["verify"], &path);
    assert!(out.contains(&format!("byte {}: CRC-32C is", start + 21)), "{out}");
    assert!(
        out.contains(&format!("(the batch at byte {start}); the next good batch is at byte {end}, offset 6")),
        "{out}"
    );
}

#[test]
fn what_lies_beside_the_segments_is_compared_with_them() {
    let index = |number: u64, extension: &str| format!("{number:020}.{extension}");
    let flips: [(String, usize); 5] = [
        (index(0, "index"), 3),
        (index(15, "index"), 7),
        (index(0, "timeindex"), 7),
        (index(15, "timeindex"), 11),
        (index(45, "snapshot"), 20),
    ];
    for (name, byte) in flips {
        let dir = partition();
        let mut bytes = fs::read(dir.path().join(&name)).unwrap();
        bytes[byte] ^= 2;
        fs::write(dir.path().join(&name), bytes).unwrap();
        let (is_good, found) = run_json(&["verify"], dir.path());
        assert!(!is_good);
        assert_eq!(only_finding(&found).0, name);
    }
    for text in ["0\n1\n1 0\n", "0\n2\n0 0\n", "1\n0\n"] {
        let dir = partition();
        fs::write(dir.path().join("leader-epoch-checkpoint"), text).unwrap();
        assert_eq!(only_finding(&run_json(&["verify"], dir.path()).1).0, "leader-epoch-checkpoint", "{text:?}");
    }
    let dir = partition();
    // It may know less than the log.
    fs::write(dir.path().join("leader-epoch-checkpoint"), "0\n1\n0 0\n").unwrap();
    assert!(run(&["verify"], dir.path()).0);
}

#[test]
fn a_missing_segment_is_found() {
    let dir = partition();
    for extension in ["log", "index", "timeindex"] {
        fs::remove_file(segment_path(dir.path(), 15).with_extension(extension)).unwrap();
    }
    let (is_good, found) = run_json(&["verify"], dir.path());
    assert!(!is_good);
    assert_eq!(only_finding(&found), (format!("{:020}.log", 30), 0));
    assert!(found[0]["reason"].as_str().unwrap().contains("begins at offset 30, 15 comes next"), "{found:?}");
}

#[test]
fn a_prepared_segment_goes_on_where_the_last_one_ends() {
    let dir = partition();
    let prepared = dir.path().join("prepared.log");
    fs::write(&prepared, [batches(45, 3, 2).concat(), vec![0; ZEROS]].concat()).unwrap();
    assert!(run(&["verify"], dir.path()).0);
    fs::write(&prepared, batches(46, 3, 2).concat()).unwrap();
    assert_eq!(only_finding(&run_json(&["verify"], dir.path()).1), ("prepared.log".to_owned(), 0));
    fs::write(&prepared, []).unwrap();
    assert!(run(&["verify"], dir.path()).0);
}

#[test]
fn a_dump_shows_batches_and_records_and_begins_where_it_is_told() {
    let dir = partition();
    let (is_good, out) = run(&["dump", "--records", "--from-offset", "16", "--count", "2"], dir.path());
    assert!(is_good);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 9, "{out}");
    assert!(lines[1].starts_with("byte 0: offsets 15 to 17, 3 records, "), "{out}");
    assert!(lines[1].contains(", none, epoch 2, time 1000 to 1009, crc 0x"), "{out}");
    assert!(lines[1].ends_with(", producer 5 epoch 0 sequence 0"), "{out}");
    assert_eq!(lines[2], "  offset 15, time 1000, key \"key\", value \"value\"");
    assert_eq!(lines[3], "  offset 16, time 1000, key null, value \"\\\"\\xff\\n\", header \"h\" = \"x\"");
    assert_eq!(lines[4], "  offset 17, time 1009, key \"gone\", value null");
    let (_, found) = run_json(&["dump", "--records"], dir.path());
    let of_kind = |kind: &str| found.iter().filter(|object| object["kind"] == kind).count();
    assert_eq!((of_kind("batch"), of_kind("record"), found.len()), (15, 45, 60));
    assert_eq!(found[1]["value"], "value");
}

#[test]
fn stats_count_what_is_there() {
    let dir = partition();
    let (is_good, found) = run_json(&["stats"], dir.path());
    let stats = &found[0];
    assert!(is_good && stats["good"] == true);
    for (name, expected) in [
        ("segments", 3),
        ("batches", 15),
        ("records", 45),
        ("zero_bytes", ZEROS as i64),
        ("first_offset", 0),
        ("end_offset", 45),
        ("timestamp_min", 1_000),
        ("timestamp_max", 1_013),
        ("producers", 1),
        ("leader_epochs", 2),
    ] {
        assert_eq!(stats[name], expected, "{name}");
    }
    assert_eq!(stats["by_compression"]["zstd"]["batches"], 3);
    let (_, text) = run(&["stats"], dir.path());
    assert!(text.contains("  leader epochs: 0 from offset 0, 2 from offset 15\n"), "{text}");
}

#[test]
fn a_partition_without_a_record_is_in_order() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("partition.metadata"), "version: 0\n").unwrap();
    let (is_good, out) = run(&["verify"], dir.path());
    assert!(is_good && out.ends_with(": in order; 0 good batches, 0 records\n"), "{out}");
    fs::write(segment_path(dir.path(), 0), &batches(0, 0, 1)[0]).unwrap();
    let (is_good, out) = run(&["verify"], dir.path());
    assert!(is_good && out.ends_with(": in order; 1 good batch, 3 records\n"), "{out}");
}

#[test]
fn a_path_that_is_no_partition_is_refused_with_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("partitions")).unwrap();
    fs::write(dir.path().join("notes.txt"), "x").unwrap();
    let refusal = |path: &Path| {
        let options = Options::parse_from(["chronik-log", "verify", path.to_str().unwrap()]);
        crate::run(&options, &mut Vec::new()).unwrap_err().to_string()
    };
    assert!(refusal(dir.path()).contains("is a data directory; name partitions"));
    assert!(refusal(&dir.path().join("notes.txt")).contains("neither a directory nor a segment"));
    assert!(refusal(&dir.path().join("partitions")).contains("holds no segment"));
    assert!(refusal(&dir.path().join("nowhere")).contains("cannot read"));
}

#[test]
fn bytes_are_printed_so_that_each_can_be_told() {
    assert_eq!(print::text("a\u{e9}\"\\\n".as_bytes(), 0), "a\u{e9}\\\"\\\\\\n");
    assert_eq!(print::text(b"\x00\xff\xc3", 0), "\\u{0}\\xff\\xc3");
    assert_eq!(print::text(b"abcdef", 3), "abc... (6 bytes)");
}
