//! Our sealed segments through Kafka's own reader: an independent check of the format on disk.

use std::path::PathBuf;

use crate::support::clients::kafka_tools;
use crate::support::load::{Record, create_topic, produce};
use crate::support::{eventually, fresh_name, shared};

#[test]
fn kafka_dumps_our_sealed_segments_and_finds_every_batch_valid() {
    let Some(tools) = kafka_tools() else { return };
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("segments"));
    let Some(folder) = shared::partition_dir(&topic, 0) else { return };
    create_topic(&bootstrap, &topic, 1, &[("segment.bytes", "1048576")]);
    let records: Vec<Record> = (0..4000_u32)
        .map(|n| Record {
            key: Some(n.to_string().into_bytes()),
            headers: vec![("n".into(), Some(n.to_string().into_bytes()))],
            ..Record::of(vec![b'v'; 1000])
        })
        .collect();
    for (codec, part) in ["none", "gzip", "snappy", "lz4", "zstd"].iter().zip(records.chunks(800)) {
        // Compressed, these would fit one segment: they follow the plain ones, and small batches make many.
        produce(&bootstrap, &topic, 0, &[("compression.codec", codec), ("batch.num.messages", "50")], part);
    }
    let plain = produce(&bootstrap, &topic, 0, &[("batch.num.messages", "50")], &records);
    let sealed = eventually(std::time::Duration::from_secs(20), "four segments are sealed", || {
        let mut sealed = log_files(&folder);
        sealed.pop();
        (sealed.len() >= 4 && sealed.iter().all(|file| ends_with_a_batch(file))).then_some(sealed)
    });
    assert_eq!(sealed[0].file_name().expect("a name"), "00000000000000000000.log");
    let list = sealed.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(",");
    let dump = tools.run("DumpLogSegments", &["--files", &list, "--deep-iteration"]);
    let next = check_dump(&dump);
    assert!(next > 2000 && next <= plain.last().expect("sent") + 1, "{next}");
}

/// Every batch valid and every record in its place; returns the offset after the last.
fn check_dump(dump: &str) -> i64 {
    let mut next_batch = 0;
    let mut next_record = 0;
    for line in dump.lines() {
        let field = |name: &str| {
            let rest = line.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {line}"));
            rest.split_whitespace().next().expect("a value").to_owned()
        };
        let number = |name: &str| field(name).parse::<i64>().expect("a number");
        if line.starts_with("baseOffset: ") {
            assert_eq!(number("baseOffset: "), next_batch, "{line}");
            assert_eq!(field("isvalid: "), "true", "{line}");
            assert_eq!(field("magic: "), "2", "{line}");
            next_batch = number("lastOffset: ") + 1;
        } else if line.starts_with("| offset: ") {
            assert_eq!(number("| offset: "), next_record, "{line}");
            next_record += 1;
        } else {
            assert!(line.starts_with("Dumping ") || line.starts_with("Log starting offset: "), "unexpected: {line}");
        }
    }
    assert_eq!(next_batch, next_record);
    next_batch
}

/// Whether nothing follows the last batch: a segment that is being written has zeros there.
fn ends_with_a_batch(file: &std::path::Path) -> bool {
    let bytes = std::fs::read(file).expect("a segment can be read");
    let mut rest = &bytes[..];
    while let Some(length) = rest.get(8..12) {
        let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
        match rest.get(12 + length as usize..) {
            Some(next) if length > 0 => rest = next,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// The `.log` files of a partition, by base offset.
fn log_files(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    let is_segment = |file: &PathBuf| {
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        file.extension().is_some_and(|extension| extension == "log") && stem.bytes().all(|byte| byte.is_ascii_digit())
    };
    files.retain(is_segment);
    files.sort();
    files
}
