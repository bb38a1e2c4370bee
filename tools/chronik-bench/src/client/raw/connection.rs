//! One plain socket: bytes out in order, frames in, and what it still owes an answer.
//!
//! Invariants: never blocks; answers come in the order of the requests, or the connection is given up.

use std::collections::VecDeque;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use anyhow::{Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};

use crate::sys;
use crate::wire;

const SLICES_MAX: usize = 64;

/// A request without an answer.
#[derive(Debug)]
pub struct InFlight {
    /// Its number on this connection.
    pub correlation_id: i32,
    /// What latency counts from.
    pub due_ns: u64,
    /// What it asked for.
    pub kind: Kind,
    /// The connection's byte count after it: all written, for requests that are never answered.
    pub end_position: u64,
}

/// What a request asked for.
#[derive(Debug)]
pub enum Kind {
    /// To append batches.
    Produce(Vec<Part>),
    /// Nothing: what an answer costs as such.
    Probe,
}

impl Kind {
    /// Records that it carries.
    pub fn records(&self) -> u64 {
        match self {
            Self::Produce(parts) => parts.iter().map(|part| part.records).sum(),
            Self::Probe => 0,
        }
    }

    /// What it adds to what is outstanding: its records; an empty request holds the place of one.
    pub fn outstanding(&self) -> u64 {
        self.records().max(1)
    }
}

/// One batch on its way.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where it goes.
    pub partition: u32,
    /// Sequence of its first record.
    pub base_sequence: u64,
    /// Records in it.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// A connection to one broker.
pub struct Connection {
    stream: TcpStream,
    /// The broker's id.
    pub broker: i32,
    /// The ordered stream of records that this connection is.
    pub lane: u32,
    /// The next sequence of each partition on this lane.
    pub sequences: Vec<u64>,
    /// Requests without an answer, oldest first.
    pub in_flight: VecDeque<InFlight>,
    output: VecDeque<Bytes>,
    /// Whether the socket took no more, and has not yet said that it does again.
    full: bool,
    input: BytesMut,
    queued_position: u64,
    written_position: u64,
    correlation_id: i32,
}

impl Connection {
    /// Connects, waiting at most a bounded time.
    pub fn connect(address: &str, broker: i32, lane: u32, partitions: u32) -> Result<Self> {
        let stream = wire::connect(address)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            broker,
            lane,
            sequences: vec![0; partitions as usize],
            in_flight: VecDeque::new(),
            output: VecDeque::new(),
            full: false,
            input: BytesMut::new(),
            queued_position: 0,
            written_position: 0,
            correlation_id: 0,
        })
    }

    /// A number for the next request.
    pub fn next_correlation_id(&mut self) -> i32 {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.correlation_id
    }

    /// Puts a request in line.
    pub fn queue(&mut self, pieces: Vec<Bytes>, correlation_id: i32, due_ns: u64, kind: Kind) {
        self.queued_position += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        self.output.extend(pieces);
        self.in_flight.push_back(InFlight { correlation_id, due_ns, kind, end_position: self.queued_position });
    }

    /// Writes what the socket takes.
    pub fn write(&mut self) -> Result<()> {
        while !self.output.is_empty() && !self.full {
            let slices: Vec<IoSlice<'_>> =
                self.output.iter().take(SLICES_MAX).map(|piece| IoSlice::new(piece)).collect();
            match self.stream.write_vectored(&slices) {
                Ok(0) => bail!("the broker takes no more"),
                Ok(written) => self.on_written(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.full = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// The socket takes more.
    pub fn on_writable(&mut self) {
        self.full = false;
    }

    fn on_written(&mut self, mut written: usize) {
        self.written_position += written as u64;
        while let Some(first) = self.output.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.output.pop_front();
        }
    }

    /// Takes what has arrived.
    pub fn read(&mut self, scratch: &mut [u8]) -> Result<()> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => bail!("the broker closed the connection"),
                Ok(read) => {
                    self.input.extend_from_slice(&scratch[..read]);
                    if read < scratch.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next answer that is here whole, with the request that it answers.
    pub fn next_answer(&mut self) -> Result<Option<(InFlight, Bytes)>> {
        let Some(prefix) = self.input.first_chunk::<4>() else { return Ok(None) };
        let length = wire::frame_length(*prefix)?;
        if self.input.len() < 4 + length {
            return Ok(None);
        }
        self.input.advance(4);
        let frame = self.input.split_to(length).freeze();
        let correlation_id = frame.clone().get_i32();
        let Some(request) = self.in_flight.pop_front() else { bail!("an answer that nobody asked for") };
        ensure!(
            request.correlation_id == correlation_id,
            "answer {correlation_id} to request {}",
            request.correlation_id
        );
        Ok(Some((request, frame)))
    }

    /// The next request that is written whole, for those that are never answered.
    pub fn next_written(&mut self) -> Option<InFlight> {
        let is_written = self.in_flight.front().is_some_and(|request| request.end_position <= self.written_position);
        if is_written { self.in_flight.pop_front() } else { None }
    }

    /// What to wait for.
    pub fn interest(&self) -> sys::Interest {
        sys::interest(self.stream.as_raw_fd(), !self.output.is_empty())
    }
}
