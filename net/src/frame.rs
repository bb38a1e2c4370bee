//! Frames: an `i32` length, then that many bytes, as Kafka's clients send them.
//!
//! *Which core*: the connection's.
//! *Invariants*: no memory is taken for a body before its length is known to be allowed and the caller has asked for the body.
//! *Not here*: what is in a frame.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use crate::stream::ReadHalf;

/// Bytes asked of the socket at once, at first: what an idle connection holds.
const READ_BYTES_MIN: usize = 4 << 10;
/// Bytes asked of the socket at once, at most, but for a body that is known to be larger.
const READ_BYTES_MAX: usize = 64 << 10;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The socket failed, or the peer closed it within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The length is negative.
    #[error("a frame of {0} bytes")]
    Negative(i32),
    /// The length is more than is allowed.
    #[error("a frame of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// What the peer wants to send.
        bytes: usize,
        /// What it may send.
        max: usize,
    },
}

/// Cuts a stream into frames.
pub struct FrameReader {
    stream: ReadHalf,
    buffer: BytesMut,
    frame_bytes_max: usize,
    /// Bytes asked of the socket at once: doubles whenever that many came.
    read_bytes: usize,
}

impl FrameReader {
    /// Reads frames of at most `frame_bytes_max` bytes from `stream`.
    pub fn new(stream: ReadHalf, frame_bytes_max: usize) -> FrameReader {
        FrameReader { stream, buffer: BytesMut::new(), frame_bytes_max, read_bytes: READ_BYTES_MIN }
    }

    /// The next frame's length; `None`: the peer closed the stream between frames.
    pub async fn next_length(&mut self) -> Result<Option<usize>, FrameError> {
        if self.buffer.is_empty() && self.fill(0).await? == 0 {
            return Ok(None);
        }
        self.fill_to(4).await?;
        let length = self.buffer.get_i32();
        let bytes = usize::try_from(length).map_err(|_| FrameError::Negative(length))?;
        if bytes > self.frame_bytes_max {
            return Err(FrameError::TooLarge { bytes, max: self.frame_bytes_max });
        }
        Ok(Some(bytes))
    }

    /// The first `bytes` of the body whose length was read, without taking them; the body has at least as many.
    pub async fn peek(&mut self, bytes: usize) -> Result<&[u8], FrameError> {
        self.fill_to(bytes).await?;
        Ok(&self.buffer[..bytes])
    }

    /// The body whose length was read. Takes memory for all of it, so have its bytes granted before; the caller bounds how
    /// long a peer may take to send it. A body that came in one read is not copied.
    pub async fn body(&mut self, bytes: usize) -> Result<Bytes, FrameError> {
        self.fill_to(bytes).await?;
        Ok(self.buffer.split_to(bytes).freeze())
    }

    /// Would reading the next `bytes` bytes wait for the peer, as far as is known without asking the socket?
    pub fn would_wait_for(&self, bytes: usize) -> bool {
        self.buffer.len() < bytes && self.stream.is_drained()
    }

    async fn fill_to(&mut self, bytes: usize) -> Result<(), FrameError> {
        while self.buffer.len() < bytes {
            if self.fill(bytes - self.buffer.len()).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }

    /// Reads once, with room for `missing` bytes at least.
    async fn fill(&mut self, missing: usize) -> Result<usize, FrameError> {
        let spare = self.buffer.capacity() - self.buffer.len();
        // Less room than usual is still worth a read; none is not, nor is a body in many pieces.
        if spare < missing.max(self.read_bytes / 4) {
            self.buffer.reserve(missing.max(self.read_bytes));
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let bytes = self.stream.read_buf(&mut self.buffer).await?;
        if bytes == room && room >= self.read_bytes {
            self.read_bytes = (2 * self.read_bytes).min(READ_BYTES_MAX);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests;
