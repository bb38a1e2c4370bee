//! The protocol by hand: a socket, frames, and requests as bytes that can be spoiled.
//!
//! Invariants: a read waits at most its limit.
//! Not here: a client. Nothing is retried and nothing is hidden.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

/// An answer that takes longer does not come.
const LIMIT: Duration = Duration::from_secs(10);

/// The first version that names topics in flexible requests.
pub const PRODUCE_VERSION: i16 = 9;

/// One connection.
pub struct Wire {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Wire {
    /// Connects.
    pub fn connect(bootstrap: &str) -> Self {
        let address: SocketAddr = bootstrap.parse().expect("an address and a port");
        let stream = TcpStream::connect_timeout(&address, LIMIT).expect("the broker listens");
        stream.set_nodelay(true).expect("a socket option");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket option");
        stream.set_write_timeout(Some(LIMIT)).expect("a socket option");
        Self { stream, next_correlation_id: 1 }
    }

    /// Changes how long a read may wait.
    pub fn set_limit(&self, limit: Duration) {
        self.stream.set_read_timeout(Some(limit)).expect("a socket option");
    }

    /// Sends bytes as they are. The broker may close at any time: that is for the reader to see.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request; returns its correlation id.
    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id += 1;
        self.stream.write_all(&frame(&encode(request, version, id))).expect("the connection is open");
        id
    }

    /// The next response, as bytes after the size. Err: closed, or nothing came in time.
    pub fn receive_raw(&mut self) -> io::Result<Bytes> {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size)?;
        let mut body = vec![0; usize::try_from(i32::from_be_bytes(size)).expect("a size that is not negative")];
        self.stream.read_exact(&mut body)?;
        Ok(body.into())
    }

    /// The next response, which must be one to `R` with this correlation id.
    pub fn receive<R: Request>(&mut self, version: i16, correlation_id: i32) -> R::Response {
        let mut body = self.receive_raw().expect("a response");
        let header = ResponseHeader::decode(&mut body, R::Response::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, correlation_id, "responses leave in request order");
        let response = R::Response::decode(&mut body, codec_version::<R>(version)).expect("a body");
        assert!(body.is_empty(), "{} bytes too many", body.len());
        response
    }

    /// A request and its response.
    pub fn ask<R: Request>(&mut self, request: &R, version: i16) -> R::Response {
        let id = self.send(request, version);
        self.receive::<R>(version, id)
    }

    /// Whether the broker has closed this connection (or does so within the limit). Skips responses that come before.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match self.receive_raw() {
                Ok(_) => {}
                Err(error) => return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            }
        }
    }
}

/// A request with its header, without the size before it.
pub fn encode<R: Request>(request: &R, version: i16, correlation_id: i32) -> Bytes {
    let api = ApiKey::try_from(R::KEY).expect("a key of Kafka's");
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str("black-box")));
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes, api.request_header_version(version)).expect("a header");
    request.encode(&mut bytes, codec_version::<R>(version)).expect("a request of that version");
    bytes.freeze()
}

/// The newest versions of some requests differ from the ones before only in what a value means, and the codec does not list them.
fn codec_version<R: Request>(version: i16) -> i16 {
    version.min(R::VERSIONS.max)
}

/// Puts the size before it.
pub fn frame(body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i32(i32::try_from(body.len()).expect("a small request"));
    bytes.put_slice(body);
    bytes.freeze()
}

/// A batch of such values, from no producer id.
pub fn batch(values: &[&[u8]], compression: Compression) -> Bytes {
    let records: Vec<Record> = (0..).zip(values).map(|(offset, value)| record(offset, value)).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).expect("a batch");
    bytes.freeze()
}

fn record(offset: i64, value: &[u8]) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: i32::try_from(offset).expect("few records") - 1,
        timestamp: 1_690_000_000_000 + offset,
        key: None,
        value: Some(Bytes::copy_from_slice(value)),
        // Without a header a record ends with a zero, and a cut that takes only that would be none.
        headers: [(StrBytes::from_static_str("h"), Some(Bytes::from_static(b"h")))].into_iter().collect(),
    }
}

/// Puts the right checksum into a batch that was changed.
pub fn with_right_crc(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A produce request of one batch to one partition.
pub fn produce_request(topic: &str, partition: i32, acks: i16, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch));
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let topic = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(10_000).with_topic_data(vec![topic])
}
