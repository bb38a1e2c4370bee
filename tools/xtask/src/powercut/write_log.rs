//! The log that the kernel's dm-log-writes leaves: every write, flush and mark, in the order in which they became durable.
//!
//! Format: Documentation/admin-guide/device-mapper/log-writes.rst and drivers/md/dm-log-writes.c of Linux. All numbers little-endian;
//! a superblock in the first sector, then for each entry one sector (with the text of a mark in it) and the data written.
//! Invariants: an entry that lies outside the file is an error.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const ENTRY_BYTES: usize = 32;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;
const METADATA: u64 = 16;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Everything before it in the log was durable when it completed.
    pub is_flush: bool,
    /// It was durable itself when it completed.
    pub is_fua: bool,
    /// The file system's own: its journal, directories, inodes.
    pub is_metadata: bool,
    /// Where it wrote on the disk, in bytes; empty for a bare flush, a mark, a discard.
    pub position: u64,
    /// What it wrote: where in the log file, and how many bytes.
    pub data: std::ops::Range<u64>,
    /// The text of a mark.
    pub mark: Option<String>,
}

/// A whole log.
pub struct WriteLog {
    /// In order.
    pub entries: Vec<Entry>,
    /// Sectors are written whole or not at all.
    pub sector_bytes: usize,
    file: File,
}

impl WriteLog {
    /// Reads the entries; data stays in the file.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut head = [0; 28];
        file.read_exact_at(&mut head, 0).context("the superblock")?;
        ensure!(number(&head, 0) == MAGIC, "{} is no log of writes: magic {:x}", path.display(), number(&head, 0));
        ensure!(number(&head, 8) == VERSION, "version {} of the log is unknown", number(&head, 8));
        let count = number(&head, 16);
        let sector_bytes = u32::from_le_bytes(head[24..28].try_into().expect("four bytes")) as usize;
        ensure!(sector_bytes.is_power_of_two() && sector_bytes >= 512, "sectors of {sector_bytes} bytes");
        let mut log = Self { entries: Vec::new(), sector_bytes, file };
        let mut at = sector_bytes as u64;
        for index in 0..count {
            at = log.read_entry(at).with_context(|| format!("entry {index} of {count}, at {at}"))?;
        }
        Ok(log)
    }

    /// Reads the entry at `at`; returns where the next one lies.
    fn read_entry(&mut self, at: u64) -> Result<u64> {
        let mut sector = vec![0; self.sector_bytes];
        self.file.read_exact_at(&mut sector, at)?;
        let (position, sectors, flags, text_bytes) =
            (number(&sector, 0), number(&sector, 8), number(&sector, 16), number(&sector, 24));
        let sector_bytes = self.sector_bytes as u64;
        let is_discard = flags & DISCARD != 0;
        ensure!(sectors < 1 << 24, "a write of {sectors} sectors");
        let from = at + sector_bytes;
        let length = if is_discard { 0 } else { sectors * sector_bytes };
        let mark = if flags & MARK != 0 {
            let end = ENTRY_BYTES + usize::try_from(text_bytes)?;
            let Some(text) = sector.get(ENTRY_BYTES..end) else { bail!("a mark of {text_bytes} bytes") };
            Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
        } else {
            None
        };
        self.entries.push(Entry {
            is_flush: flags & FLUSH != 0,
            is_fua: flags & FUA != 0,
            is_metadata: flags & METADATA != 0,
            position: position * sector_bytes,
            data: from..from + length,
            mark,
        });
        Ok(from + length)
    }

    /// What an entry wrote.
    pub fn data(&self, entry: &Entry) -> Result<Vec<u8>> {
        let mut data = vec![0; usize::try_from(entry.data.end - entry.data.start)?];
        self.file.read_exact_at(&mut data, entry.data.start).context("the log is cut short")?;
        Ok(data)
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A log as the kernel would have written it: (position, data, flags, text).
    pub fn log_of(entries: &[(u64, &[u8], u64, &str)]) -> WriteLog {
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&(entries.len() as u64).to_le_bytes());
        bytes[24..28].copy_from_slice(&512_u32.to_le_bytes());
        for (position, data, flags, text) in entries {
            let mut sector = vec![0; 512];
            let fields = [position / 512, data.len() as u64 / 512, *flags, text.len() as u64];
            for (field, at) in fields.iter().zip((0..).step_by(8)) {
                sector[at..at + 8].copy_from_slice(&field.to_le_bytes());
            }
            sector[32..32 + text.len()].copy_from_slice(text.as_bytes());
            bytes.extend(sector);
            bytes.extend(*data);
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), bytes).expect("written");
        WriteLog::read(file.path()).expect("a log")
    }

    #[test]
    fn writes_flushes_and_marks_are_read() {
        let log = log_of(&[(1024, &[7; 1024], 0, ""), (0, &[], 1, ""), (0, &[], 8, "1,2"), (512, &[9; 512], 3, "")]);
        assert_eq!(log.entries.len(), 4);
        assert_eq!(log.entries[0].position, 1024);
        assert_eq!(log.data(&log.entries[0]).expect("data"), [7; 1024]);
        assert!(log.entries[1].is_flush && log.entries[1].data.is_empty());
        assert_eq!(log.entries[2].mark.as_deref(), Some("1,2"));
        assert!(log.entries[3].is_flush && log.entries[3].is_fua);
    }

    #[test]
    fn what_is_no_log_is_refused() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), [0; 4096]).expect("written");
        assert!(WriteLog::read(file.path()).is_err());
    }
}
