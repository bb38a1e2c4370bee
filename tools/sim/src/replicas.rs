//! What a machine's disk holds for good of a partition and of the metadata log, read without the broker that wrote it.
//!
//! *Invariants*: nothing that a power cut could take is seen.
//! *Why* not by the broker's own recovery: what it would overlook or repair is what is looked for.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use bytes::Bytes;
use chronik::metadata::image::Image;
use chronik::metadata::raft_log::open;
use chronik::metadata::raft_log::record::{HeaderBytes, LogRecord, RecordHeader};
use kafka_protocol::records::RecordBatchDecoder;
use storage::batch::validate;
use storage::disk::{Disk, SimDisk, SimDiskOptions, sim_block_on};

use crate::client::TOPIC;

/// A record's header in the raft log.
const RAFT_HEADER_BYTES: usize = 32;
const METADATA_DIR: &str = "/data/metadata";

/// A replica's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaLog {
    /// Its batches, back to back.
    pub bytes: Vec<u8>,
    /// The values in them, by offset.
    pub values: BTreeMap<i64, Vec<u8>>,
}

/// The log of a partition, from offset 0 as far as it is whole.
pub fn durable_log(disk: &SimDisk, partition: i32) -> Result<ReplicaLog> {
    let dir = format!("/data/partitions/{TOPIC}-{partition}");
    let mut segments: BTreeMap<i64, Vec<u8>> = BTreeMap::new();
    for (path, bytes) in disk.durable_files(Path::new(&dir)) {
        if path.extension().is_some_and(|extension| extension == "log")
            && let Ok(first) = storage::batch::BatchHeader::parse(&bytes)
        {
            // A segment that takes the place of a prepared one may be there under both names.
            segments.entry(first.base_offset).or_insert(bytes);
        }
    }
    let mut log = ReplicaLog::default();
    let mut end_offset = 0;
    for bytes in segments.into_values() {
        let mut rest = &bytes[..];
        while let Some((header, length)) = whole_batch(rest).filter(|(header, _)| header.base_offset == end_offset) {
            end_offset = header.end_offset();
            log.bytes.extend_from_slice(&rest[..length]);
            rest = &rest[length..];
        }
    }
    for set in RecordBatchDecoder::decode_all(&mut Bytes::from(log.bytes.clone()))? {
        for record in set.records {
            log.values.insert(record.offset, record.value.unwrap_or_default().to_vec());
        }
    }
    Ok(log)
}

/// The batch at the beginning, if it is whole, and its length.
fn whole_batch(bytes: &[u8]) -> Option<(storage::batch::BatchHeader, usize)> {
    let batch_length = i32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
    let length = 12 + usize::try_from(batch_length).ok()?;
    let header = validate(bytes.get(..length)?).ok()?;
    Some((header, length))
}

/// An entry of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The term it was proposed in.
    pub term: u64,
    /// Is it a change of metadata, and not of the group's members, or nothing?
    pub is_change: bool,
    /// What it says.
    pub data: Vec<u8>,
}

/// What a machine knows to be committed.
pub struct Committed {
    /// The metadata as of its snapshot.
    pub image: Image,
    /// The entries above that, by index.
    pub entries: BTreeMap<u64, Entry>,
}

/// What a machine knows to be committed. None: its broker has not begun yet.
pub fn committed(disk: &SimDisk) -> Result<Option<Committed>> {
    let files = disk.durable_files(Path::new(METADATA_DIR));
    let Some(log) = files.get(&Path::new(METADATA_DIR).join("raft.log")) else { return Ok(None) };
    let HeaderBytes::Header(header) = RecordHeader::read(log) else { return Ok(None) };
    let payload = log.get(RAFT_HEADER_BYTES..RAFT_HEADER_BYTES + header.payload_bytes).unwrap_or_default();
    let Some(start) = LogRecord::read(payload).ok().and_then(|record| record.start) else { return Ok(None) };
    // Opening may write: it does so on a copy.
    let copy = SimDisk::new(0, SimDiskOptions::default());
    for (path, bytes) in &files {
        copy.set_file_bytes(path, bytes);
    }
    let opening =
        async { open::open(&Disk::Sim(copy.clone()), Path::new(METADATA_DIR), &start.identity(), None).await };
    let opened = sim_block_on(&copy, opening)?;
    let commit = opened.tail.hard_state().commit;
    let above = opened.tail.entries_above(opened.image.version());
    let entries = above.into_iter().filter(|entry| entry.index <= commit).map(|entry| {
        let is_change = entry.entry_type == Default::default() && !entry.data.is_empty();
        (entry.index, Entry { term: entry.term, is_change, data: entry.data.to_vec() })
    });
    Ok(Some(Committed { image: opened.image, entries: entries.collect() }))
}
