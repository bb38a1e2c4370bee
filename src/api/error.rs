//! From our errors to Kafka's codes: the one place, total, without a default arm (lesson 1).

mod codes;

use kafka_protocol::ResponseError;
use storage::batch::{BatchError, ProducedError};

use crate::message::{DeleteRecordsError, FetchError, ListOffsetsError, ProduceError};
use crate::metadata::controller::{
    AllocateProducerIdsError, AlterConfigsError, CreatePartitionsError, CreateTopicError, DeleteTopicError,
    ElectLeaderError, IncarnationError,
};
use crate::metadata::request::SubmitError;

pub use codes::Codes;

/// A Kafka error code, as it goes on the wire; 0 is none.
pub type Code = i16;

/// No error.
pub const NONE: Code = 0;

/// The code that a client is told.
pub trait KafkaCode {
    /// Never 0.
    fn code(&self) -> Code;
}

impl KafkaCode for ResponseError {
    fn code(&self) -> Code {
        ResponseError::code(self)
    }
}

impl KafkaCode for ProduceError {
    fn code(&self) -> Code {
        let error = match self {
            ProduceError::UnknownPartition => ResponseError::UnknownTopicOrPartition,
            ProduceError::NotLeader => ResponseError::NotLeaderOrFollower,
            ProduceError::NotEnoughReplicas => ResponseError::NotEnoughReplicas,
            ProduceError::NotEnoughReplicasAfterAppend => ResponseError::NotEnoughReplicasAfterAppend,
            ProduceError::TimedOut => ResponseError::RequestTimedOut,
            ProduceError::OutOfOrderSequence => ResponseError::OutOfOrderSequenceNumber,
            ProduceError::InvalidProducerEpoch => ResponseError::InvalidProducerEpoch,
            ProduceError::UnknownProducerId => ResponseError::UnknownProducerId,
            ProduceError::Storage => ResponseError::KafkaStorageError,
        };
        error.code()
    }
}

impl KafkaCode for FetchError {
    fn code(&self) -> Code {
        let error = match self {
            FetchError::UnknownPartition => ResponseError::UnknownTopicOrPartition,
            FetchError::NotLeader => ResponseError::NotLeaderOrFollower,
            FetchError::FencedLeaderEpoch => ResponseError::FencedLeaderEpoch,
            FetchError::UnknownLeaderEpoch => ResponseError::UnknownLeaderEpoch,
            FetchError::OffsetOutOfRange { .. } => ResponseError::OffsetOutOfRange,
            // Kafka's clients retry on CORRUPT_MESSAGE for ever; a storage error sends them to another replica.
            FetchError::Corrupt | FetchError::Storage => ResponseError::KafkaStorageError,
        };
        error.code()
    }
}

impl KafkaCode for ListOffsetsError {
    fn code(&self) -> Code {
        match self {
            ListOffsetsError::Fetch(error) => error.code(),
            ListOffsetsError::OffsetNotAvailable => ResponseError::OffsetNotAvailable.code(),
        }
    }
}

impl KafkaCode for DeleteRecordsError {
    fn code(&self) -> Code {
        match self {
            DeleteRecordsError::Fetch(error) => error.code(),
        }
    }
}

impl KafkaCode for BatchError {
    fn code(&self) -> Code {
        let error = match self {
            BatchError::Truncated { .. } | BatchError::Length(_) | BatchError::Crc { .. } => {
                ResponseError::CorruptMessage
            }
            BatchError::Magic(_) => ResponseError::UnsupportedForMessageFormat,
            BatchError::Count { .. } => ResponseError::InvalidRecord,
            BatchError::Codec(_) => ResponseError::UnsupportedCompressionType,
        };
        error.code()
    }
}

impl KafkaCode for ProducedError {
    fn code(&self) -> Code {
        let error = match self {
            ProducedError::Batch(error) => return error.code(),
            ProducedError::Several(_)
            | ProducedError::Gaps { .. }
            | ProducedError::Control
            | ProducedError::Records(_)
            | ProducedError::Producer(_) => ResponseError::InvalidRecord,
            ProducedError::TooLarge { .. } => ResponseError::MessageTooLarge,
            ProducedError::Transactional => ResponseError::InvalidTxnState,
            ProducedError::Timestamp { .. } | ProducedError::LogAppendTime => ResponseError::InvalidTimestamp,
        };
        error.code()
    }
}

impl KafkaCode for SubmitError {
    fn code(&self) -> Code {
        let error = match self {
            SubmitError::NotController { .. } | SubmitError::Stopping => ResponseError::NotController,
            SubmitError::Busy => ResponseError::ThrottlingQuotaExceeded,
            SubmitError::TooLarge(_) => ResponseError::PolicyViolation,
            SubmitError::Unknown => ResponseError::RequestTimedOut,
        };
        error.code()
    }
}

impl KafkaCode for CreateTopicError {
    fn code(&self) -> Code {
        let error = match self {
            CreateTopicError::AlreadyExists(_) => ResponseError::TopicAlreadyExists,
            CreateTopicError::InvalidName(_) => ResponseError::InvalidTopicException,
            CreateTopicError::InvalidPartitions => ResponseError::InvalidPartitions,
            CreateTopicError::InvalidReplicationFactor(_) => ResponseError::InvalidReplicationFactor,
            CreateTopicError::InvalidReplicaAssignment(_) => ResponseError::InvalidReplicaAssignment,
            CreateTopicError::InvalidConfig(_) => ResponseError::InvalidConfig,
            CreateTopicError::InvalidRequest(_) => ResponseError::InvalidRequest,
            CreateTopicError::TooManyPartitions => ResponseError::PolicyViolation,
        };
        error.code()
    }
}

impl KafkaCode for DeleteTopicError {
    fn code(&self) -> Code {
        let error = match self {
            DeleteTopicError::UnknownName => ResponseError::UnknownTopicOrPartition,
            DeleteTopicError::UnknownId => ResponseError::UnknownTopicId,
            DeleteTopicError::InvalidRequest(_) => ResponseError::InvalidRequest,
        };
        error.code()
    }
}

impl KafkaCode for CreatePartitionsError {
    fn code(&self) -> Code {
        let error = match self {
            CreatePartitionsError::UnknownTopic => ResponseError::UnknownTopicOrPartition,
            CreatePartitionsError::InvalidPartitions(_) => ResponseError::InvalidPartitions,
            CreatePartitionsError::InvalidReplicaAssignment(_) => ResponseError::InvalidReplicaAssignment,
            CreatePartitionsError::InvalidReplicationFactor(_) => ResponseError::InvalidReplicationFactor,
            CreatePartitionsError::InvalidRequest(_) => ResponseError::InvalidRequest,
            CreatePartitionsError::TooManyPartitions => ResponseError::PolicyViolation,
        };
        error.code()
    }
}

impl KafkaCode for ElectLeaderError {
    fn code(&self) -> Code {
        let error = match self {
            ElectLeaderError::UnknownPartition(_) => ResponseError::UnknownTopicOrPartition,
            ElectLeaderError::NotNeeded => ResponseError::ElectionNotNeeded,
            ElectLeaderError::PreferredLeaderNotAvailable => ResponseError::PreferredLeaderNotAvailable,
            ElectLeaderError::EligibleLeadersNotAvailable => ResponseError::EligibleLeadersNotAvailable,
        };
        error.code()
    }
}

impl KafkaCode for AlterConfigsError {
    fn code(&self) -> Code {
        let error = match self {
            AlterConfigsError::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
            AlterConfigsError::BrokerNotRegistered(_) => ResponseError::BrokerIdNotRegistered,
            AlterConfigsError::InvalidConfig(_) => ResponseError::InvalidConfig,
            AlterConfigsError::InvalidRequest(_) => ResponseError::InvalidRequest,
        };
        error.code()
    }
}

impl KafkaCode for AllocateProducerIdsError {
    fn code(&self) -> Code {
        let error = match self {
            AllocateProducerIdsError::Incarnation(IncarnationError::NotRegistered(_)) => {
                ResponseError::BrokerIdNotRegistered
            }
            AllocateProducerIdsError::Incarnation(IncarnationError::StaleBrokerEpoch { .. }) => {
                ResponseError::StaleBrokerEpoch
            }
            AllocateProducerIdsError::Exhausted => ResponseError::UnknownServerError,
        };
        error.code()
    }
}
