//! Which files a path stands for.
//!
//! Why a directory with neither segments nor a partition's metadata is an error: whoever names one has most likely named the wrong
//! one. A partition that was never written to has no segment, and is in order.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Says which topic a partition is of; there before its first segment.
const METADATA_NAME: &str = "partition.metadata";
/// A segment that began before its name was known.
pub const PREPARED_NAME: &str = "prepared.log";
/// Digits of the offset in a file's name.
const NAME_DIGITS: usize = 20;

/// A segment's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its first offset, by its name; of `prepared.log`, unknown.
    pub base_offset: Option<i64>,
}

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The segments, by rising offset; then `prepared.log`.
    pub segments: Vec<SegmentFile>,
    /// The files beside them that belong to one offset, in order of their names.
    pub companions: Vec<PathBuf>,
}

impl Partition {
    /// Looks what is there.
    pub fn open(path: &Path) -> Result<Partition> {
        let metadata = fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut partition = Partition { segments: Vec::new(), companions: Vec::new() };
        if !metadata.is_dir() {
            let segment = segment(path);
            let what = "is neither a directory nor a segment (00000000000000000000.log, or prepared.log)";
            partition.segments.push(segment.with_context(|| format!("{} {what}", path.display()))?);
            return Ok(partition);
        }
        for entry in fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))? {
            let found = entry.with_context(|| format!("cannot list {}", path.display()))?.path();
            match segment(&found) {
                Some(segment) => partition.segments.push(segment),
                None => partition.companions.push(found),
            }
        }
        if partition.segments.is_empty() && path.join("partitions").is_dir() {
            bail!("{} is a data directory; name partitions, such as {}/partitions/*", path.display(), path.display());
        }
        let is_partition = !partition.segments.is_empty() || path.join(METADATA_NAME).is_file();
        ensure!(is_partition, "{} is no partition: it holds no segment", path.display());
        partition.segments.sort_by_key(|segment| segment.base_offset.unwrap_or(i64::MAX));
        partition.companions.sort();
        Ok(partition)
    }
}

fn segment(path: &Path) -> Option<SegmentFile> {
    let is_prepared = path.file_name().is_some_and(|name| name == PREPARED_NAME);
    let base_offset = offset_in_name(path, "log");
    (is_prepared || base_offset.is_some()).then(|| SegmentFile { path: path.to_path_buf(), base_offset })
}

/// The offset after which a file is named, if it is one of that kind.
pub fn offset_in_name(path: &Path, extension: &str) -> Option<i64> {
    if path.extension().is_none_or(|found| found != extension) {
        return None;
    }
    let stem = path.file_stem()?.to_str()?;
    let is_offset = stem.len() == NAME_DIGITS && stem.bytes().all(|byte| byte.is_ascii_digit());
    stem.parse().ok().filter(|_| is_offset)
}
