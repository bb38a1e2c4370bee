//! Frames between brokers: `u32 length | u32 CRC-32C of the body | body`, integers big-endian.
//!
//! *Which core*: the connection's.
//! *Invariants*: no memory is taken for a body before its length is known to be allowed; a body whose CRC does not fit is
//! never handed out. After an error the stream is good for nothing but to be closed.
//! *Not here*: what is in a frame.
//! *Why* a CRC over TCP's own: the latter misses one damaged segment in some ten thousand, and what peers send is kept.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use crate::stream::{ReadHalf, WriteHalf};

/// Bytes before a body.
pub const HEADER_BYTES: usize = 8;
/// Bytes asked of the socket at once, where no larger body is awaited.
const READ_BYTES: usize = 16 << 10;

/// Why a frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PeerFrameError {
    /// The socket failed, or the peer closed it within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The length is more than is allowed.
    #[error("a frame of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// What the peer wants to send.
        bytes: usize,
        /// What it may send.
        max: usize,
    },
    /// The body is not what was sent.
    #[error("a frame whose checksum does not fit its {0} bytes")]
    Corrupt(usize),
}

/// A header, read out.
#[derive(Clone, Copy)]
struct Header {
    bytes: usize,
    crc: u32,
}

impl Header {
    fn read(mut header: &[u8], bytes_max: usize) -> Result<Header, PeerFrameError> {
        let bytes = header.get_u32() as usize;
        if bytes > bytes_max {
            return Err(PeerFrameError::TooLarge { bytes, max: bytes_max });
        }
        Ok(Header { bytes, crc: header.get_u32() })
    }

    fn check(self, body: &[u8]) -> Result<(), PeerFrameError> {
        if crc32c::crc32c(body) == self.crc { Ok(()) } else { Err(PeerFrameError::Corrupt(self.bytes)) }
    }
}

/// The header of a body that is sent in parts.
pub fn header(body: &[&[u8]]) -> [u8; HEADER_BYTES] {
    let bytes: usize = body.iter().map(|part| part.len()).sum();
    let bytes = u32::try_from(bytes).expect("whoever makes frames bounds them far below 4 GiB");
    let crc = body.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
    let mut out = [0; HEADER_BYTES];
    out[..4].copy_from_slice(&bytes.to_be_bytes());
    out[4..].copy_from_slice(&crc.to_be_bytes());
    out
}

/// Writes one frame, its body in parts.
pub async fn write(stream: &mut WriteHalf, body: &[&[u8]]) -> io::Result<()> {
    let header = header(body);
    let mut slices: smallvec::SmallVec<[&[u8]; 8]> = smallvec::smallvec![&header[..]];
    slices.extend_from_slice(body);
    stream.write_all_vectored(&slices).await
}

/// Reads one frame and not a byte beyond it, so that the stream can be handed on; `None`: the peer closed it before.
pub async fn read_exactly(stream: &mut ReadHalf, bytes_max: usize) -> Result<Option<Bytes>, PeerFrameError> {
    let mut head = exactly(HEADER_BYTES);
    if !fill(stream, &mut head).await? {
        return Ok(None);
    }
    let header = Header::read(&head, bytes_max)?;
    let mut body = exactly(header.bytes);
    if !fill(stream, &mut body).await? && header.bytes > 0 {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    header.check(&body)?;
    Ok(Some(body.freeze()))
}

/// Room for so many bytes, and no more.
fn exactly(bytes: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(bytes);
    drop(buffer.split_off(bytes));
    buffer
}

/// Fills all the room there is; false: the stream ended before the first byte of it.
async fn fill(stream: &mut ReadHalf, buffer: &mut BytesMut) -> io::Result<bool> {
    while buffer.len() < buffer.capacity() {
        if stream.read_buf(buffer).await? == 0 {
            let ended = if buffer.is_empty() { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            return ended;
        }
    }
    Ok(true)
}

/// Cuts a stream into frames.
pub struct PeerFrameReader {
    stream: ReadHalf,
    buffer: BytesMut,
    bytes_max: usize,
}

impl PeerFrameReader {
    /// Reads frames whose bodies have at most `bytes_max` bytes.
    pub fn new(stream: ReadHalf, bytes_max: usize) -> PeerFrameReader {
        PeerFrameReader { stream, buffer: BytesMut::new(), bytes_max }
    }

    /// The next frame's body; `None`: the peer closed the stream between frames. A body that came in one read is not copied.
    /// Dropped midway it loses nothing: the next call goes on.
    pub async fn next(&mut self) -> Result<Option<Bytes>, PeerFrameError> {
        if self.buffer.is_empty() && self.read(READ_BYTES).await? == 0 {
            return Ok(None);
        }
        self.fill_to(HEADER_BYTES).await?;
        let header = Header::read(&self.buffer[..HEADER_BYTES], self.bytes_max)?;
        self.fill_to(HEADER_BYTES + header.bytes).await?;
        self.buffer.advance(HEADER_BYTES);
        let body = self.buffer.split_to(header.bytes).freeze();
        header.check(&body)?;
        Ok(Some(body))
    }

    async fn fill_to(&mut self, bytes: usize) -> io::Result<()> {
        while self.buffer.len() < bytes {
            if self.read(bytes - self.buffer.len()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Reads once, with room for `missing` bytes at least.
    async fn read(&mut self, missing: usize) -> io::Result<usize> {
        let spare = self.buffer.capacity() - self.buffer.len();
        if spare < missing.max(READ_BYTES / 4) {
            self.buffer.reserve(missing.max(READ_BYTES));
        }
        self.stream.read_buf(&mut self.buffer).await
    }
}

#[cfg(test)]
mod tests;
