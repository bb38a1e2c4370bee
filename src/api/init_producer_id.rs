//! InitProducerId (API 22).
//!
//! *Behaviour*: a new producer id with epoch 0, from this broker's block; never the same twice, restarts included. A producer
//! that brings its id and wants the next epoch (KIP-360) gets a new id, too. Transactional ids are refused.
//! *Versions*: 0 to 5.

use std::rc::Rc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};

use crate::api::error::{Code, KafkaCode};
use crate::broker::Broker;
use crate::model::ProducerId;

/// Serves the request.
pub async fn run(broker: &Rc<Broker>, request: InitProducerIdRequest) -> InitProducerIdResponse {
    match identity(broker, &request).await {
        Ok((ProducerId(id), epoch)) => {
            InitProducerIdResponse::default().with_producer_id(id.into()).with_producer_epoch(epoch)
        }
        Err(code) => InitProducerIdResponse::default()
            .with_error_code(code)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1),
    }
}

async fn identity(broker: &Rc<Broker>, request: &InitProducerIdRequest) -> Result<(ProducerId, i16), Code> {
    if request.transactional_id.is_some() {
        return Err(ResponseError::TransactionalIdAuthorizationFailed.code());
    }
    // Kafka does the same for a producer without transactions: a fresh id is as good as a bumped epoch, and needs no state.
    let id = broker.producer_ids.next(broker).await.map_err(|error| error.code())?;
    Ok((id, 0))
}
