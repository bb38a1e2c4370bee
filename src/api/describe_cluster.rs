//! DescribeCluster (API 60).
//!
//! *Behaviour*: the brokers, the controller, the cluster's id. Controllers' endpoints (KIP-919) are not served here: type 2 is refused.
//! *Versions*: 0 to 2.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use crate::api::Head;
use crate::api::metadata::{host, port};
use crate::broker::Broker;

/// Describes the cluster.
pub fn run(broker: &Broker, head: Head, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    const BROKERS: i8 = 1;
    const CONTROLLERS: i8 = 2;
    let refused = match request.endpoint_type {
        BROKERS => None,
        CONTROLLERS => Some(ResponseError::MismatchedEndpointType),
        _ => Some(ResponseError::UnsupportedEndpointType),
    };
    if let Some(error) = refused {
        return DescribeClusterResponse::default()
            .with_error_code(error.code())
            .with_error_message(Some(StrBytes::from_static_str("this is an endpoint of brokers")));
    }
    let image = broker.image();
    let brokers = image.brokers().values().filter(|b| !b.fenced || request.include_fenced_brokers).map(|registered| {
        DescribeClusterBroker::default()
            .with_broker_id(registered.id.0.into())
            .with_host(StrBytes::from_string(host(registered)))
            .with_port(port(registered))
            .with_is_fenced(registered.fenced && head.version >= 2)
            .with_rack(registered.rack.clone().map(StrBytes::from_string))
    });
    DescribeClusterResponse::default()
        .with_endpoint_type(BROKERS)
        .with_cluster_id(StrBytes::from_string(image.cluster_id().to_string()))
        .with_controller_id(image.controller().map_or(-1, |id| id.0).into())
        .with_brokers(brokers.collect())
}
