//! ApiVersions (API 18).
//!
//! *Behaviour*: lists [`super::TABLE`]. An unknown version of it is answered in version 0 with UNSUPPORTED_VERSION and the
//! list, so that a client from the future can step down (KIP-511).
//! *Versions*: 0 to 4.
//! *Why* Produce from 0: librdkafka turns compression off for a broker that does not list it (KAFKA-18659); Kafka lists 0-2
//! and refuses them, and so do we.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};

use crate::api::TABLE;

/// Lists what is served.
pub fn run(_request: &ApiVersionsRequest) -> ApiVersionsResponse {
    let api_keys = TABLE
        .iter()
        .map(|api| {
            let min = if api.key == ApiKey::Produce { 0 } else { api.min };
            ApiVersion::default().with_api_key(api.key as i16).with_min_version(min).with_max_version(api.max)
        })
        .collect();
    ApiVersionsResponse::default().with_api_keys(api_keys)
}

/// The answer to a version that is not served.
pub fn unsupported_version() -> ApiVersionsResponse {
    run(&ApiVersionsRequest::default()).with_error_code(ResponseError::UnsupportedVersion.code())
}
