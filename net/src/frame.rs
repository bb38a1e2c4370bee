//! Frames: an `i32` length, then that many bytes, as Kafka's clients send them.
//!
//! *Which core*: the connection's.
//! *Invariants*: no memory is taken for a body before its length is known to be allowed and the caller has asked for the body.
//! *Not here*: what is in a frame.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use crate::stream::ReadHalf;

/// Bytes asked of the socket at once while frames are small.
const READ_BYTES: usize = 64 << 10;

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
}

impl FrameReader {
    /// Reads frames of at most `frame_bytes_max` bytes from `stream`.
    pub fn new(stream: ReadHalf, frame_bytes_max: usize) -> FrameReader {
        FrameReader { stream, buffer: BytesMut::new(), frame_bytes_max }
    }

    /// The next frame's length; `None`: the peer closed the stream between frames.
    pub async fn next_length(&mut self) -> Result<Option<usize>, FrameError> {
        if self.buffer.is_empty() && self.fill(READ_BYTES).await? == 0 {
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

    /// The body whose length was read.
    pub async fn body(&mut self, bytes: usize) -> Result<Bytes, FrameError> {
        self.fill_to(bytes).await?;
        Ok(self.buffer.split_to(bytes).freeze())
    }

    /// Is there nothing read ahead? Then the next frame has not begun to arrive.
    pub fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    async fn fill_to(&mut self, bytes: usize) -> Result<(), FrameError> {
        while self.buffer.len() < bytes {
            let missing = bytes - self.buffer.len();
            if self.fill(missing.max(READ_BYTES)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
        Ok(())
    }

    async fn fill(&mut self, at_most: usize) -> Result<usize, FrameError> {
        // A large body grows with what really arrives: half a request holds no more memory than was sent, twice over.
        self.buffer.reserve(at_most.min(self.buffer.len().max(READ_BYTES)));
        Ok(self.stream.read_buf(&mut self.buffer).await?)
    }
}
