//! A Kafka client's connection in the simulated network: requests out, responses in, by the codec of another project.
//!
//! *Invariants*: a response answers the oldest request; nobody waits for one longer than [`ANSWER_TIME`].

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use chronik::rt::Rt;
use futures_lite::future::or;
use kafka_protocol::messages::{ApiKey, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request};
use net::frame::FrameReader;
use net::stream::{Net, WriteHalf};

/// A client gives a connection up after this.
const ANSWER_TIME: Duration = Duration::from_millis(2_500);
const FRAME_BYTES_MAX: usize = 16 << 20;

/// One connection.
pub struct Wire {
    rt: Rt,
    frames: FrameReader,
    write: WriteHalf,
    next_correlation_id: i32,
    waiting: VecDeque<i32>,
}

impl Wire {
    /// Connects.
    pub async fn connect(rt: &Rt, net: &Net, address: SocketAddr) -> Result<Wire> {
        let (read, write) = in_time(rt, async { Ok(net.connect(address).await?) }).await?;
        let frames = FrameReader::new(read, FRAME_BYTES_MAX);
        Ok(Wire { rt: rt.clone(), frames, write, next_correlation_id: 0, waiting: VecDeque::new() })
    }

    /// Sends a request.
    pub async fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<()> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id += 1;
        let api = ApiKey::try_from(R::KEY).ok().context("a key of Kafka's")?;
        let mut bytes = BytesMut::zeroed(4);
        RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(correlation_id)
            .encode(&mut bytes, api.request_header_version(version))?;
        request.encode(&mut bytes, version)?;
        let length = i32::try_from(bytes.len() - 4)?;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.waiting.push_back(correlation_id);
        let write = &mut self.write;
        in_time(&self.rt, async { Ok(write.write_all_vectored(&[&bytes]).await?) }).await
    }

    /// The response to the oldest request, which was an `R`.
    pub async fn receive<R: Request>(&mut self, version: i16) -> Result<R::Response> {
        let frames = &mut self.frames;
        let mut body = in_time(&self.rt, async {
            let Some(length) = frames.next_length().await? else { bail!("closed") };
            Ok(frames.body(length).await?)
        })
        .await?;
        let header = ResponseHeader::decode(&mut body, R::Response::header_version(version))?;
        ensure!(Some(header.correlation_id) == self.waiting.pop_front(), "responses leave in request order");
        R::Response::decode(&mut body, version)
    }

    /// A request and its response.
    pub async fn ask<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        self.send(request, version).await?;
        self.receive::<R>(version).await
    }
}

async fn in_time<T>(rt: &Rt, work: impl Future<Output = Result<T>>) -> Result<T> {
    or(work, async {
        rt.sleep(ANSWER_TIME).await;
        bail!("no answer in time")
    })
    .await
}
