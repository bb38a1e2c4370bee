//! What is said is what is heard; what cannot be said is refused.

use bytes::Bytes;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::TopicId;

fn partition() -> impl Strategy<Value = PartitionId> {
    (any::<u128>(), 0..i32::MAX)
        .prop_map(|(id, partition)| PartitionId { topic_id: TopicId(Uuid::from_u128(id)), partition })
}

fn epoch() -> impl Strategy<Value = LeaderEpoch> {
    (0..i32::MAX).prop_map(LeaderEpoch)
}

fn offset() -> impl Strategy<Value = i64> {
    0..i64::MAX
}

fn answer() -> impl Strategy<Value = OpeningAnswer> {
    prop_oneof![
        Just(OpeningAnswer::Agreed),
        (epoch(), offset())
            .prop_map(|(leader_epoch, end_offset)| OpeningAnswer::Diverging { leader_epoch, end_offset }),
        offset().prop_map(OpeningAnswer::BeginAt),
        Just(OpeningAnswer::NotYet),
        Just(OpeningAnswer::Fenced),
    ]
}

fn word() -> impl Strategy<Value = Word> {
    let open = (epoch(), any::<u32>(), offset(), proptest::option::of(epoch())).prop_map(
        |(leader_epoch, opening, end_offset, last_epoch)| {
            Word::Open(OpeningRequest { leader_epoch, opening, end_offset, last_epoch })
        },
    );
    let ack = (epoch(), any::<u32>(), offset()).prop_map(|(leader_epoch, opening, flushed_end_offset)| {
        Word::Ack(ReplicaAck { leader_epoch, opening, flushed_end_offset })
    });
    let records = proptest::collection::vec(any::<u8>(), 0..300);
    let data = (epoch(), any::<u32>(), offset(), offset(), records).prop_map(
        |(leader_epoch, opening, high_watermark, log_start_offset, records)| {
            let records = Bytes::from(records);
            Word::Data(DataEntry { leader_epoch, opening, high_watermark, log_start_offset, records })
        },
    );
    prop_oneof![
        open,
        ack,
        Just(Word::Leave),
        (any::<u32>(), answer()).prop_map(|(opening, answer)| Word::Answer { opening, answer }),
        data,
        any::<u32>().prop_map(|opening| Word::Closed { opening }),
    ]
}

fn write(entries: &[Entry]) -> EntryWriter {
    let mut writer = EntryWriter::default();
    for Entry { partition, word } in entries {
        match word {
            Word::Open(request) => writer.open(*partition, request),
            Word::Ack(ack) => writer.ack(*partition, ack),
            Word::Leave => writer.leave(*partition),
            Word::Answer { opening, answer } => writer.answer(*partition, *opening, *answer),
            Word::Data(data) => {
                let DataEntry { leader_epoch, opening, high_watermark, log_start_offset, .. } = *data;
                let head = DataHead { leader_epoch, opening, high_watermark, log_start_offset };
                let before = writer.body().len();
                writer.data(*partition, &head, |out| out.extend_from_slice(&data.records));
                assert_eq!(writer.body().len() - before, DATA_HEAD_BYTES + data.records.len());
            }
            Word::Closed { opening } => writer.closed(*partition, *opening),
        }
    }
    writer
}

proptest! {
    #[test]
    fn what_is_said_is_what_is_heard(
        entries in proptest::collection::vec(
            (partition(), word()).prop_map(|(partition, word)| Entry { partition, word }),
            0..20,
        ),
        cut in any::<usize>(),
    ) {
        let mut writer = write(&entries);
        let body = Bytes::copy_from_slice(writer.body());
        let heard: Result<Vec<Entry>, BadEntry> = Entries::of(body.clone()).collect();
        prop_assert_eq!(heard.as_ref(), Ok(&entries));
        // Cut short, every entry that comes out whole is one that went in.
        let short: Vec<_> = Entries::of(body.slice(..cut % (body.len() + 1))).collect();
        for (index, entry) in short.iter().enumerate() {
            match entry {
                Ok(entry) => prop_assert_eq!(entry, &entries[index]),
                Err(error) => prop_assert_eq!((*error, index), (BadEntry::Short, short.len() - 1)),
            }
        }
        writer.clear(100);
        prop_assert!(writer.is_empty());
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0..8u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind;
        }
        let length = bytes.len();
        let entries: Vec<_> = Entries::of(Bytes::from(bytes)).collect();
        let refused = entries.iter().filter(|entry| entry.is_err()).count();
        prop_assert!(refused <= 1 && entries.len() <= length);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let id = PartitionId { topic_id: TopicId(Uuid::nil()), partition: -1 };
    let mut writer = EntryWriter::default();
    writer.leave(id);
    let refused = |writer: &EntryWriter| Entries::of(Bytes::copy_from_slice(writer.body())).next();
    assert_eq!(refused(&writer), Some(Err(BadEntry::Negative("partition"))));
    writer.clear(0);
    let ack = ReplicaAck { leader_epoch: LeaderEpoch(0), opening: 1, flushed_end_offset: -1 };
    writer.ack(PartitionId { partition: 0, ..id }, &ack);
    assert_eq!(refused(&writer), Some(Err(BadEntry::Negative("flushed end offset"))));
}
