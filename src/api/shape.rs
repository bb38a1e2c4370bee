//! The shape of every served request, walked before it is decoded: no length may claim more than the request has bytes.
//!
//! *Which core*: the connection's shard.
//! *Invariants*: after [`check`], every array in the request has at most as many elements as there are bytes left for them, and
//! every string and bytes field lies inside. The walk takes no memory.
//! *Why*: the generated decoder trusts array lengths and reserves memory by them; 15 bytes could ask it for 100 GB (lesson 81).
//! Source of the tables: Kafka's message schemas (`clients/src/main/resources/common/message/*Request.json`).

use kafka_protocol::messages::ApiKey;

/// A field's form, for the versions from `.0` up to `.1`.
struct Field(i16, i16, Form);

enum Form {
    /// So many bytes.
    Fixed(usize),
    /// A string, maybe null.
    Text,
    /// Bytes, maybe null.
    Blob,
    /// An array of structs, maybe null.
    Array(&'static [Field]),
    /// An array of fixed-size elements, maybe null.
    FixedArray(usize),
    /// An array of strings.
    TextArray,
}

use Form::{Array, Blob, Fixed, FixedArray, Text, TextArray};

const LAST: i16 = i16::MAX;

/// What is wrong with a request's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// A field goes beyond the request's end.
    #[error("a field ends beyond the request's {0} bytes")]
    Truncated(usize),
    /// An array claims more elements than there are bytes for.
    #[error("an array of {count} elements in {left} bytes")]
    Array {
        /// Elements claimed.
        count: u64,
        /// Bytes left.
        left: usize,
    },
    /// A variable-length integer of more than five bytes.
    #[error("a malformed varint")]
    Varint,
    /// A length below -1.
    #[error("a negative length")]
    Negative,
    /// This API has no table: it is not served.
    #[error("no such API")]
    Unserved,
}

struct Walk<'a> {
    whole: usize,
    rest: &'a [u8],
    version: i16,
    flexible: bool,
}

impl Walk<'_> {
    fn skip(&mut self, bytes: usize) -> Result<(), ShapeError> {
        self.rest = self.rest.get(bytes..).ok_or(ShapeError::Truncated(self.whole))?;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, ShapeError> {
        let byte = *self.rest.first().ok_or(ShapeError::Truncated(self.whole))?;
        self.skip(1)?;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, ShapeError> {
        let mut value = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if value <= u64::from(u32::MAX) { Ok(value) } else { Err(ShapeError::Varint) };
            }
        }
        Err(ShapeError::Varint)
    }

    fn fixed_length(&mut self, width: usize) -> Result<i64, ShapeError> {
        let bytes = self.rest.get(..width).ok_or(ShapeError::Truncated(self.whole))?;
        let negative = bytes[0] & 0x80 != 0;
        let value = bytes.iter().fold(if negative { -1i64 } else { 0 }, |value, byte| value << 8 | i64::from(*byte));
        self.skip(width)?;
        Ok(value)
    }

    /// A length that is a varint plus one where flexible, else an integer of `width` bytes; null counts as 0.
    fn length(&mut self, width: usize) -> Result<u64, ShapeError> {
        if self.flexible {
            return Ok(self.varint()?.saturating_sub(1));
        }
        match self.fixed_length(width)? {
            -1 => Ok(0),
            length => u64::try_from(length).map_err(|_| ShapeError::Negative),
        }
    }

    fn sized(&mut self, width: usize) -> Result<(), ShapeError> {
        let length = self.length(width)?;
        self.skip(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn count(&mut self) -> Result<u64, ShapeError> {
        let (count, left) = (self.length(4)?, self.rest.len());
        // Every element takes at least a byte.
        if count > left as u64 { Err(ShapeError::Array { count, left }) } else { Ok(count) }
    }

    fn tags(&mut self) -> Result<(), ShapeError> {
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint()? {
            self.varint()?;
            let bytes = self.varint()?;
            self.skip(bytes as usize)?;
        }
        Ok(())
    }

    fn fields(&mut self, fields: &[Field]) -> Result<(), ShapeError> {
        for Field(from, to, form) in fields {
            if (*from..=*to).contains(&self.version) {
                self.field(form)?;
            }
        }
        self.tags()
    }

    fn field(&mut self, form: &Form) -> Result<(), ShapeError> {
        match form {
            Fixed(bytes) => self.skip(*bytes),
            Text => self.sized(2),
            Blob => self.sized(4),
            Array(fields) => (0..self.count()?).try_for_each(|_| self.fields(fields)),
            FixedArray(bytes) => {
                let count = self.count()? as usize;
                self.skip(count.saturating_mul(*bytes))
            }
            TextArray => (0..self.count()?).try_for_each(|_| self.sized(2)),
        }
    }
}

/// Checks the body of a request of a served API and version.
pub fn check(key: ApiKey, version: i16, body: &[u8]) -> Result<(), ShapeError> {
    let (flexible_from, fields) = table(key).ok_or(ShapeError::Unserved)?;
    Walk { whole: body.len(), rest: body, version, flexible: version >= flexible_from }.fields(fields)
}

/// Checks a request header of the given header version, at the start of `frame`.
pub fn check_header(header_version: i16, frame: &[u8]) -> Result<(), ShapeError> {
    // The client id is an old-style string in every header version (KIP-482).
    let mut walk = Walk { whole: frame.len(), rest: frame, version: header_version, flexible: false };
    walk.skip(8)?;
    if header_version >= 1 {
        walk.sized(2)?;
    }
    walk.flexible = header_version >= 2;
    walk.tags()
}

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
                ]),
            ),
        ]),
    ),
    Field(7, LAST, Array(&[Field(0, 12, Text), Field(13, LAST, Fixed(16)), Field(0, LAST, FixedArray(4))])),
    Field(11, LAST, Text),
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

/// The first flexible version of an API (KIP-482), and its fields.
fn table(key: ApiKey) -> Option<(i16, &'static [Field])> {
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
        ApiKey::DescribeCluster => (0, &[Field(0, LAST, Fixed(1)), Field(1, LAST, Fixed(1)), Field(2, LAST, Fixed(1))]),
        _ => return None,
    })
}
