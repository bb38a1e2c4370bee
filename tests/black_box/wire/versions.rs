//! Every version of every API that is advertised: asked once, answered in that version, by success and by refusal (lessons 77, 78, 80).
//!
//! Why refusals too: their responses carry fields that a good one leaves at the default, and a codec refuses to write a field that
//! the version does not have.

use bytes::Bytes;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use kafka_protocol::messages::describe_topic_partitions_response::DescribeTopicPartitionsResponseTopic;
use kafka_protocol::messages::elect_leaders_request::TopicPartitions;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Request, StrBytes};
use kafka_protocol::records::Compression;
use uuid::Uuid;

use crate::support::load::create_topic;
use crate::support::wire::{Wire, batch, frame};
use crate::support::{fresh_name, shared};
use chronik::api::TABLE;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_REQUIRED_ACKS: i16 = 21;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
const ELECTION_NOT_NEEDED: i16 = 84;
const UNKNOWN_TOPIC_ID: i16 = 100;
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;

/// No topic of a test has so many.
const NO_PARTITION: i32 = 99;
/// No topic has it.
const NO_ID: Uuid = Uuid::from_u128(7);
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

#[test]
fn every_advertised_version_is_answered_in_that_version() {
    let bootstrap = shared::bootstrap();
    let listed = Wire::connect(&bootstrap).ask(&ApiVersionsRequest::default(), 0).api_keys;
    let mut client = Client::connect(&bootstrap);
    for api in TABLE {
        let listed = listed.iter().find(|listed| listed.api_key == api.key as i16).expect("what is served is listed");
        if shared::foreign().is_none() {
            let min = if api.key == ApiKey::Produce { 0 } else { api.min };
            assert_eq!((listed.min_version, listed.max_version), (min, api.max), "{:?}", api.key);
        }
        for version in api.min..=api.max.min(listed.max_version) {
            // Shown where the test fails.
            println!("{:?} {version}", api.key);
            client.version = version;
            client.exchange(api.key);
        }
    }
    if shared::foreign().is_none() {
        assert_eq!(listed.len(), TABLE.len(), "nothing else is listed");
    }
}

/// librdkafka compresses nothing for a broker that does not list them.
#[test]
fn produce_0_to_2_are_listed_and_refused() {
    let bootstrap = shared::bootstrap();
    for version in 0..=2 {
        let mut wire = Wire::connect(&bootstrap);
        wire.send_raw(&frame(&[0, 0, 0, version, 0, 0, 0, 1, 0, 1, b'c', 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])).expect("open");
        assert!(wire.is_closed(), "version {version}");
    }
}

/// One connection, and a topic with a record or two.
struct Client {
    wire: Wire,
    bootstrap: String,
    name: String,
    id: Uuid,
    broker: BrokerId,
    version: i16,
    end_offset: i64,
    producer_id: i64,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

impl Client {
    fn connect(bootstrap: &str) -> Client {
        let name = fresh_name("versions");
        create_topic(bootstrap, &name, 1, &[]);
        let mut wire = Wire::connect(bootstrap);
        let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
        let found = wire.ask(&MetadataRequest::default().with_topics(Some(vec![wanted])), 12);
        let (id, broker) = (found.topics[0].topic_id, found.brokers[0].node_id);
        Client { wire, bootstrap: bootstrap.to_owned(), name, id, broker, version: 0, end_offset: 0, producer_id: -1 }
    }

    fn ask<R: Request>(&mut self, request: &R) -> R::Response {
        self.wire.ask(request, self.version)
    }

    fn name(&self) -> TopicName {
        topic_name(&self.name)
    }

    fn exchange(&mut self, key: ApiKey) {
        match key {
            ApiKey::Produce => self.produce(),
            ApiKey::Fetch => self.fetch(),
            ApiKey::ListOffsets => self.list_offsets(),
            ApiKey::Metadata => self.metadata(),
            ApiKey::ApiVersions => self.api_versions(),
            ApiKey::CreateTopics => self.create_topics(),
            ApiKey::DeleteTopics => self.delete_topics(),
            ApiKey::DeleteRecords => self.delete_records(),
            ApiKey::InitProducerId => self.init_producer_id(),
            ApiKey::OffsetForLeaderEpoch => self.offset_for_leader_epoch(),
            ApiKey::DescribeConfigs => self.describe_configs(),
            ApiKey::CreatePartitions => self.create_partitions(),
            ApiKey::IncrementalAlterConfigs => self.incremental_alter_configs(),
            ApiKey::DescribeCluster => self.describe_cluster(),
            ApiKey::ElectLeaders => self.elect_leaders(),
            ApiKey::DescribeQuorum => self.describe_quorum(),
            ApiKey::DescribeTopicPartitions => self.describe_topic_partitions(),
            other => panic!("{other:?} is served, and nobody asks for it here"),
        }
    }

    fn produce(&mut self) {
        assert_eq!(self.try_produce(-1, NO_PARTITION), (UNKNOWN_TOPIC_OR_PARTITION, -1));
        assert_eq!(self.try_produce(2, 0), (INVALID_REQUIRED_ACKS, -1));
        assert_eq!(self.try_produce(-1, 0), (0, self.end_offset));
        self.end_offset += 1;
    }

    /// The error and the base offset.
    fn try_produce(&mut self, acks: i16, partition: i32) -> (i16, i64) {
        let records = batch(&[b"value"], Compression::None);
        let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
        let topic = TopicProduceData::default().with_partition_data(vec![data]);
        let topic = if self.version < 13 { topic.with_name(self.name()) } else { topic.with_topic_id(self.id) };
        let request = ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic]);
        let response = self.ask(&request);
        let topic = &response.responses[0];
        if self.version < 13 {
            assert_eq!(topic.name, self.name());
        } else {
            assert_eq!(topic.topic_id, self.id);
        }
        (topic.partition_responses[0].error_code, topic.partition_responses[0].base_offset)
    }

    fn fetch(&mut self) {
        let version = self.version;
        let (name, id) = (self.name(), self.id);
        let topic = |partitions| {
            let topic = FetchTopic::default().with_partitions(partitions);
            vec![if version < 13 { topic.with_topic(name.clone()) } else { topic.with_topic_id(id) }]
        };
        let from = |partition, offset| {
            FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(offset)
                .with_partition_max_bytes(1 << 20)
                .with_current_leader_epoch(if version < 9 { -1 } else { 0 })
        };
        let request = FetchRequest::default().with_max_wait_ms(60_000).with_min_bytes(1).with_max_bytes(1 << 20);
        let found = self.ask(&request.clone().with_topics(topic(vec![from(0, 0)])));
        let partition = &found.responses[0].partitions[0];
        assert_eq!((found.error_code, partition.error_code, partition.high_watermark), (0, 0, self.end_offset));
        assert!(partition.records.as_ref().is_some_and(|records| !records.is_empty()));
        if version < 13 {
            assert_eq!(found.responses[0].topic, self.name());
        } else {
            assert_eq!(found.responses[0].topic_id, self.id);
        }
        let wrong = vec![from(NO_PARTITION, 0), from(0, 1 << 40)];
        let refused = self.ask(&request.clone().with_topics(topic(wrong)));
        let errors: Vec<i16> = refused.responses[0].partitions.iter().map(|partition| partition.error_code).collect();
        assert_eq!(errors, [UNKNOWN_TOPIC_OR_PARTITION, OFFSET_OUT_OF_RANGE]);
        // No records are empty, never null (lesson 82).
        let at_end = request.clone().with_max_wait_ms(0).with_topics(topic(vec![from(0, self.end_offset)]));
        let found = self.ask(&at_end);
        let partition = &found.responses[0].partitions[0];
        assert_eq!((partition.error_code, partition.records.as_ref().map(Bytes::len)), (0, Some(0)));
        // Nothing is asked for: nothing is waited for.
        let nothing = self.ask(&request.clone());
        assert_eq!((nothing.error_code, nothing.responses.len()), (0, 0));
        if version >= 7 {
            let unknown = self.ask(&request.with_session_id(12345).with_session_epoch(1));
            assert_eq!(unknown.error_code, FETCH_SESSION_ID_NOT_FOUND);
        }
    }

    fn list_offsets(&mut self) {
        const LATEST: i64 = -1;
        const EARLIEST: i64 = -2;
        const MAX_TIMESTAMP: i64 = -3;
        assert_eq!(self.offset_at(0, EARLIEST), (0, 0));
        assert_eq!(self.offset_at(0, 0), (0, 0));
        assert_eq!(self.offset_at(0, i64::MAX), (0, -1));
        assert_eq!(self.offset_at(0, LATEST), (0, self.end_offset));
        assert_eq!(self.offset_at(NO_PARTITION, LATEST), (UNKNOWN_TOPIC_OR_PARTITION, -1));
        if self.version >= 7 {
            let (error, offset) = self.offset_at(0, MAX_TIMESTAMP);
            assert_eq!(error, 0);
            assert!((0..self.end_offset).contains(&offset));
        }
    }

    /// The error and the offset.
    fn offset_at(&mut self, partition: i32, timestamp: i64) -> (i16, i64) {
        let wanted = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
        let topic = ListOffsetsTopic::default().with_name(self.name()).with_partitions(vec![wanted]);
        let response = self.ask(&ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]));
        let found = &response.topics[0].partitions[0];
        (found.error_code, found.offset)
    }

    fn metadata(&mut self) {
        let wanted = |name: &str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let mine = self.name.clone();
        let has_mine = |topics: &[MetadataResponseTopic]| {
            topics.iter().any(|topic| topic.name == Some(topic_name(&mine)) && topic.error_code == 0)
        };
        let found = self.topics(Some(vec![wanted(&mine)]));
        assert_eq!((found[0].error_code, found[0].partitions.len(), found[0].partitions[0].error_code), (0, 1, 0));
        // Version 0 asks for all by naming none; later ones ask for none by that, and for all by null.
        let none_named = self.topics(Some(Vec::new()));
        if self.version == 0 {
            assert!(has_mine(&none_named));
            return;
        }
        assert!(none_named.is_empty());
        assert!(has_mine(&self.topics(None)));
        if self.version >= 4 {
            let unknown = self.topics(Some(vec![wanted(&fresh_name("unknown"))]));
            assert_eq!(unknown[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
        }
        if self.version >= 12 {
            let by_id = |id| MetadataRequestTopic::default().with_topic_id(id).with_name(None);
            let found = self.topics(Some(vec![by_id(self.id), by_id(NO_ID)]));
            let (known, unknown): (Vec<_>, Vec<_>) = found.iter().partition(|topic| topic.error_code == 0);
            assert_eq!((known[0].name.as_ref(), known[0].topic_id), (Some(&topic_name(&mine)), self.id));
            assert_eq!((unknown[0].name.as_ref(), unknown[0].topic_id), (None, NO_ID));
            assert_eq!(unknown[0].error_code, UNKNOWN_TOPIC_ID);
        }
    }

    /// Metadata of these; none is created.
    fn topics(&mut self, topics: Option<Vec<MetadataRequestTopic>>) -> Vec<MetadataResponseTopic> {
        // Before version 4 a request cannot say whether it wants them created.
        let request = MetadataRequest::default().with_allow_auto_topic_creation(self.version < 4).with_topics(topics);
        let response = self.ask(&request);
        assert!(!response.brokers.is_empty());
        response.topics
    }

    fn api_versions(&mut self) {
        let mut request = ApiVersionsRequest::default();
        if self.version >= 3 {
            request = request.with_client_software_name(text("black-box")).with_client_software_version(text("1"));
        }
        let response = self.ask(&request);
        assert_eq!(response.error_code, 0);
        assert!(response.api_keys.len() >= TABLE.len());
    }

    fn create_topics(&mut self) {
        let name = fresh_name("created");
        let config = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1000000")));
        let topic = CreatableTopic::default()
            .with_name(topic_name(&name))
            .with_num_partitions(2)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
        for (validate_only, error) in [(true, 0), (false, 0), (false, TOPIC_ALREADY_EXISTS)] {
            let response = self.ask(&request.clone().with_validate_only(validate_only));
            let created = &response.topics[0];
            assert_eq!((created.name.as_str(), created.error_code), (name.as_str(), error));
            if error == 0 && self.version >= 5 {
                assert_eq!((created.num_partitions, created.replication_factor), (2, 1));
                let configs = created.configs.as_deref().unwrap_or_default();
                let value = configs.iter().find(|config| config.name.as_str() == "retention.ms");
                assert_eq!(value.and_then(|config| config.value.as_deref()), Some("1000000"));
            }
            if !validate_only {
                assert_eq!(created.topic_id.is_nil(), self.version < 7 || error != 0);
            }
        }
    }

    fn delete_topics(&mut self) {
        let name = fresh_name("deleted");
        create_topic(&self.bootstrap, &name, 1, &[]);
        for error in [0, UNKNOWN_TOPIC_OR_PARTITION] {
            let request = DeleteTopicsRequest::default().with_timeout_ms(10_000);
            let request = if self.version < 6 {
                request.with_topic_names(vec![topic_name(&name)])
            } else {
                request.with_topics(vec![DeleteTopicState::default().with_name(Some(topic_name(&name)))])
            };
            let deleted = self.ask(&request).responses;
            assert_eq!((deleted[0].error_code, deleted[0].name.as_ref()), (error, Some(&topic_name(&name))));
        }
        if self.version >= 6 {
            let by_id = DeleteTopicState::default().with_name(None).with_topic_id(NO_ID);
            let deleted = self.ask(&DeleteTopicsRequest::default().with_topics(vec![by_id])).responses;
            assert_eq!((deleted[0].error_code, deleted[0].topic_id), (UNKNOWN_TOPIC_ID, NO_ID));
        }
    }

    fn delete_records(&mut self) {
        for (partition, offset, expected) in [
            (0, 0, (0, 0)),
            (0, 1 << 40, (OFFSET_OUT_OF_RANGE, -1)),
            (NO_PARTITION, 0, (UNKNOWN_TOPIC_OR_PARTITION, -1)),
        ] {
            let wanted = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
            let topic = DeleteRecordsTopic::default().with_name(self.name()).with_partitions(vec![wanted]);
            let response = self.ask(&DeleteRecordsRequest::default().with_timeout_ms(10_000).with_topics(vec![topic]));
            let result = &response.topics[0].partitions[0];
            assert_eq!((result.error_code, result.low_watermark), expected);
        }
    }

    fn init_producer_id(&mut self) {
        let request = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(1000);
        let response = self.ask(&request);
        assert_eq!((response.error_code, response.producer_epoch), (0, 0));
        assert!(response.producer_id.0 > self.producer_id, "{} after {}", response.producer_id.0, self.producer_id);
        self.producer_id = response.producer_id.0;
    }

    fn offset_for_leader_epoch(&mut self) {
        for (partition, current_epoch, expected) in [
            (0, 0, (0, 0, self.end_offset)),
            (0, 1000, (UNKNOWN_LEADER_EPOCH, -1, -1)),
            (NO_PARTITION, 0, (UNKNOWN_TOPIC_OR_PARTITION, -1, -1)),
        ] {
            let wanted = OffsetForLeaderPartition::default()
                .with_partition(partition)
                .with_current_leader_epoch(current_epoch)
                .with_leader_epoch(0);
            let topic = OffsetForLeaderTopic::default().with_topic(self.name()).with_partitions(vec![wanted]);
            let mut request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            if self.version >= 3 {
                request = request.with_replica_id(BrokerId(-1));
            }
            let response = self.ask(&request);
            let end = &response.topics[0].partitions[0];
            assert_eq!((end.error_code, end.leader_epoch, end.end_offset), expected);
        }
    }

    fn describe_configs(&mut self) {
        let (name, broker) = (self.name.clone(), self.broker.0.to_string());
        let all = self.configs(TOPIC, &name, None);
        assert_eq!(all.error_code, 0);
        assert!(all.configs.len() > 10);
        // No key is every key, as in Kafka.
        assert_eq!(self.configs(TOPIC, &name, Some(&[])).configs.len(), all.configs.len());
        let one = self.configs(TOPIC, &name, Some(&["retention.ms", "no.such.config"]));
        assert_eq!((one.error_code, one.configs.len()), (0, 1));
        assert!(!one.configs[0].synonyms.is_empty());
        if self.version >= 3 {
            assert!(one.configs[0].documentation.as_ref().is_some_and(|text| !text.is_empty()));
        }
        assert_eq!(self.configs(TOPIC, &fresh_name("unknown"), None).error_code, UNKNOWN_TOPIC_OR_PARTITION);
        let of_broker = self.configs(BROKER, &broker, None);
        assert_eq!(of_broker.error_code, 0);
        assert!(of_broker.configs.len() > 10);
    }

    fn configs(&mut self, resource_type: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(resource_type)
            .with_resource_name(text(name))
            .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true)
            .with_include_documentation(self.version >= 3);
        let result = self.ask(&request).results.remove(0);
        assert_eq!(result.resource_name.as_str(), name);
        result
    }

    fn create_partitions(&mut self) {
        let name = fresh_name("more");
        create_topic(&self.bootstrap, &name, 1, &[]);
        for error in [0, INVALID_PARTITIONS] {
            let topic =
                CreatePartitionsTopic::default().with_name(topic_name(&name)).with_count(2).with_assignments(None);
            let request = CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
            let grown = self.ask(&request).results;
            assert_eq!((grown[0].error_code, grown[0].name.as_str()), (error, name.as_str()));
        }
    }

    fn incremental_alter_configs(&mut self) {
        for (value, error) in [("1000000", 0), ("soon", INVALID_CONFIG)] {
            let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text(value)));
            let resource = AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(&self.name))
                .with_configs(vec![config]);
            let altered = self.ask(&IncrementalAlterConfigsRequest::default().with_resources(vec![resource])).responses;
            assert_eq!((altered[0].error_code, altered[0].resource_name.as_str()), (error, self.name.as_str()));
        }
    }

    fn describe_cluster(&mut self) {
        let response = self.ask(&DescribeClusterRequest::default());
        assert_eq!((response.error_code, response.brokers.len()), (0, 1));
        assert!(!response.cluster_id.is_empty());
        if self.version >= 1 {
            let response = self.ask(&DescribeClusterRequest::default().with_endpoint_type(2));
            assert_eq!(response.error_code, MISMATCHED_ENDPOINT_TYPE);
        }
    }
    fn elect_leaders(&mut self) {
        let named = TopicPartitions::default().with_topic(self.name()).with_partitions(vec![0, NO_PARTITION]);
        let request = ElectLeadersRequest::default().with_timeout_ms(10_000);
        let response = self.ask(&request.clone().with_topic_partitions(Some(vec![named])));
        assert_eq!((response.error_code, response.replica_election_results.len()), (0, 1));
        let of_topic = &response.replica_election_results[0];
        assert_eq!(of_topic.topic, self.name());
        let codes: Vec<_> = of_topic.partition_result.iter().map(|one| (one.partition_id, one.error_code)).collect();
        assert_eq!(codes, [(0, ELECTION_NOT_NEEDED), (NO_PARTITION, UNKNOWN_TOPIC_OR_PARTITION)]);
        // All partitions, without those that need none.
        let all = self.ask(&request.clone().with_topic_partitions(None));
        assert_eq!((all.error_code, all.replica_election_results.len()), (0, 0));
        if self.version >= 1 && shared::foreign().is_none() {
            assert_eq!(self.ask(&request.with_election_type(9)).error_code, INVALID_REQUEST);
        }
    }

    fn describe_quorum(&mut self) {
        let asked = |name: &str| {
            let partition = describe_quorum_request::PartitionData::default();
            let topic = describe_quorum_request::TopicData::default()
                .with_topic_name(topic_name(name))
                .with_partitions(vec![partition]);
            DescribeQuorumRequest::default().with_topics(vec![topic])
        };
        let response = self.ask(&asked("__cluster_metadata"));
        let group = &response.topics[0].partitions[0];
        assert_eq!((response.error_code, group.error_code, group.current_voters.len()), (0, 0, 1));
        let voter = &group.current_voters[0];
        assert_eq!((voter.replica_id, group.leader_id), (self.broker, self.broker));
        assert!(group.high_watermark > 0 && voter.log_end_offset >= group.high_watermark);
        assert_eq!(voter.last_caught_up_timestamp > 0, self.version >= 1);
        assert_eq!(response.nodes.len(), usize::from(self.version >= 2));
        let refused = self.ask(&asked(&self.name.clone()));
        assert_eq!(refused.topics[0].partitions[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    }

    fn describe_topic_partitions(&mut self) {
        let two = fresh_name("versions-two");
        create_topic(&self.bootstrap, &two, 2, &[]);
        let unknown = fresh_name("versions-unknown");
        let named = |name: &str| TopicRequest::default().with_name(topic_name(name));
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics([&two, &unknown, &self.name].map(|name| named(name)).to_vec())
            .with_response_partition_limit(2000);
        let shown = |topics: &[DescribeTopicPartitionsResponseTopic]| -> Vec<(String, i16, Vec<i32>)> {
            let name =
                |topic: &DescribeTopicPartitionsResponseTopic| topic.name.clone().unwrap_or_default().to_string();
            let indexes = |topic: &DescribeTopicPartitionsResponseTopic| {
                topic.partitions.iter().map(|partition| partition.partition_index).collect()
            };
            topics.iter().map(|topic| (name(topic), topic.error_code, indexes(topic))).collect()
        };
        let mine = (self.name.clone(), 0, vec![0]);
        let whole = self.ask(&request);
        let missing = (unknown, UNKNOWN_TOPIC_OR_PARTITION, Vec::new());
        assert_eq!(shown(&whole.topics), [mine.clone(), (two.clone(), 0, vec![0, 1]), missing.clone()]);
        assert_eq!(whole.next_cursor, None);
        let partition = &whole.topics[0].partitions[0];
        assert_eq!(
            (partition.error_code, partition.leader_id, &partition.isr_nodes[..]),
            (0, self.broker, &[self.broker][..])
        );
        assert_eq!(partition.eligible_leader_replicas.as_deref().map(<[BrokerId]>::len), Some(0));
        // Two partitions at a time: the second page begins in the middle of a topic.
        let request = request.with_response_partition_limit(2);
        let first = self.ask(&request);
        assert_eq!(shown(&first.topics), [mine, (two.clone(), 0, vec![0])]);
        let next = first.next_cursor.expect("there is more");
        assert_eq!((next.topic_name.as_str(), next.partition_index), (two.as_str(), 1));
        let cursor = Cursor::default().with_topic_name(next.topic_name).with_partition_index(next.partition_index);
        let second = self.ask(&request.clone().with_cursor(Some(cursor.clone())));
        assert_eq!((shown(&second.topics), second.next_cursor), (vec![(two, 0, vec![1]), missing], None));
        let wrong = self.ask(&request.with_cursor(Some(cursor.with_partition_index(-1))));
        assert!(wrong.topics.iter().all(|topic| topic.error_code == INVALID_REQUEST));
    }
}
