//! What brokers say to each other: hellos, messages of the metadata group, metadata requests and their outcomes, replication streams.

use bytes::Bytes;
use chronik::metadata::controller::NewTopic;
use chronik::metadata::image::BrokerEpoch;
use chronik::metadata::quorum::message;
use chronik::metadata::request::{Reply, Request, SubmitError};
use chronik::model::{BrokerId, LeaderEpoch, PartitionId, TopicId};
use chronik::partition::replication::{OpeningAnswer, OpeningRequest, ReplicaAck};
use chronik::peer::hello::{Answer, Hello, PEER_FORMAT, Purpose, Welcome};
use chronik::peer::replica::{DataHead, Entries, EntryWriter};
use raft::eraftpb::{Entry, Message, MessageType};
use uuid::Uuid;

#[test]
fn fuzz_a_hello_and_its_answer_are_read_or_refused() {
    let hello = |purpose| Hello {
        format: PEER_FORMAT,
        cluster_id: Some("cluster".into()),
        node: BrokerId(1),
        directory_id: Uuid::from_u128(7),
        broker_epoch: Some(BrokerEpoch(9)),
        to: BrokerId(2),
        purpose,
    };
    let replication = Purpose::Replication { from_shard: 1, to_shard: 2 };
    let welcome = Welcome {
        format: PEER_FORMAT,
        cluster_id: Some("cluster".into()),
        node: BrokerId(2),
        directory_id: Uuid::from_u128(8),
    };
    let samples = [
        hello(Purpose::Raft).to_bytes(),
        hello(replication).to_bytes(),
        Answer::Welcome(welcome).to_bytes(),
        Answer::Refused { reason: "a sentence".into() }.to_bytes(),
    ];
    crate::run(&samples, |input| {
        let _refused = Hello::from_bytes(input);
        let _refused = Answer::from_bytes(input);
    });
}

#[test]
fn fuzz_a_message_of_the_metadata_group_is_read_or_refused() {
    let entry = Entry { term: 3, index: 7, data: Bytes::from_static(&[7; 50]), ..Entry::default() };
    let append = Message { from: 2, to: 3, term: 3, entries: vec![entry; 3].into(), ..Message::default() };
    let of_kind = |kind| {
        let mut message = append.clone();
        message.set_msg_type(kind);
        message::to_bytes(&message)
    };
    let kinds = [MessageType::MsgAppend, MessageType::MsgRequestPreVote, MessageType::MsgSnapshot];
    let mut samples = kinds.map(of_kind).to_vec();
    samples.push(message::piece_to_bytes(Bytes::from_static(&[7; 50])));
    crate::run(&samples, |input| {
        let _refused = message::from_bytes(Bytes::copy_from_slice(input));
    });
}

#[test]
fn fuzz_a_metadata_request_and_its_outcome_are_read_or_refused() {
    let topic = NewTopic { name: "t".into(), configs: vec![("a".into(), Some("b".into()))], ..NewTopic::default() };
    let create = Request::CreateTopics { topics: vec![topic; 3], validate_only: false };
    let heartbeat =
        Request::Heartbeat { broker: BrokerId(1), epoch: BrokerEpoch(2), wants_to_leave: false, applied: 7 };
    let outcomes: [Result<Reply, SubmitError>; 2] =
        [Ok(Reply::CreateTopics(Vec::new())), Err(SubmitError::TooLarge("a sentence".into()))];
    let mut samples: Vec<Vec<u8>> =
        [create, heartbeat].iter().map(|request| postcard::to_stdvec(request).expect("plain data")).collect();
    samples.extend(outcomes.iter().map(|outcome| postcard::to_stdvec(outcome).expect("plain data")));
    crate::run(&samples, |input| {
        let _refused = postcard::from_bytes::<Request>(input);
        let _refused = postcard::from_bytes::<Result<Reply, SubmitError>>(input);
    });
}

#[test]
fn fuzz_a_replication_frame_is_read_or_refused() {
    let id = PartitionId { topic_id: TopicId(Uuid::from_u128(7)), partition: 3 };
    let leader_epoch = LeaderEpoch(5);
    let mut follower = EntryWriter::default();
    follower.open(id, &OpeningRequest { leader_epoch, opening: 1, end_offset: 9, last_epoch: Some(leader_epoch) });
    follower.ack(id, &ReplicaAck { leader_epoch, opening: 1, flushed_end_offset: 9 });
    follower.leave(id);
    let mut leader = EntryWriter::default();
    leader.answer(id, 1, OpeningAnswer::Diverging { leader_epoch, end_offset: 9 });
    leader.answer(id, 1, OpeningAnswer::Agreed);
    let head = DataHead { leader_epoch, opening: 1, high_watermark: 9, log_start_offset: 0 };
    leader.data(id, &head, |out| out.extend_from_slice(&[7; 100]));
    leader.closed(id, 1);
    crate::run(&[follower.body().to_vec(), leader.body().to_vec()], |input| {
        // Nothing comes after what is refused.
        let entries: Vec<_> = Entries::of(Bytes::copy_from_slice(input)).take(input.len() + 2).collect();
        let refused = entries.iter().position(|entry| entry.is_err());
        assert!(entries.len() <= input.len() && refused.is_none_or(|at| at + 1 == entries.len()), "{entries:?}");
    });
}
