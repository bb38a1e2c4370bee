//! A record's bytes, and raft's types as our own messages.
//!
//! *Which core*: metadata. *Invariants*: a header that reads back with a good CRC was written by us, whole.
//! *Why* our own messages: see `raft_log`.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use super::{Identity, RECORD_BYTES_MAX};
use crate::metadata::change::Id;
use crate::model::BrokerId;

/// Bytes of a record's header, and what records are aligned to.
pub const RECORD_ALIGN: usize = 32;
/// What a device writes whole: a header never crosses such a border.
pub const SECTOR_BYTES: u64 = 512;
const MAGIC: u32 = u32::from_le_bytes(*b"CkRL");
const LAST_OF_WRITE: u64 = 1 << 63;
/// The version of the format that this build writes, and the newest that it reads.
const LOG_FORMAT: u32 = 1;

/// A record's header, read out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the payload, padding not included.
    pub payload_bytes: usize,
    /// The record's number in its file, from 0.
    pub number: u64,
    /// The number of the write that brought it, from 1.
    pub write: u64,
    /// Is it the last of that write?
    pub ends_write: bool,
    /// CRC-32C of the payload.
    pub payload_crc: u32,
}

/// What the 32 bytes at a record's place are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderBytes {
    /// Nothing was written here.
    Zeros,
    /// A header.
    Header(RecordHeader),
    /// Neither.
    Garbage,
}

impl RecordHeader {
    /// The header of a payload.
    pub fn of(payload: &[u8], number: u64, write: u64, ends_write: bool) -> RecordHeader {
        let payload_crc = crc32c::crc32c(payload);
        RecordHeader { payload_bytes: payload.len(), number, write, ends_write, payload_crc }
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; RECORD_ALIGN] {
        let bytes = u32::try_from(self.payload_bytes).expect("bounded by RECORD_BYTES_MAX");
        let mut out = [0; RECORD_ALIGN];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4..8].copy_from_slice(&bytes.to_le_bytes());
        out[8..16].copy_from_slice(&self.number.to_le_bytes());
        let write = self.write | if self.ends_write { LAST_OF_WRITE } else { 0 };
        out[16..24].copy_from_slice(&write.to_le_bytes());
        out[24..28].copy_from_slice(&self.payload_crc.to_le_bytes());
        let crc = crc32c::crc32c(&out[..28]);
        out[28..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads 32 bytes; shorter input is padded with zeros.
    pub fn read(bytes: &[u8]) -> HeaderBytes {
        let mut head = [0; RECORD_ALIGN];
        let have = bytes.len().min(RECORD_ALIGN);
        head[..have].copy_from_slice(&bytes[..have]);
        if head == [0; RECORD_ALIGN] {
            return HeaderBytes::Zeros;
        }
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let payload_bytes = word(4) as usize;
        if word(0) != MAGIC || word(28) != crc32c::crc32c(&head[..28]) || payload_bytes > RECORD_BYTES_MAX {
            return HeaderBytes::Garbage;
        }
        HeaderBytes::Header(RecordHeader {
            payload_bytes,
            number: long(8),
            write: long(16) & !LAST_OF_WRITE,
            ends_write: long(16) & LAST_OF_WRITE != 0,
            payload_crc: word(24),
        })
    }

    /// Bytes that the record takes in the file.
    pub fn record_bytes(&self) -> u64 {
        record_bytes(self.payload_bytes)
    }
}

/// Bytes that a record takes in the file.
pub fn record_bytes(payload_bytes: usize) -> u64 {
    (RECORD_ALIGN + payload_bytes.next_multiple_of(RECORD_ALIGN)) as u64
}

/// A record's payload: one `Ready`. No bytes at all say nothing: such a record only ends a write that was cut short.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogRecord {
    /// In a file's first record only.
    #[prost(message, optional, tag = "1")]
    pub start: Option<LogStart>,
    /// Term, vote and commit index from here on.
    #[prost(message, optional, tag = "2")]
    pub hard_state: Option<HardStateRecord>,
    /// Index of the first entry: what was at or above it before is void.
    #[prost(uint64, tag = "3")]
    pub first_index: u64,
    /// The entries.
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<EntryRecord>,
}

/// Whose log it is, and where it begins.
#[derive(Clone, PartialEq, prost::Message)]
pub struct LogStart {
    /// The format's version.
    #[prost(uint32, tag = "1")]
    pub format: u32,
    /// The cluster.
    #[prost(string, tag = "2")]
    pub cluster_id: String,
    /// The broker.
    #[prost(int32, tag = "3")]
    pub node_id: i32,
    /// Its data directory.
    #[prost(message, required, tag = "4")]
    pub directory_id: Id,
    /// raft's name for this node.
    #[prost(uint64, tag = "5")]
    pub raft_id: u64,
    /// Index of the entry before the first that may be here.
    #[prost(uint64, tag = "6")]
    pub truncated_index: u64,
    /// That entry's term.
    #[prost(uint64, tag = "7")]
    pub truncated_term: u64,
}

/// raft's hard state.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct HardStateRecord {
    /// The current term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Whom this node voted for in it; 0: nobody.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    /// Index of the last entry known to be committed.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
}

/// One entry; its index follows from its place.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EntryRecord {
    /// The term it was proposed in.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// 0 a command, 1 and 2 changes of membership.
    #[prost(uint32, tag = "2")]
    pub kind: u32,
    /// The command.
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    /// For the proposer.
    #[prost(bytes = "bytes", tag = "4")]
    pub context: Bytes,
}

/// raft's configuration state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConfRecord {
    /// Voters.
    #[prost(uint64, repeated, tag = "1")]
    pub voters: Vec<u64>,
    /// Members without a vote.
    #[prost(uint64, repeated, tag = "2")]
    pub learners: Vec<u64>,
    /// Voters of the configuration that is being left.
    #[prost(uint64, repeated, tag = "3")]
    pub voters_outgoing: Vec<u64>,
    /// Voters of it that become learners.
    #[prost(uint64, repeated, tag = "4")]
    pub learners_next: Vec<u64>,
    /// Is it left by itself?
    #[prost(bool, tag = "5")]
    pub auto_leave: bool,
}

impl LogRecord {
    /// A record of entries (consecutive, or none) and the hard state.
    pub fn of(hard_state: &HardState, entries: &[Entry]) -> LogRecord {
        LogRecord {
            start: None,
            hard_state: Some(hard_state.into()),
            first_index: entries.first().map_or(0, |entry| entry.index),
            entries: entries.iter().map(EntryRecord::from).collect(),
        }
    }

    /// The payload.
    pub fn to_payload(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// No protobuf, or not this one; an entry of unknown kind.
    pub fn read(payload: &[u8]) -> Result<LogRecord, String> {
        LogRecord::decode(payload).map_err(|error| error.to_string())?.checked()
    }

    /// This record, if every entry is of a kind that this build knows.
    ///
    /// # Errors
    /// One is not.
    pub fn checked(self) -> Result<LogRecord, String> {
        match self.entries.iter().find(|entry| entry.kind > 2) {
            Some(entry) => Err(format!("an entry of kind {}, which this build does not know", entry.kind)),
            None => Ok(self),
        }
    }

    /// The entries, as raft has them.
    pub fn raft_entries(self) -> impl Iterator<Item = Entry> {
        (self.first_index..).zip(self.entries).map(|(index, record)| {
            let mut entry = Entry::default();
            entry.set_entry_type(match record.kind {
                1 => EntryType::EntryConfChange,
                2 => EntryType::EntryConfChangeV2,
                _ => EntryType::EntryNormal,
            });
            entry.index = index;
            entry.term = record.term;
            entry.data = record.data;
            entry.context = record.context;
            entry
        })
    }
}

impl LogStart {
    /// The start of a log after the entry `truncated` (index, term).
    pub fn new(identity: &Identity, raft_id: u64, truncated: (u64, u64)) -> LogStart {
        LogStart {
            format: LOG_FORMAT,
            cluster_id: identity.cluster_id.clone(),
            node_id: identity.node_id.0,
            directory_id: identity.directory_id.into(),
            raft_id,
            truncated_index: truncated.0,
            truncated_term: truncated.1,
        }
    }

    /// Can this build read what follows?
    pub fn is_readable(&self) -> bool {
        self.format == LOG_FORMAT
    }

    /// Whose log it is.
    pub fn identity(&self) -> Identity {
        Identity {
            cluster_id: self.cluster_id.clone(),
            node_id: BrokerId(self.node_id),
            directory_id: self.directory_id.into(),
        }
    }
}

impl From<&Entry> for EntryRecord {
    fn from(entry: &Entry) -> EntryRecord {
        let kind = match entry.get_entry_type() {
            EntryType::EntryNormal => 0,
            EntryType::EntryConfChange => 1,
            EntryType::EntryConfChangeV2 => 2,
        };
        EntryRecord { term: entry.term, kind, data: entry.data.clone(), context: entry.context.clone() }
    }
}

impl From<&HardState> for HardStateRecord {
    fn from(state: &HardState) -> HardStateRecord {
        HardStateRecord { term: state.term, vote: state.vote, commit: state.commit }
    }
}

impl From<HardStateRecord> for HardState {
    fn from(record: HardStateRecord) -> HardState {
        let mut state = HardState::default();
        (state.term, state.vote, state.commit) = (record.term, record.vote, record.commit);
        state
    }
}

impl From<&ConfState> for ConfRecord {
    fn from(state: &ConfState) -> ConfRecord {
        ConfRecord {
            voters: state.voters.clone(),
            learners: state.learners.clone(),
            voters_outgoing: state.voters_outgoing.clone(),
            learners_next: state.learners_next.clone(),
            auto_leave: state.auto_leave,
        }
    }
}

impl From<ConfRecord> for ConfState {
    fn from(record: ConfRecord) -> ConfState {
        ConfState {
            voters: record.voters,
            learners: record.learners,
            voters_outgoing: record.voters_outgoing,
            learners_next: record.learners_next,
            auto_leave: record.auto_leave,
            ..ConfState::default()
        }
    }
}
