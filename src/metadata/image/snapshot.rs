//! An image as bytes: one prost message, compressed with zstd.
//!
//! *Which core*: any; encoding is long work and runs off the executors.
//! *Invariants*: reading back what was written gives an equal image (but for the controller, which nobody agreed on);
//! reading checks all that applying the commands one by one would have checked, and never takes more than
//! [`IMAGE_BYTES_MAX`] of memory for the decompressed bytes.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use prost::Message;

use super::{Broker, BrokerEpoch, Configs, Image, Topic, Voter, apply};
use crate::metadata::change::{self, ConfigChange, ConfigOwner, ConfigRecord, Id, RegisterBroker, TopicRecord};
use crate::model::BrokerId;

/// The version of the format that this build writes, and the newest that it reads.
const IMAGE_FORMAT: u32 = 1;
/// Largest image, decompressed, in bytes: some ten million partitions.
pub const IMAGE_BYTES_MAX: usize = 1 << 30;
const ZSTD_LEVEL: i32 = 3;

#[derive(Clone, PartialEq, prost::Message)]
struct ImageRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    version: u64,
    #[prost(string, tag = "3")]
    cluster_id: String,
    #[prost(message, repeated, tag = "4")]
    voters: Vec<VoterRecord>,
    #[prost(message, repeated, tag = "5")]
    brokers: Vec<BrokerRecord>,
    #[prost(message, repeated, tag = "6")]
    topics: Vec<TopicRecord>,
    #[prost(message, repeated, tag = "7")]
    broker_configs: Vec<ConfigChange>,
    #[prost(int64, tag = "8")]
    next_producer_id: i64,
    #[prost(btree_map = "string, uint32", tag = "9")]
    features: BTreeMap<String, u32>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct VoterRecord {
    #[prost(uint64, tag = "1")]
    raft_id: u64,
    #[prost(int32, tag = "2")]
    node_id: i32,
    #[prost(message, optional, tag = "3")]
    directory_id: Option<Id>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BrokerRecord {
    #[prost(message, required, tag = "1")]
    registration: RegisterBroker,
    #[prost(int64, tag = "2")]
    epoch: i64,
    #[prost(uint64, optional, tag = "3")]
    leaving: Option<u64>,
}

/// Why bytes are no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// They don't decompress, or to too much.
    #[error("snapshot does not decompress: {0}")]
    Compression(String),
    /// No protobuf, or not this one.
    #[error("malformed snapshot: {0}")]
    Malformed(String),
    /// A newer build wrote it.
    #[error("snapshot of format {0}, newer than this build's {IMAGE_FORMAT}")]
    Unknown(u32),
    /// It can be read, and contradicts itself.
    #[error("invalid snapshot: {0}")]
    Invalid(String),
}

impl Image {
    /// The image's bytes. Long work for a big one: run it off the executor.
    pub fn to_bytes(&self) -> Vec<u8> {
        let plain = self.record().encode_to_vec();
        zstd::bulk::compress(&plain, ZSTD_LEVEL).expect("compression into memory fails only for want of memory")
    }

    /// Reads what [`Image::to_bytes`] gave.
    ///
    /// # Errors
    /// Anything that this build cannot take literally.
    pub fn from_bytes(bytes: &[u8]) -> Result<Image, ImageError> {
        let compression = |error: std::io::Error| ImageError::Compression(error.to_string());
        let mut plain = Vec::new();
        let decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(compression)?;
        decoder.take(IMAGE_BYTES_MAX as u64 + 1).read_to_end(&mut plain).map_err(compression)?;
        if plain.len() > IMAGE_BYTES_MAX {
            return Err(ImageError::Compression(format!("more than {IMAGE_BYTES_MAX} bytes")));
        }
        let record = ImageRecord::decode(&*plain).map_err(|error| ImageError::Malformed(error.to_string()))?;
        if record.format != IMAGE_FORMAT {
            return Err(ImageError::Unknown(record.format));
        }
        record.image().map_err(ImageError::Invalid)
    }

    fn record(&self) -> ImageRecord {
        ImageRecord {
            format: IMAGE_FORMAT,
            version: self.version,
            cluster_id: self.cluster_id.to_string(),
            voters: self.voters.values().map(VoterRecord::of).collect(),
            brokers: self.brokers.values().map(|broker| BrokerRecord::of(broker)).collect(),
            topics: self.topics.values().map(|topic| topic_record(topic)).collect(),
            broker_configs: self
                .broker_configs
                .iter()
                .map(|(owner, configs)| broker_configs(*owner, configs))
                .collect(),
            next_producer_id: self.next_producer_id,
            features: self
                .features
                .iter()
                .map(|(name, level)| (name.clone(), u32::from(level.unsigned_abs())))
                .collect(),
        }
    }
}

impl ImageRecord {
    fn image(self) -> Result<Image, String> {
        let invalid = |error: change::ChangeError| error.to_string();
        let voters = self.voters.iter().map(|voter| voter.voter()).collect::<Result<Vec<_>, _>>()?;
        let mut image = Image::empty(&self.cluster_id, voters);
        for topic in &self.topics {
            change::check_topic(topic).map_err(invalid)?;
            image.create_topic(topic)?;
        }
        let brokers = Arc::make_mut(&mut image.brokers);
        for record in &self.brokers {
            change::check_broker(&record.registration).map_err(invalid)?;
            let broker = apply::broker(&record.registration, BrokerEpoch(record.epoch))?;
            let broker = Broker { leaving: record.leaving, ..broker };
            brokers.insert(broker.id, Arc::new(broker));
        }
        let owners = Arc::make_mut(&mut image.broker_configs);
        for record in self.broker_configs {
            let value = |config: ConfigRecord| config.value.map(|value| (config.name, value));
            let configs = record.configs.into_iter().filter_map(value).collect();
            owners.insert(broker_owner(record.owner)?, Arc::new(configs));
        }
        let features = Arc::make_mut(&mut image.features);
        for (name, level) in self.features {
            features.insert(name, i16::try_from(level).map_err(|_| format!("feature level {level}"))?);
        }
        image.version = self.version;
        image.next_producer_id = self.next_producer_id;
        if image.next_producer_id < 0 { Err(format!("next producer id {}", image.next_producer_id)) } else { Ok(image) }
    }
}

fn broker_owner(owner: Option<ConfigOwner>) -> Result<Option<BrokerId>, String> {
    match owner {
        Some(ConfigOwner::Broker(broker)) => Ok(Some(BrokerId(broker))),
        Some(ConfigOwner::AllBrokers(true)) => Ok(None),
        Some(ConfigOwner::Topic(_) | ConfigOwner::AllBrokers(false)) | None => {
            Err("broker configs of no broker".to_owned())
        }
    }
}

fn broker_configs(owner: Option<BrokerId>, configs: &Configs) -> ConfigChange {
    let record = |(name, value): (&String, &String)| ConfigRecord { name: name.clone(), value: Some(value.clone()) };
    let owner = owner.map_or(ConfigOwner::AllBrokers(true), ConfigOwner::from);
    ConfigChange { owner: Some(owner), configs: configs.iter().map(record).collect() }
}

fn topic_record(topic: &Topic) -> TopicRecord {
    TopicRecord {
        id: topic.id.into(),
        name: topic.name.to_string(),
        partitions: topic.partitions.records(),
        configs: Configs::clone(&topic.configs),
    }
}

impl VoterRecord {
    fn of(voter: &Voter) -> VoterRecord {
        let directory_id = voter.directory_id.map(Id::from);
        VoterRecord { raft_id: voter.raft_id, node_id: voter.node_id.0, directory_id }
    }

    fn voter(self) -> Result<Voter, String> {
        if self.raft_id == 0 || self.node_id < 0 {
            return Err(format!("voter {} on node {}", self.raft_id, self.node_id));
        }
        let directory_id = self.directory_id.map(Into::into);
        Ok(Voter { raft_id: self.raft_id, node_id: BrokerId(self.node_id), directory_id })
    }
}

impl BrokerRecord {
    fn of(broker: &Broker) -> BrokerRecord {
        BrokerRecord { registration: RegisterBroker::of(broker), epoch: broker.epoch.0, leaving: broker.leaving }
    }
}
