//! Requests in: a frame's length, the budget for it, its body, its dispatch.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_lite::future::or;
use kafka_protocol::messages::ApiKey;
use net::frame::{FrameError, FrameReader};
use net::stream::ReadHalf;

use crate::api::{self, Close};
use crate::broker::Broker;
use crate::connection::responses::InFlight;
use crate::connection::{Connection, Connections};
use crate::limits;

/// Why reading ended.
enum Ended {
    /// The client left, or the broker stops.
    Quietly,
    Frame(FrameError),
    Request(Close),
}

/// Reads and dispatches requests until there are no more.
pub(super) async fn run(broker: Rc<Broker>, connections: Rc<Connections>, connection: Rc<Connection>, read: ReadHalf) {
    let frame_bytes_max = broker.config.broker.socket_request_max_bytes;
    let mut frames = FrameReader::new(read, frame_bytes_max);
    let ended = or(read_all(&broker, &connections, &connection, &mut frames), async {
        connection.responses.reading_stopped().await;
        Ended::Quietly
    })
    .await;
    match ended {
        Ended::Quietly => {}
        Ended::Frame(error) => tracing::debug!("connection closed: {error}"),
        Ended::Request(close) => super::refused(&broker, &close),
    }
    // What was dispatched before is still answered; then the writer ends, and the connection with it.
    connection.responses.on_read_ended();
    if connection.client_left.get() {
        connection.end();
    }
}

async fn read_all(
    broker: &Rc<Broker>,
    connections: &Connections,
    connection: &Rc<Connection>,
    frames: &mut FrameReader,
) -> Ended {
    loop {
        match read_one(broker, connections, connection, frames).await {
            Ok(true) => {}
            Ok(false) => return Ended::Quietly,
            Err(ended) => return ended,
        }
    }
}

async fn read_one(
    broker: &Rc<Broker>,
    connections: &Connections,
    connection: &Rc<Connection>,
    frames: &mut FrameReader,
) -> Result<bool, Ended> {
    if !connection.responses.has_room().await {
        return Ok(false);
    }
    // As long as it would be answered no sooner: responses leave in order.
    if frames.would_wait_for(1) {
        or(connection.responses.all_written(), broker.shard.turn_ended()).await;
    }
    let Some(bytes) = frames.next_length().await.map_err(Ended::Frame)? else {
        connection.client_left.set(true);
        return Ok(false);
    };
    if bytes < 8 {
        return Err(Ended::Request(Close::NoHeader(bytes)));
    }
    let is_produce = frames.peek(2).await.map_err(Ended::Frame)?.get_i16() == ApiKey::Produce as i16;
    // Decoded, a request may take a hundred times its bytes; only batches stay as they are.
    if !is_produce && bytes > limits::CONTROL_BYTES_PER_SHARD_MAX {
        return Err(Ended::Frame(FrameError::TooLarge { bytes, max: limits::CONTROL_BYTES_PER_SHARD_MAX }));
    }
    let weight = if is_produce { 1 } else { limits::CONTROL_BYTES_WEIGHT };
    let of_connection = connection.request_bytes.acquire(bytes * weight).await;
    if is_produce && frames.would_wait_for(bytes) {
        broker.shard.turn_ended().await;
    }
    let frame = body(broker, connections, frames, bytes).await.map_err(Ended::Frame)?;
    // Each kind waits for its own only (lesson 85).
    let of_shard = match (is_produce, bytes <= limits::REQUEST_BYTES_READ_AHEAD_MAX) {
        (true, _) => connections.produce_bytes.acquire(bytes.max(limits::PRODUCE_BYTES_MIN)),
        (false, false) => connections.control_bytes.acquire(bytes),
        (false, true) => broker.small_bytes.acquire(bytes.max(limits::SMALL_BYTES_MIN)),
    };
    let of_shard = of_shard.await;
    connection.on_progress(broker);
    broker.metrics.bytes_in(bytes + 4);
    let pending = api::dispatch(broker, frame).map_err(Ended::Request)?;
    connection.responses.push(InFlight { pending, _held: (of_connection, of_shard) });
    Ok(true)
}

/// The body. A small one takes no budget before it has arrived; a large one takes room among those that arrive, and must
/// arrive in time, for others wait for that room.
async fn body(
    broker: &Broker,
    connections: &Connections,
    frames: &mut FrameReader,
    bytes: usize,
) -> Result<Bytes, FrameError> {
    if bytes <= limits::REQUEST_BYTES_READ_AHEAD_MAX {
        return frames.body(bytes).await;
    }
    let _room = connections.arriving_bytes.acquire(bytes).await;
    or(frames.body(bytes), async {
        broker.rt.sleep(Duration::from_millis(limits::REQUEST_BODY_MS_MAX)).await;
        Err(FrameError::Io(std::io::ErrorKind::TimedOut.into()))
    })
    .await
}
