//! Snapshot files: an image, the entry it stands for, and the group's members as of it.
//!
//! *Which core*: metadata; encoding runs off it.
//! *Invariants*: a file under its final name is whole (written aside, flushed, renamed, directory flushed) and checked by a CRC.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::ConfState;
use storage::disk::{Disk, DiskError, SMALL_FILE_BYTES_MAX};

use super::OpenError;
use super::record::ConfRecord;
use super::tail::SnapshotImage;

const MAGIC: &[u8; 8] = b"CkSnap\0\x01";
const HEADER_BYTES: usize = 16;
const NAME_PREFIX: &str = "snapshot-";

#[derive(Clone, PartialEq, prost::Message)]
struct SnapshotRecord {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(message, required, tag = "3")]
    conf_state: ConfRecord,
    #[prost(bytes = "bytes", tag = "4")]
    image: Bytes,
}

/// The path of the snapshot that ends with entry `index`.
pub fn snapshot_path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{NAME_PREFIX}{index:020}"))
}

/// The index in a snapshot's name.
pub fn index_in_name(name: &str) -> Option<u64> {
    name.strip_prefix(NAME_PREFIX).filter(|digits| digits.len() == 20)?.parse().ok()
}

/// Writes a snapshot, durably.
///
/// # Errors
/// The disk's. A snapshot above [`SMALL_FILE_BYTES_MAX`] is not written.
pub async fn write(disk: &Disk, dir: &Path, snapshot: &SnapshotImage) -> Result<(), DiskError> {
    let path = snapshot_path(dir, snapshot.index);
    let contents = to_bytes(snapshot);
    if contents.len() as u64 > SMALL_FILE_BYTES_MAX {
        let reason = format!("a snapshot of {} bytes is above {SMALL_FILE_BYTES_MAX}", contents.len());
        return Err(DiskError { operation: "write", path, reason: storage::disk::DiskErrorReason::Io(reason) });
    }
    disk.replace_small(&path, &contents).await
}

/// Reads a snapshot back.
///
/// # Errors
/// The disk's, or [`OpenError::Corrupt`].
pub async fn read(disk: &Disk, dir: &Path, index: u64) -> Result<SnapshotImage, OpenError> {
    let path = snapshot_path(dir, index);
    let bytes = disk.read_small(&path).await?;
    let snapshot = from_bytes(&bytes).map_err(|reason| OpenError::corrupt(&path, 0, reason))?;
    if snapshot.index == index {
        return Ok(snapshot);
    }
    Err(OpenError::corrupt(&path, 0, format!("it says that it is the snapshot at {}", snapshot.index)))
}

/// Removes the snapshots before the one at `index`.
///
/// # Errors
/// The disk's; what is left is removed another time.
pub async fn remove_older(disk: &Disk, dir: &Path, index: u64) -> Result<(), DiskError> {
    for entry in disk.list(dir).await? {
        if index_in_name(&entry.name).is_some_and(|other| other < index) {
            disk.remove(&dir.join(&entry.name)).await?;
        }
    }
    disk.sync_dir(dir).await
}

/// Removes what is left of snapshots that were not finished. None may be under way.
///
/// # Errors
/// The disk's.
pub async fn remove_unfinished(disk: &Disk, dir: &Path) -> Result<(), DiskError> {
    for entry in disk.list(dir).await? {
        if entry.name.starts_with(NAME_PREFIX) && index_in_name(&entry.name).is_none() {
            disk.remove(&dir.join(&entry.name)).await?;
        }
    }
    Ok(())
}

/// `MAGIC, payload bytes u32, CRC-32C u32, payload`; the integers little-endian.
fn to_bytes(snapshot: &SnapshotImage) -> Vec<u8> {
    let record = SnapshotRecord {
        index: snapshot.index,
        term: snapshot.term,
        conf_state: ConfRecord::from(&snapshot.conf_state),
        image: snapshot.image.clone(),
    };
    let payload = record.encode_to_vec();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend(MAGIC);
    bytes.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend(crc32c::crc32c(&payload).to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn from_bytes(bytes: &[u8]) -> Result<SnapshotImage, String> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or("shorter than its header")?;
    if &header[..8] != MAGIC {
        return Err("no snapshot of a format that this build knows".to_owned());
    }
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
    if payload.len() as u64 != u64::from(word(8)) {
        return Err(format!("{} bytes where {} should follow the header", payload.len(), word(8)));
    }
    if crc32c::crc32c(payload) != word(12) {
        return Err("its checksum does not match its bytes".to_owned());
    }
    let record = SnapshotRecord::decode(payload).map_err(|error| error.to_string())?;
    let conf_state = ConfState::from(record.conf_state);
    Ok(SnapshotImage { index: record.index, term: record.term, conf_state, image: record.image })
}
