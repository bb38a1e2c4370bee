//! A blocking connection for what is asked now and then: versions, metadata, topics.
//!
//! Invariants: every wait is bounded; a frame's length is checked before memory is taken; an error code is an error.
//! Not here: the load itself (`client`).
//! Why: with it both clients create and look up topics the same way, and the raw client needs it anyway.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};

/// Largest response that is believed.
pub const FRAME_BYTES_MAX: usize = 128 << 20;
/// How this program names itself to brokers.
pub const CLIENT_ID: &str = "chronik-bench";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The versions that a broker offers, by API key: (lowest, highest).
pub type Versions = BTreeMap<i16, (i16, i16)>;

/// A connection, one request at a time.
pub struct Wire {
    stream: TcpStream,
    versions: Versions,
    correlation_id: i32,
}

impl Wire {
    /// Connects to the first of these addresses (`host:port`) that answers, and asks what it offers.
    pub fn connect(addresses: &[String]) -> Result<Self> {
        let mut last = anyhow!("no bootstrap servers");
        for address in addresses {
            match connect(address).and_then(Self::greet) {
                Ok(wire) => return Ok(wire),
                Err(error) => last = error.context(format!("cannot use {address}")),
            }
        }
        Err(last)
    }

    fn greet(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut wire = Self { stream, versions: Versions::new(), correlation_id: 0 };
        let response = wire.call_version(&ApiVersionsRequest::default(), 0)?;
        ensure!(response.error_code == 0, "ApiVersions: {}", error_name(response.error_code));
        wire.versions = response.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect();
        Ok(wire)
    }

    /// What the broker offers.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Whether the broker offers an API at all.
    pub fn offers(&self, api: ApiKey) -> bool {
        self.versions.contains_key(&(api as i16))
    }

    /// Asks, in the highest version up to `version_max` that both sides know.
    pub fn call<R: Request>(&mut self, request: &R, version_max: i16) -> Result<R::Response> {
        let version = agreed_version(&self.versions, R::KEY, R::VERSIONS.min, R::VERSIONS.max.min(version_max))?;
        self.call_version(request, version)
    }

    fn call_version<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.correlation_id += 1;
        self.stream.write_all(&encode(request, version, self.correlation_id)?)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).context("no answer")?;
        let mut frame = vec![0; frame_length(length)?];
        self.stream.read_exact(&mut frame).context("half an answer")?;
        let mut frame = Bytes::from(frame);
        let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))?;
        ensure!(header.correlation_id == self.correlation_id, "an answer to another request");
        R::Response::decode(&mut frame, version)
    }
}

/// A connection with small writes sent at once.
pub fn connect(address: &str) -> Result<TcpStream> {
    let mut last = None;
    for resolved in address.to_socket_addrs().with_context(|| format!("cannot resolve {address}"))? {
        match TcpStream::connect_timeout(&resolved, CONNECT_TIMEOUT) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.map_or_else(|| anyhow!("{address} has no address"), Into::into))
}

/// The highest version of an API within `min..=max` that the broker offers.
pub fn agreed_version(versions: &Versions, api_key: i16, min: i16, max: i16) -> Result<i16> {
    let name = ApiKey::try_from(api_key).map_or_else(|_| format!("API {api_key}"), |api| format!("{api:?}"));
    let Some((broker_min, broker_max)) = versions.get(&api_key) else { bail!("the broker does not offer {name}") };
    let version = max.min(*broker_max);
    ensure!(
        version >= min.max(*broker_min),
        "{name}: the broker offers {broker_min} to {broker_max}, we {min} to {max}"
    );
    Ok(version)
}

/// A whole request frame, length first.
pub fn encode<R: Request>(request: &R, version: i16, correlation_id: i32) -> Result<BytesMut> {
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    header.encode(&mut frame, R::header_version(version))?;
    request.encode(&mut frame, version)?;
    let length = i32::try_from(frame.len() - 4)?;
    frame[0..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The length of the frame that follows these four bytes.
pub fn frame_length(prefix: [u8; 4]) -> Result<usize> {
    let length = i32::from_be_bytes(prefix);
    let length = usize::try_from(length).ok().filter(|length| (4..=FRAME_BYTES_MAX).contains(length));
    length.with_context(|| format!("not a Kafka response: a frame of {} bytes", i32::from_be_bytes(prefix)))
}

/// The name of a Kafka error code.
pub fn error_name(code: i16) -> String {
    match kafka_protocol::ResponseError::try_from_code(code) {
        None => "None".to_owned(),
        Some(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    #[test]
    fn versions_are_agreed_or_refused_with_both_ranges() {
        let versions = Versions::from([(0, (3, 10)), (1, (20, 30))]);
        assert_eq!(agreed_version(&versions, 0, 3, 11).unwrap(), 10);
        assert_eq!(agreed_version(&versions, 0, 3, 7).unwrap(), 7);
        assert!(agreed_version(&versions, 1, 4, 18).unwrap_err().to_string().contains("20 to 30"));
        assert!(agreed_version(&versions, 2, 0, 1).is_err());
    }

    #[test]
    fn a_frame_length_that_cannot_be_is_refused() {
        assert_eq!(frame_length(8_i32.to_be_bytes()).unwrap(), 8);
        for wrong in [-1, 0, 3, i32::MAX] {
            assert!(frame_length(wrong.to_be_bytes()).is_err());
        }
    }

    #[test]
    fn errors_have_kafkas_names() {
        assert_eq!(error_name(19), "NotEnoughReplicas");
        assert!(error_name(12345).contains("12345"));
    }
}
