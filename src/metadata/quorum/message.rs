//! raft's messages as frames between brokers.
//!
//! *Which core*: metadata.
//! *Invariants*: only kinds that one node sends to another are read; a snapshot's image is not part of its message's frame: it
//! follows in pieces, so that every frame is bounded and others may go between.
//! *Why* our own messages: see `raft_log`.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb::{Entry, Message, MessageType, Snapshot};

use crate::metadata::raft_log::record::{ConfRecord, EntryRecord, LogRecord};

/// The kinds of messages, by their number in a frame.
const KINDS: [(u32, MessageType); 12] = [
    (3, MessageType::MsgAppend),
    (4, MessageType::MsgAppendResponse),
    (5, MessageType::MsgRequestVote),
    (6, MessageType::MsgRequestVoteResponse),
    (7, MessageType::MsgSnapshot),
    (8, MessageType::MsgHeartbeat),
    (9, MessageType::MsgHeartbeatResponse),
    (14, MessageType::MsgTimeoutNow),
    (15, MessageType::MsgReadIndex),
    (16, MessageType::MsgReadIndexResp),
    (17, MessageType::MsgRequestPreVote),
    (18, MessageType::MsgRequestPreVoteResponse),
];

/// What a frame holds.
#[derive(Debug)]
pub enum Frame {
    /// A message, whole.
    Message(Message),
    /// A message whose snapshot has an image of so many bytes, which follow.
    Snapshot(Message, u64),
    /// The next bytes of the image.
    Piece(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
struct FrameRecord {
    #[prost(message, optional, tag = "1")]
    message: Option<MessageRecord>,
    #[prost(bytes = "bytes", tag = "2")]
    piece: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MessageRecord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint64, tag = "2")]
    to: u64,
    #[prost(uint64, tag = "3")]
    from: u64,
    #[prost(uint64, tag = "4")]
    term: u64,
    #[prost(uint64, tag = "5")]
    log_term: u64,
    #[prost(uint64, tag = "6")]
    index: u64,
    /// They follow `index`.
    #[prost(message, repeated, tag = "7")]
    entries: Vec<EntryRecord>,
    #[prost(uint64, tag = "8")]
    commit: u64,
    #[prost(uint64, tag = "9")]
    commit_term: u64,
    #[prost(message, optional, tag = "10")]
    snapshot: Option<SnapshotRecord>,
    #[prost(uint64, tag = "11")]
    request_snapshot: u64,
    #[prost(bool, tag = "12")]
    reject: bool,
    #[prost(uint64, tag = "13")]
    reject_hint: u64,
    #[prost(bytes = "bytes", tag = "14")]
    context: Bytes,
    #[prost(sint64, tag = "15")]
    priority: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SnapshotRecord {
    #[prost(uint64, tag = "1")]
    index: u64,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(message, optional, tag = "3")]
    conf_state: Option<ConfRecord>,
    #[prost(uint64, tag = "4")]
    image_bytes: u64,
}

/// The frame of a message; a snapshot's image is left out.
pub fn to_bytes(message: &Message) -> Vec<u8> {
    FrameRecord { message: Some(record(message)), piece: Bytes::new() }.encode_to_vec()
}

/// The frame of a piece of an image.
pub fn piece_to_bytes(piece: Bytes) -> Vec<u8> {
    FrameRecord { message: None, piece }.encode_to_vec()
}

/// Reads a frame.
///
/// # Errors
/// It is none of ours, or of a kind that no node sends.
pub fn from_bytes(bytes: Bytes) -> Result<Frame, String> {
    let FrameRecord { message, piece } = FrameRecord::decode(bytes).map_err(|error| error.to_string())?;
    let Some(record) = message else { return Ok(Frame::Piece(piece)) };
    let snapshot_bytes = record.snapshot.as_ref().map(|snapshot| snapshot.image_bytes);
    let message = read(record)?;
    match (message.get_msg_type(), snapshot_bytes) {
        (MessageType::MsgSnapshot, Some(bytes)) => Ok(Frame::Snapshot(message, bytes)),
        (MessageType::MsgSnapshot, None) => Err("a snapshot message without one".into()),
        (_, None) => Ok(Frame::Message(message)),
        (_, Some(_)) => Err("a snapshot in a message of another kind".into()),
    }
}

fn record(message: &Message) -> MessageRecord {
    let kind = KINDS.iter().find(|(_, kind)| *kind == message.get_msg_type());
    let (kind, _) = kind.expect("raft's local messages stay at home");
    let snapshot = (message.get_msg_type() == MessageType::MsgSnapshot).then(|| {
        let (snapshot, metadata) = (message.get_snapshot(), message.get_snapshot().get_metadata());
        SnapshotRecord {
            index: metadata.index,
            term: metadata.term,
            conf_state: Some(metadata.get_conf_state().into()),
            image_bytes: snapshot.data.len() as u64,
        }
    });
    MessageRecord {
        kind: *kind,
        to: message.to,
        from: message.from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: message.entries.iter().map(EntryRecord::from).collect(),
        commit: message.commit,
        commit_term: message.commit_term,
        snapshot,
        request_snapshot: message.request_snapshot,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context.clone(),
        priority: message.priority,
    }
}

fn read(record: MessageRecord) -> Result<Message, String> {
    let kind = KINDS.iter().find(|(number, _)| *number == record.kind);
    let (_, kind) = kind.ok_or_else(|| format!("a message of kind {}", record.kind))?;
    let first_index = record.index.checked_add(1).ok_or("entries after the last index there is")?;
    let entries = LogRecord { start: None, hard_state: None, first_index, entries: record.entries };
    let mut message = Message::default();
    message.set_msg_type(*kind);
    message.set_entries(entries.checked()?.raft_entries().collect::<Vec<Entry>>().into());
    (message.to, message.from, message.term) = (record.to, record.from, record.term);
    (message.log_term, message.index) = (record.log_term, record.index);
    (message.commit, message.commit_term) = (record.commit, record.commit_term);
    (message.reject, message.reject_hint) = (record.reject, record.reject_hint);
    message.request_snapshot = record.request_snapshot;
    message.context = record.context;
    message.priority = record.priority;
    if let Some(SnapshotRecord { index, term, conf_state, .. }) = record.snapshot {
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = (index, term);
        metadata.set_conf_state(conf_state.ok_or("a snapshot without voters")?.into());
        message.set_snapshot(snapshot);
    }
    Ok(message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use proptest::prelude::*;
    use raft::eraftpb::{ConfState, EntryType};

    use super::*;

    fn sample(kind: MessageType) -> Message {
        let mut message = Message::default();
        message.set_msg_type(kind);
        (message.to, message.from, message.term, message.log_term, message.index) = (2, 3, 7, 6, 40);
        (message.commit, message.commit_term, message.reject_hint, message.request_snapshot) = (39, 5, 12, 13);
        (message.reject, message.priority) = (true, -4);
        message.context = Bytes::from_static(b"context");
        message
    }

    #[test]
    fn every_kind_of_message_comes_back_as_it_was() {
        for (_, kind) in KINDS.into_iter().filter(|(_, kind)| *kind != MessageType::MsgSnapshot) {
            let mut message = sample(kind);
            if kind == MessageType::MsgAppend {
                let entry = |index, kind| {
                    let mut entry = Entry::default();
                    entry.set_entry_type(kind);
                    (entry.index, entry.term, entry.data) = (index, 7, Bytes::from_static(b"data"));
                    entry
                };
                let entries = vec![entry(41, EntryType::EntryNormal), entry(42, EntryType::EntryConfChangeV2)];
                message.set_entries(entries.into());
            }
            let Frame::Message(back) = from_bytes(to_bytes(&message).into()).unwrap() else { panic!("a message") };
            assert_eq!(back, message);
        }
    }

    #[test]
    fn a_snapshots_image_travels_apart() {
        let mut message = sample(MessageType::MsgSnapshot);
        let mut snapshot = Snapshot::default();
        (snapshot.mut_metadata().index, snapshot.mut_metadata().term) = (9, 2);
        snapshot.mut_metadata().set_conf_state(ConfState::from((vec![1, 2, 3], vec![4])));
        snapshot.data = vec![1; 5000].into();
        message.set_snapshot(snapshot);
        let bytes = to_bytes(&message);
        assert!(bytes.len() < 200);
        let Frame::Snapshot(mut back, 5000) = from_bytes(bytes.into()).unwrap() else { panic!("a snapshot") };
        let Frame::Piece(piece) = from_bytes(piece_to_bytes(vec![1; 5000].into()).into()).unwrap() else {
            panic!("a piece")
        };
        back.mut_snapshot().data = piece;
        assert_eq!(back, message);
    }

    #[test]
    fn what_no_node_sends_is_an_error() {
        let frame = |kind, snapshot| {
            let record = MessageRecord { kind, snapshot, ..MessageRecord::default() };
            from_bytes(FrameRecord { message: Some(record), piece: Bytes::new() }.encode_to_vec().into())
        };
        // A campaign, a proposal and word of a snapshot are what a node tells itself.
        for kind in [0, 1, 2, 10, 11, 12, 13, 99] {
            assert!(frame(kind, None).is_err(), "{kind}");
        }
        assert!(frame(7, None).is_err() && frame(7, Some(SnapshotRecord::default())).is_err());
        assert!(frame(3, Some(SnapshotRecord::default())).is_err());
        let last = MessageRecord { kind: 3, index: u64::MAX, ..MessageRecord::default() };
        assert!(read(last).is_err());
        let entries = vec![EntryRecord { kind: 3, ..EntryRecord::default() }];
        assert!(read(MessageRecord { kind: 3, entries, ..MessageRecord::default() }).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = from_bytes(bytes.into());
        }
    }
}
