//! Responses out, in request order; those that are ready behind the first go with it in one write.

use std::io;

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
            Ok(Next::Go(rest)) => waiting = rest,
            Ok(Next::Close(close)) => return super::refused(broker, &close),
            Err(error) => {
                tracing::debug!("connection closed: {error}");
                return;
            }
        }
    }
}

/// What follows a write.
enum Next {
    /// The rest, beginning with the one that was not ready.
    Go(Option<InFlight>),
    /// The end: the next request has no answer but this.
    Close(Close),
}

/// Waits for the first response and writes it together with all that are ready behind it.
async fn write_from(
    broker: &Broker,
    connection: &Connection,
    write: &mut WriteHalf,
    mut first: InFlight,
) -> io::Result<Next> {
    let mut out: SmallVec<[Bytes; RESPONSES_PER_WRITE_MAX]> = SmallVec::new();
    let mut held: SmallVec<[(InFlight, Option<Permit>); RESPONSES_PER_WRITE_MAX]> = SmallVec::new();
    let mut next = Next::Go(None);
    match (&mut first.pending).await {
        Ok(answer) => {
            out.extend(answer.frame);
            held.push((first, answer.held));
        }
        Err(close) => return Ok(Next::Close(close)),
    }
    while held.len() < RESPONSES_PER_WRITE_MAX && bytes_of(&out) < limits::RESPONSE_BYTES_PER_WRITE {
        let Some(mut behind) = connection.responses.take() else { break };
        match poll_once(&mut behind.pending).await {
            Some(Ok(answer)) => {
                out.extend(answer.frame);
                held.push((behind, answer.held));
            }
            // What was answered before it is written all the same.
            Some(Err(close)) => {
                next = Next::Close(close);
                break;
            }
            None => {
                next = Next::Go(Some(behind));
                break;
            }
        }
    }
    let slices: SmallVec<[&[u8]; RESPONSES_PER_WRITE_MAX]> = out.iter().map(|bytes| &bytes[..]).collect();
    if !slices.is_empty() {
        write.write_all_vectored(&slices).await?;
        broker.metrics.bytes_out(bytes_of(&out));
    }
    connection.responses.on_written(held.len());
    connection.on_progress(broker);
    Ok(next)
}

fn bytes_of(responses: &[Bytes]) -> usize {
    responses.iter().map(Bytes::len).sum()
}
