//! The error codes in a response, wherever its API puts them, so that what clients are told can be counted.
//!
//! *Why* for every response by hand: each has its codes elsewhere, and one without a list here cannot be answered.

use std::iter::once;

use kafka_protocol::messages::*;

use crate::api::error::Code;

/// A response that can say which errors it tells.
pub trait Codes {
    /// Every code, zeros included.
    fn codes(&self) -> impl Iterator<Item = Code>;
}

/// The codes in nested lists, outermost first; the last field is the code.
macro_rules! codes {
    ($($response:ident: $($list:ident)/+;)+) => {
        $(impl Codes for $response {
            fn codes(&self) -> impl Iterator<Item = Code> {
                codes!(@ self, $($list)+)
            }
        })+
    };
    (@ $from:expr, $code:ident) => { once($from.$code) };
    (@ $from:expr, $list:ident $($rest:ident)+) => { $from.$list.iter().flat_map(|each| codes!(@ each, $($rest)+)) };
}

codes! {
    ApiVersionsResponse: error_code;
    CreatePartitionsResponse: results/error_code;
    CreateTopicsResponse: topics/error_code;
    DeleteRecordsResponse: topics/partitions/error_code;
    DeleteTopicsResponse: responses/error_code;
    DescribeClusterResponse: error_code;
    DescribeConfigsResponse: results/error_code;
    IncrementalAlterConfigsResponse: responses/error_code;
    InitProducerIdResponse: error_code;
    ListOffsetsResponse: topics/partitions/error_code;
    OffsetForLeaderEpochResponse: topics/partitions/error_code;
    ProduceResponse: responses/partition_responses/error_code;
}

impl Codes for DescribeQuorumResponse {
    fn codes(&self) -> impl Iterator<Item = Code> {
        let of_partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        once(self.error_code).chain(of_partitions.map(|partition| partition.error_code))
    }
}

impl Codes for DescribeTopicPartitionsResponse {
    fn codes(&self) -> impl Iterator<Item = Code> {
        let of_topics = self.topics.iter().map(|topic| topic.error_code);
        let of_partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        of_topics.chain(of_partitions.map(|partition| partition.error_code))
    }
}

impl Codes for ElectLeadersResponse {
    fn codes(&self) -> impl Iterator<Item = Code> {
        let of_partitions = self.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
        once(self.error_code).chain(of_partitions.map(|partition| partition.error_code))
    }
}

impl Codes for FetchResponse {
    fn codes(&self) -> impl Iterator<Item = Code> {
        let of_partitions = self.responses.iter().flat_map(|topic| &topic.partitions);
        once(self.error_code).chain(of_partitions.map(|partition| partition.error_code))
    }
}

impl Codes for MetadataResponse {
    fn codes(&self) -> impl Iterator<Item = Code> {
        let of_topics = self.topics.iter().map(|topic| topic.error_code);
        let of_partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        once(self.error_code).chain(of_topics).chain(of_partitions.map(|partition| partition.error_code))
    }
}
