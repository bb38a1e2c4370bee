//! The partitions' directories: making, finding, and setting them aside.
//!
//! *Which core*: the executor that owns the partition; listing, once, at start.
//! *Invariants*: a partition is known by the id in its `partition.metadata`, never by its name; that file is there before any
//! record is. What the metadata does not know is renamed first and removed much later, so that a mistake can be undone.
//! *Not here*: deciding what is stray.
//! *Why* the time is in the name: a simulated disk keeps no times, and a copied directory has new ones.

use super::{DataDir, DataDirError, TEMPORARY_SUFFIX, kafka_id};
use crate::disk::{DiskError, DiskErrorReason};
use crate::ids::{PartitionId, TopicId};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::path::{Path, PathBuf};

const METADATA: &str = "partition.metadata";
/// Small files read at a time.
const READS_AT_ONCE: usize = 64;
/// What a file name may have, in bytes.
const NAME_BYTES_MAX: usize = 255;
/// What a topic's name may have, in characters (Kafka's limit).
const TOPIC_CHARS_MAX: usize = 249;

/// A partition's directory, as found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDir {
    /// Where it is.
    pub path: PathBuf,
    /// The topic's name when it was made.
    pub topic: String,
    /// Its index within the topic.
    pub partition: i32,
    /// Which topic it really is of. `None`: its `partition.metadata` is missing, as after a crash while it was made, or
    /// damaged; to be set aside.
    pub topic_id: Option<TopicId>,
}

/// Why a directory is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetAside {
    /// Nobody knows it.
    Stray,
    /// Its topic was deleted.
    Delete,
}

impl SetAside {
    fn suffix(self) -> &'static str {
        match self {
            SetAside::Stray => "-stray",
            SetAside::Delete => "-delete",
        }
    }
}

impl DataDir {
    /// Where a partition's directory is, if it has one.
    pub fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        self.partitions_path().join(format!("{topic}-{partition}"))
    }
    /// Makes a partition's directory, durably; one that is there already for the same partition is fine.
    pub async fn create_partition(&self, topic: &str, id: PartitionId) -> Result<PathBuf, DataDirError> {
        if !is_topic_name(topic) || id.partition < 0 {
            return Err(DataDirError::TopicName(topic.to_owned()));
        }
        let path = self.partition_path(topic, id.partition);
        self.disk.create_dir_all(&path).await?;
        match self.read_topic_id(&path).await? {
            Some(found) if found == id.topic_id => return Ok(path),
            Some(_) => return Err(DataDirError::Occupied(path)),
            None => {}
        }
        // Without a readable id there must be no records either: they could be anybody's.
        let entries = self.disk.list(&path).await?;
        if entries.iter().any(|entry| entry.name != METADATA && !entry.name.ends_with(TEMPORARY_SUFFIX)) {
            return Err(DataDirError::Occupied(path));
        }
        let text = format!("version: 0\ntopic_id: {}\n", kafka_id::to_text(id.topic_id.0));
        self.disk.replace_small(&path.join(METADATA), text.as_bytes()).await?;
        Ok(path)
    }
    /// Every partition's directory, by name; not those set aside, nor what has another kind of name.
    pub async fn partition_dirs(&self) -> Result<Vec<PartitionDir>, DataDirError> {
        let entries = self.disk.list(&self.partitions_path()).await?;
        let named = entries.into_iter().filter(|entry| entry.is_dir).filter_map(|entry| {
            let (topic, partition) = entry.name.rsplit_once('-')?;
            Some((self.partitions_path().join(&entry.name), topic.to_owned(), parse_index(partition)?))
        });
        let found = stream::iter(named).map(async |(path, topic, partition)| {
            let topic_id = self.read_topic_id(&path).await?;
            Ok(PartitionDir { path, topic, partition, topic_id })
        });
        found.buffered(READS_AT_ONCE).try_collect().await
    }
    /// Renames a partition's directory, durably, so that nobody finds it and [`DataDir::remove_set_aside`] will. `random` makes
    /// the name unique. Returns where it is now.
    pub async fn set_aside(
        &self,
        dir: &Path,
        why: SetAside,
        now_wall_ms: i64,
        random: u64,
    ) -> Result<PathBuf, DataDirError> {
        let name = dir.file_name().expect("a partition's directory has a name").to_string_lossy();
        let unique = format!(".{now_wall_ms:016x}{random:016x}{}", why.suffix());
        let room = NAME_BYTES_MAX - unique.len();
        let cut = name.char_indices().map(|(at, character)| at + character.len_utf8()).take_while(|&end| end <= room);
        let to = self.partitions_path().join(format!("{}{unique}", &name[..cut.last().unwrap_or(0)]));
        self.disk.rename(dir, &to).await?;
        self.disk.sync_dir(&self.partitions_path()).await?;
        Ok(to)
    }
    /// Removes what was set aside for this reason at or before a time, for good. Returns how many directories it removed.
    pub async fn remove_set_aside(&self, why: SetAside, until_wall_ms: i64) -> Result<usize, DataDirError> {
        let mut removed = 0;
        for entry in self.disk.list(&self.partitions_path()).await? {
            if set_aside_at(&entry.name, why).is_some_and(|at_ms| at_ms <= until_wall_ms) {
                self.disk.remove_dir_all(&self.partitions_path().join(&entry.name)).await?;
                removed += 1;
            }
        }
        if removed > 0 {
            self.disk.sync_dir(&self.partitions_path()).await?;
        }
        Ok(removed)
    }

    async fn read_topic_id(&self, dir: &Path) -> Result<Option<TopicId>, DataDirError> {
        match self.disk.read_small(&dir.join(METADATA)).await {
            Ok(text) => Ok(parse_topic_id(&text)),
            Err(DiskError { reason: DiskErrorReason::NotFound, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// A partition's index as we write it: no sign, no leading zeros.
fn parse_index(text: &str) -> Option<i32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// May a topic have this name? Kafka's rule, and what keeps a path within its directory.
fn is_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty() && name.len() <= TOPIC_CHARS_MAX && name != "." && name != ".." && name.bytes().all(legal)
}

/// `version: 0`, then `topic_id: ` and the id (Kafka's PartitionMetadataFile).
fn parse_topic_id(text: &[u8]) -> Option<TopicId> {
    let mut lines = str::from_utf8(text).ok()?.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    kafka_id::from_text(lines.next()?.strip_prefix("topic_id: ")?).map(TopicId)
}

/// When a directory of this name was set aside, in wall-clock ms.
fn set_aside_at(name: &str, why: SetAside) -> Option<i64> {
    let (_, unique) = name.strip_suffix(why.suffix())?.rsplit_once('.')?;
    if unique.len() != 32 || !unique.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    i64::from_str_radix(&unique[..16], 16).ok()
}
