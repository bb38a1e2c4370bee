//! Kafka's four codecs, over the records of one batch.
//!
//! *Which core*: any; 1 MiB takes some milliseconds, so not where a shard's others wait.
//! *Invariants*: never more than the caller's limit comes out, and little more than that is ever allocated, whatever the bytes
//! claim; no input panics.
//! *Not here*: what the records say (`records`).
//! *Why* both snappy forms: librdkafka writes raw snappy, Java the stream format of xerial's library, under one codec number.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use zstd::zstd_safe;

use crate::batch::Compression;

/// What a decompressor may have beside its output: windows, tables, a block.
const FIRST_GUESS_BYTES: usize = 64 << 10;
/// How xerial's snappy stream begins.
const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// The magic, a version and a lowest compatible version.
const XERIAL_HEADER_BYTES: usize = 16;

/// Why bytes do not decompress.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// They are not what the codec makes.
    #[error("{codec:?} cannot read the records: {reason}")]
    Corrupt {
        /// The codec.
        codec: Compression,
        /// What it says.
        reason: String,
    },
    /// They give more than the caller takes.
    #[error("the records are larger than {bytes_max} bytes when decompressed")]
    TooLarge {
        /// The caller's limit.
        bytes_max: usize,
    },
}

/// `bytes`, compressed; snappy in its raw form.
pub fn compress(codec: Compression, bytes: &[u8]) -> Vec<u8> {
    let written: io::Result<Vec<u8>> = match codec {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).and_then(|()| encoder.finish())
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(bytes).map_err(io::Error::other),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(bytes).and_then(|()| encoder.finish().map_err(io::Error::other))
        }
        Compression::Zstd => zstd::bulk::compress(bytes, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    written.expect("memory takes all that is written to it, and a batch is smaller than any codec's limit")
}

/// What was compressed to `bytes`: at most `bytes_max`.
pub fn decompress(codec: Compression, bytes: &[u8], bytes_max: usize) -> Result<Cow<'_, [u8]>, DecompressError> {
    let decompressed = match codec {
        Compression::None if bytes.len() > bytes_max => Err(DecompressError::TooLarge { bytes_max }),
        Compression::None => return Ok(Cow::Borrowed(bytes)),
        Compression::Gzip => read_all(codec, flate2::bufread::MultiGzDecoder::new(bytes), bytes_max),
        Compression::Snappy => snappy(bytes, bytes_max),
        Compression::Lz4 => read_all(codec, lz4_flex::frame::FrameDecoder::new(bytes), bytes_max),
        Compression::Zstd => zstd(bytes, bytes_max),
    };
    decompressed.map(Cow::Owned)
}

fn corrupt(codec: Compression, reason: impl ToString) -> DecompressError {
    DecompressError::Corrupt { codec, reason: reason.to_string() }
}

fn read_all(codec: Compression, reader: impl Read, bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let limited = (bytes_max as u64).saturating_add(1);
    reader.take(limited).read_to_end(&mut out).map_err(|error| corrupt(codec, error))?;
    if out.len() > bytes_max { Err(DecompressError::TooLarge { bytes_max }) } else { Ok(out) }
}

/// Whole frames at a time: the streaming form would allocate a window as large as the frame claims, up to 128 MiB.
fn zstd(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut context = zstd_safe::DCtx::create();
    let claimed = zstd_safe::get_frame_content_size(bytes).ok().flatten();
    let guess = claimed.map_or(bytes.len().saturating_mul(4), |claimed| usize::try_from(claimed).unwrap_or(usize::MAX));
    let mut capacity = guess.max(FIRST_GUESS_BYTES).min(bytes_max);
    loop {
        let mut out = Vec::with_capacity(capacity);
        let error = match context.decompress(&mut out, bytes) {
            Ok(_) => return Ok(out),
            Err(code) => zstd_safe::get_error_name(code),
        };
        // Its documented name for an output buffer that is too small.
        if error != "Destination buffer is too small" {
            return Err(corrupt(Compression::Zstd, error));
        }
        if capacity >= bytes_max {
            return Err(DecompressError::TooLarge { bytes_max });
        }
        capacity = capacity.saturating_mul(4).min(bytes_max);
    }
}

fn snappy(bytes: &[u8], bytes_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        unsnap(bytes, &mut out, bytes_max)?;
        return Ok(out);
    }
    let mut rest = bytes.get(XERIAL_HEADER_BYTES..).ok_or_else(|| corrupt(Compression::Snappy, "its header is cut"))?;
    while !rest.is_empty() {
        let cut = || corrupt(Compression::Snappy, "a block is cut");
        let (length, blocks) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let (block, after) = blocks.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(cut)?;
        unsnap(block, &mut out, bytes_max)?;
        rest = after;
    }
    Ok(out)
}

/// Appends one raw snappy block.
fn unsnap(block: &[u8], out: &mut Vec<u8>, bytes_max: usize) -> Result<(), DecompressError> {
    let claimed = snap::raw::decompress_len(block).map_err(|error| corrupt(Compression::Snappy, error))?;
    let (start, end) = (out.len(), out.len().saturating_add(claimed));
    if end > bytes_max {
        return Err(DecompressError::TooLarge { bytes_max });
    }
    out.resize(end, 0);
    snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| corrupt(Compression::Snappy, error))?;
    Ok(())
}

#[cfg(test)]
mod tests;
