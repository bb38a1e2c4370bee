//! The fields of every served request, in order, with the versions that have them.
//!
//! *Source*: Kafka's message schemas (`clients/src/main/resources/common/message/*Request.json`). Neighbours of fixed size are one
//! entry. Tagged fields are listed too where the decoder knows them: it does not ask for their size.

use kafka_protocol::messages::ApiKey;

use super::Form::{Array, Blob, Fixed, FixedArray, MaybeStruct, Struct, Tagged, Text, TextArray};
use super::{Field, LAST};

const PRODUCE: &[Field] = &[
    Field(3, LAST, Text),
    Field(0, LAST, Fixed(6)),
    Field(
        0,
        LAST,
        Array(&[
            Field(0, 12, Text),
            Field(13, LAST, Fixed(16)),
            Field(0, LAST, Array(&[Field(0, LAST, Fixed(4)), Field(0, LAST, Blob)])),
        ]),
    ),
];

const FETCH: &[Field] = &[
    Field(0, 14, Fixed(4)),
    Field(0, LAST, Fixed(8)),
    Field(3, LAST, Fixed(4)),
    Field(4, LAST, Fixed(1)),
    Field(7, LAST, Fixed(8)),
    Field(
        0,
        LAST,
        Array(&[
            Field(0, 12, Text),
            Field(13, LAST, Fixed(16)),
            Field(
                0,
                LAST,
                Array(&[
                    Field(0, LAST, Fixed(4)),
                    Field(9, LAST, Fixed(4)),
                    Field(0, LAST, Fixed(8)),
                    Field(12, LAST, Fixed(4)),
                    Field(5, LAST, Fixed(8)),
                    Field(0, LAST, Fixed(4)),
                    Field(17, LAST, Tagged(0, &Fixed(16))),
                    Field(18, LAST, Tagged(1, &Fixed(8))),
                ]),
            ),
        ]),
    ),
    Field(7, LAST, Array(&[Field(0, 12, Text), Field(13, LAST, Fixed(16)), Field(0, LAST, FixedArray(4))])),
    Field(11, LAST, Text),
    Field(12, LAST, Tagged(0, &Text)),
    Field(15, LAST, Tagged(1, &Struct(&[Field(15, LAST, Fixed(12))]))),
];

const LIST_OFFSETS: &[Field] = &[
    Field(0, LAST, Fixed(4)),
    Field(2, LAST, Fixed(1)),
    Field(
        0,
        LAST,
        Array(&[
            Field(0, LAST, Text),
            Field(0, LAST, Array(&[Field(0, LAST, Fixed(4)), Field(4, LAST, Fixed(4)), Field(0, LAST, Fixed(8))])),
        ]),
    ),
    Field(10, LAST, Fixed(4)),
];

const METADATA: &[Field] = &[
    Field(0, LAST, Array(&[Field(10, LAST, Fixed(16)), Field(0, LAST, Text)])),
    Field(4, LAST, Fixed(1)),
    Field(8, 10, Fixed(1)),
    Field(8, LAST, Fixed(1)),
];

const CREATE_TOPICS: &[Field] = &[
    Field(
        0,
        LAST,
        Array(&[
            Field(0, LAST, Text),
            Field(0, LAST, Fixed(6)),
            Field(0, LAST, Array(&[Field(0, LAST, Fixed(4)), Field(0, LAST, FixedArray(4))])),
            Field(0, LAST, Array(&[Field(0, LAST, Text), Field(0, LAST, Text)])),
        ]),
    ),
    Field(0, LAST, Fixed(4)),
    Field(1, LAST, Fixed(1)),
];

const DELETE_TOPICS: &[Field] = &[
    Field(6, LAST, Array(&[Field(6, LAST, Text), Field(6, LAST, Fixed(16))])),
    Field(0, 5, TextArray),
    Field(0, LAST, Fixed(4)),
];

const DELETE_RECORDS: &[Field] = &[
    Field(0, LAST, Array(&[Field(0, LAST, Text), Field(0, LAST, Array(&[Field(0, LAST, Fixed(12))]))])),
    Field(0, LAST, Fixed(4)),
];

const INIT_PRODUCER_ID: &[Field] =
    &[Field(0, LAST, Text), Field(0, LAST, Fixed(4)), Field(3, LAST, Fixed(10)), Field(6, LAST, Fixed(2))];

const OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    Field(3, LAST, Fixed(4)),
    Field(
        0,
        LAST,
        Array(&[
            Field(0, LAST, Text),
            Field(0, LAST, Array(&[Field(0, LAST, Fixed(4)), Field(2, LAST, Fixed(4)), Field(0, LAST, Fixed(4))])),
        ]),
    ),
];

const DESCRIBE_CONFIGS: &[Field] = &[
    Field(0, LAST, Array(&[Field(0, LAST, Fixed(1)), Field(0, LAST, Text), Field(0, LAST, TextArray)])),
    Field(1, LAST, Fixed(1)),
    Field(3, LAST, Fixed(1)),
];

const CREATE_PARTITIONS: &[Field] = &[
    Field(
        0,
        LAST,
        Array(&[
            Field(0, LAST, Text),
            Field(0, LAST, Fixed(4)),
            Field(0, LAST, Array(&[Field(0, LAST, FixedArray(4))])),
        ]),
    ),
    Field(0, LAST, Fixed(5)),
];

const INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    Field(
        0,
        LAST,
        Array(&[
            Field(0, LAST, Fixed(1)),
            Field(0, LAST, Text),
            Field(0, LAST, Array(&[Field(0, LAST, Text), Field(0, LAST, Fixed(1)), Field(0, LAST, Text)])),
        ]),
    ),
    Field(0, LAST, Fixed(1)),
];

const ELECT_LEADERS: &[Field] = &[
    Field(1, LAST, Fixed(1)),
    Field(0, LAST, Array(&[Field(0, LAST, Text), Field(0, LAST, FixedArray(4))])),
    Field(0, LAST, Fixed(4)),
];

const DESCRIBE_QUORUM: &[Field] =
    &[Field(0, LAST, Array(&[Field(0, LAST, Text), Field(0, LAST, Array(&[Field(0, LAST, Fixed(4))]))]))];

const DESCRIBE_TOPIC_PARTITIONS: &[Field] = &[
    Field(0, LAST, Array(&[Field(0, LAST, Text)])),
    Field(0, LAST, Fixed(4)),
    Field(0, LAST, MaybeStruct(&[Field(0, LAST, Text), Field(0, LAST, Fixed(4))])),
];

/// The first flexible version of an API (KIP-482), and its fields.
pub(super) fn of(key: ApiKey) -> Option<(i16, &'static [Field])> {
    Some(match key {
        ApiKey::Produce => (9, PRODUCE),
        ApiKey::Fetch => (12, FETCH),
        ApiKey::ListOffsets => (6, LIST_OFFSETS),
        ApiKey::Metadata => (9, METADATA),
        ApiKey::ApiVersions => (3, &[Field(3, LAST, Text), Field(3, LAST, Text)]),
        ApiKey::CreateTopics => (5, CREATE_TOPICS),
        ApiKey::DeleteTopics => (4, DELETE_TOPICS),
        ApiKey::DeleteRecords => (2, DELETE_RECORDS),
        ApiKey::InitProducerId => (2, INIT_PRODUCER_ID),
        ApiKey::OffsetForLeaderEpoch => (4, OFFSET_FOR_LEADER_EPOCH),
        ApiKey::DescribeConfigs => (4, DESCRIBE_CONFIGS),
        ApiKey::CreatePartitions => (2, CREATE_PARTITIONS),
        ApiKey::IncrementalAlterConfigs => (1, INCREMENTAL_ALTER_CONFIGS),
        ApiKey::ElectLeaders => (2, ELECT_LEADERS),
        ApiKey::DescribeQuorum => (0, DESCRIBE_QUORUM),
        ApiKey::DescribeTopicPartitions => (0, DESCRIBE_TOPIC_PARTITIONS),
        ApiKey::DescribeCluster => (0, &[Field(0, LAST, Fixed(1)), Field(1, LAST, Fixed(1)), Field(2, LAST, Fixed(1))]),
        _ => return None,
    })
}
