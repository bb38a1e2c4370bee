//! Every request that this broker serves, in every version: its shape is checked, and what passes is decoded.

use bytes::{Bytes, BytesMut};
use chronik::api::{TABLE, shape};
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};

#[test]
fn fuzz_a_request_is_decoded_or_refused() {
    crate::run(&samples(), |input| {
        let [key, key_low, version, version_low, ..] = input else { return };
        let Ok(key) = ApiKey::try_from(i16::from_be_bytes([*key, *key_low])) else { return };
        let version = i16::from_be_bytes([*version, *version_low]);
        let header_version = key.request_header_version(version);
        let is_served = TABLE.iter().any(|api| api.key == key && (api.min..=api.max).contains(&version));
        if !is_served || shape::check_header(header_version, input).is_err() {
            return;
        }
        let mut body = Bytes::copy_from_slice(input);
        if RequestHeader::decode(&mut body, header_version).is_err() {
            return;
        }
        if let Ok(taken) = shape::check(key, version, &body) {
            let behind = body.len() - taken;
            if let Some(left) = decode(key, version, body) {
                assert_eq!(left, behind, "the decoder ends where the check did");
            }
        }
    });
}

#[test]
fn every_sample_is_a_request_that_is_served() {
    let samples = samples();
    for api in TABLE {
        for version in api.min..=api.max {
            let head = [(api.key as i16).to_be_bytes(), version.to_be_bytes()].concat();
            let sample =
                samples.iter().find(|sample| sample.starts_with(&head)).unwrap_or_else(|| panic!("{api:?} {version}"));
            let header_version = api.key.request_header_version(version);
            shape::check_header(header_version, sample).expect("a header");
            let mut body = Bytes::copy_from_slice(sample);
            RequestHeader::decode(&mut body, header_version).expect("a header");
            assert_eq!(shape::check(api.key, version, &body), Ok(body.len()), "{:?} {version}", api.key);
        }
    }
}

/// How many bytes are left over; `None`: an error is an answer, too. A panic or a mountain of memory is none.
fn decode(key: ApiKey, version: i16, mut body: Bytes) -> Option<usize> {
    macro_rules! decode_as {
        ($($name:ident => $request:ident),+ $(,)?) => {
            match key {
                $(ApiKey::$name => $request::decode(&mut body, codec_version::<$request>(version)).map(drop),)+
                _ => panic!("{key:?} is served and not fuzzed"),
            }
        };
    }
    decode_as! {
        Produce => ProduceRequest,
        Fetch => FetchRequest,
        ListOffsets => ListOffsetsRequest,
        Metadata => MetadataRequest,
        ApiVersions => ApiVersionsRequest,
        CreateTopics => CreateTopicsRequest,
        DeleteTopics => DeleteTopicsRequest,
        DeleteRecords => DeleteRecordsRequest,
        InitProducerId => InitProducerIdRequest,
        OffsetForLeaderEpoch => OffsetForLeaderEpochRequest,
        DescribeConfigs => DescribeConfigsRequest,
        CreatePartitions => CreatePartitionsRequest,
        IncrementalAlterConfigs => IncrementalAlterConfigsRequest,
        DescribeCluster => DescribeClusterRequest,
        ElectLeaders => ElectLeadersRequest,
        DescribeQuorum => DescribeQuorumRequest,
        DescribeTopicPartitions => DescribeTopicPartitionsRequest,
    }
    .ok()
    .map(|()| body.len())
}

/// The newest versions of some requests differ from the ones before only in what a value means, and the codec does not list them.
fn codec_version<R: Request>(version: i16) -> i16 {
    version.min(R::VERSIONS.max)
}

fn samples() -> Vec<Vec<u8>> {
    let text = StrBytes::from_static_str;
    let topic = || TopicName(text("topic"));
    let id = || uuid::Uuid::from_u128(7);
    let mut samples = Samples::default();
    let data = PartitionProduceData::default().with_records(Some(Bytes::from_static(&[7; 100])));
    let produce = TopicProduceData::default().with_partition_data(vec![data; 2]);
    samples.add(|version| {
        let topic = if version < 13 { produce.clone().with_name(topic()) } else { produce.clone().with_topic_id(id()) };
        ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic])
    });
    samples.add(|version| {
        let mut partition = FetchPartition::default();
        partition.replica_directory_id = if version < 17 { uuid::Uuid::nil() } else { id() };
        let fetched = FetchTopic::default().with_partitions(vec![partition; 3]);
        let forgotten = ForgottenTopic::default().with_partitions(vec![1, 2]);
        let (fetched, forgotten) = if version < 13 {
            (fetched.with_topic(topic()), forgotten.with_topic(topic()))
        } else {
            (fetched.with_topic_id(id()), forgotten.with_topic_id(id()))
        };
        let mut request = FetchRequest::default().with_topics(vec![fetched]);
        request.cluster_id = (version >= 12).then(|| text("cluster"));
        request.replica_state.replica_epoch = if version < 15 { -1 } else { 1 };
        if version < 7 { request } else { request.with_forgotten_topics_data(vec![forgotten]) }
    });
    samples.add(|_| {
        let topic =
            ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![ListOffsetsPartition::default(); 3]);
        ListOffsetsRequest::default().with_topics(vec![topic])
    });
    samples.add(|_| {
        let topic = MetadataRequestTopic::default().with_name(Some(topic()));
        MetadataRequest::default().with_topics(Some(vec![topic; 3]))
    });
    samples.add(|version| {
        let request = ApiVersionsRequest::default();
        if version < 3 {
            request
        } else {
            request.with_client_software_name(text("name")).with_client_software_version(text("1"))
        }
    });
    samples.add(|_| {
        let assignment = CreatableReplicaAssignment::default().with_broker_ids(vec![BrokerId(1), BrokerId(2)]);
        let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1")));
        let topic =
            CreatableTopic::default().with_name(topic()).with_assignments(vec![assignment]).with_configs(vec![config]);
        CreateTopicsRequest::default().with_topics(vec![topic; 2])
    });
    samples.add(|version| {
        let request = DeleteTopicsRequest::default();
        if version < 6 {
            request.with_topic_names(vec![topic(); 3])
        } else {
            request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic())); 2])
        }
    });
    samples.add(|_| {
        let partitions = vec![DeleteRecordsPartition::default(); 2];
        DeleteRecordsRequest::default()
            .with_topics(vec![DeleteRecordsTopic::default().with_name(topic()).with_partitions(partitions)])
    });
    samples.add(|_| InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("id")))));
    samples.add(|_| {
        let partitions = vec![OffsetForLeaderPartition::default(); 2];
        let topic = OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(partitions);
        OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
    });
    samples.add(|_| {
        let resource = DescribeConfigsResource::default().with_configuration_keys(Some(vec![text("a"), text("b")]));
        DescribeConfigsRequest::default().with_resources(vec![resource; 2])
    });
    samples.add(|_| {
        let assignment = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(1)]);
        let topic = CreatePartitionsTopic::default().with_name(topic()).with_assignments(Some(vec![assignment; 2]));
        CreatePartitionsRequest::default().with_topics(vec![topic])
    });
    samples.add(|_| {
        let config = AlterableConfig::default().with_name(text("a")).with_value(Some(text("b")));
        let resource = AlterConfigsResource::default().with_configs(vec![config; 3]);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    });
    samples.add(|_| DescribeClusterRequest::default());
    samples.add(|_| {
        let named = TopicPartitions::default().with_topic(topic()).with_partitions(vec![1, 2]);
        ElectLeadersRequest::default().with_topic_partitions(Some(vec![named; 2]))
    });
    samples.add(|_| {
        let asked = describe_quorum_request::TopicData::default()
            .with_topic_name(topic())
            .with_partitions(vec![describe_quorum_request::PartitionData::default(); 2]);
        DescribeQuorumRequest::default().with_topics(vec![asked])
    });
    samples.add(|_| {
        let cursor = Cursor::default().with_topic_name(topic()).with_partition_index(3);
        DescribeTopicPartitionsRequest::default()
            .with_topics(vec![TopicRequest::default().with_name(topic()); 2])
            .with_cursor(Some(cursor))
    });
    samples.0
}

#[derive(Default)]
struct Samples(Vec<Vec<u8>>);

impl Samples {
    /// One sample for every version that is served.
    fn add<R: Request>(&mut self, request: impl Fn(i16) -> R) {
        let api = TABLE.iter().find(|api| api.key as i16 == R::KEY).expect("it is served");
        for version in api.min..=api.max {
            let header = RequestHeader::default()
                .with_request_api_key(R::KEY)
                .with_request_api_version(version)
                .with_client_id(Some(StrBytes::from_static_str("fuzz")));
            let mut bytes = BytesMut::new();
            header.encode(&mut bytes, api.key.request_header_version(version)).expect("a header");
            request(version).encode(&mut bytes, codec_version::<R>(version)).expect("a request of that version");
            self.0.push(bytes.to_vec());
        }
    }
}
