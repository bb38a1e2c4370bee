//! Responses out, in request order; those that are ready behind the first go with it in one write.

use bytes::Bytes;
use futures_lite::future::poll_once;
use net::stream::WriteHalf;
use smallvec::SmallVec;

use crate::api::Close;
use crate::broker::Broker;
use crate::connection::Connection;
use crate::connection::responses::InFlight;
use crate::limits;
use crate::local::Permit;

/// Responses in one write.
const RESPONSES_PER_WRITE_MAX: usize = 32;

/// Writes until the reader has ended and everything is answered, or the connection fails.
pub(super) async fn run(broker: &Broker, connection: &Connection, write: &mut WriteHalf) {
    let mut waiting: Option<InFlight> = None;
    loop {
        let next = match waiting.take() {
            Some(in_flight) => in_flight,
            None => match connection.responses.next().await {
                Some(in_flight) => in_flight,
                None => return,
            },
        };
        match write_from(broker, connection, write, next).await {
            Ok(rest) => waiting = rest,
            Err(reason) => {
                tracing::debug!("connection closed: {reason}");
                return;
            }
        }
    }
}

/// Waits for the first response and writes it together with all that are ready behind it. Returns the one that was not.
async fn write_from(
    broker: &Broker,
    connection: &Connection,
    write: &mut WriteHalf,
    mut first: InFlight,
) -> Result<Option<InFlight>, String> {
    let text = |close: Close| close.to_string();
    let mut out: SmallVec<[Bytes; RESPONSES_PER_WRITE_MAX]> = SmallVec::new();
    let mut held: SmallVec<[(InFlight, Option<Permit>); RESPONSES_PER_WRITE_MAX]> = SmallVec::new();
    let answer = (&mut first.pending).await.map_err(text)?;
    out.extend(answer.frame);
    held.push((first, answer.held));
    let mut rest = None;
    while held.len() < RESPONSES_PER_WRITE_MAX && bytes_of(&out) < limits::RESPONSE_BYTES_PER_WRITE {
        let Some(mut next) = connection.responses.take() else { break };
        match poll_once(&mut next.pending).await {
            Some(answer) => {
                let answer = answer.map_err(text)?;
                out.extend(answer.frame);
                held.push((next, answer.held));
            }
            None => {
                rest = Some(next);
                break;
            }
        }
    }
    let slices: SmallVec<[&[u8]; RESPONSES_PER_WRITE_MAX]> = out.iter().map(|bytes| &bytes[..]).collect();
    if !slices.is_empty() {
        write.write_all_vectored(&slices).await.map_err(|error| error.to_string())?;
        broker.metrics.bytes_out(bytes_of(&out));
    }
    connection.on_progress(broker);
    Ok(rest)
}

fn bytes_of(responses: &[Bytes]) -> usize {
    responses.iter().map(Bytes::len).sum()
}
