//! The codecs.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;

const CODECS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn text() -> Vec<u8> {
    (0..20_000u32).flat_map(|n| (n / 7 % 251).to_be_bytes()).collect()
}

#[test]
fn what_is_compressed_comes_back_up_to_the_limit_and_no_further() {
    for codec in CODECS {
        for original in [Vec::new(), b"x".to_vec(), text()] {
            let bytes = compress(codec, &original);
            assert_eq!(decompress(codec, &bytes, original.len()).unwrap(), original, "{codec:?}");
            if let Some(bytes_max) = original.len().checked_sub(1) {
                assert_eq!(
                    decompress(codec, &bytes, bytes_max),
                    Err(DecompressError::TooLarge { bytes_max }),
                    "{codec:?}"
                );
            }
        }
    }
}

#[test]
fn a_small_batch_that_claims_to_be_huge_is_refused_at_the_limit() {
    let zeros = vec![0; 64 << 20];
    for codec in &CODECS[1..] {
        let bomb = compress(*codec, &zeros);
        assert_eq!(
            decompress(*codec, &bomb, 1 << 20),
            Err(DecompressError::TooLarge { bytes_max: 1 << 20 }),
            "{codec:?}"
        );
    }
}

/// The form of Java's clients: a header, then blocks with their lengths.
#[test]
fn snappy_in_xerials_framing_is_read() {
    let text = text();
    let mut framed = XERIAL_MAGIC.to_vec();
    framed.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    for block in text.chunks(32 << 10) {
        let block = compress(Compression::Snappy, block);
        framed.extend((block.len() as u32).to_be_bytes());
        framed.extend(block);
    }
    assert_eq!(decompress(Compression::Snappy, &framed, text.len()).unwrap(), text);
    assert!(matches!(decompress(Compression::Snappy, &framed, text.len() - 1), Err(DecompressError::TooLarge { .. })));
    assert!(matches!(decompress(Compression::Snappy, &framed[..9], 99), Err(DecompressError::Corrupt { .. })));
    for cut in 17..framed.len().min(1_000) {
        assert!(matches!(
            decompress(Compression::Snappy, &framed[..cut], text.len()),
            Err(DecompressError::Corrupt { .. })
        ));
    }
}

/// librdkafka and Java stream their zstd: then the frame does not say how large its content is.
#[test]
fn zstd_that_was_streamed_is_read() {
    let zeros = vec![0; 3 << 20];
    let streamed = zstd::stream::encode_all(&zeros[..], 3).unwrap();
    assert_eq!(zstd_safe::get_frame_content_size(&streamed).ok().flatten(), None);
    assert_eq!(decompress(Compression::Zstd, &streamed, zeros.len()).unwrap().len(), zeros.len());
    let frames = [streamed.clone(), streamed].concat();
    assert_eq!(decompress(Compression::Zstd, &frames, 2 * zeros.len()).unwrap().len(), 2 * zeros.len());
}

#[test]
fn what_is_cut_is_refused() {
    let text = text();
    for codec in &CODECS[1..] {
        let bytes = compress(*codec, &text);
        for cut in (1..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
            let result = decompress(*codec, &bytes[..cut], text.len());
            // An LZ4 frame is not obliged to say that it is over.
            let is_whole = result.as_ref().is_ok_and(|bytes| **bytes == text);
            assert!(result.is_err() || (*codec == Compression::Lz4 && is_whole), "{codec:?} cut at {cut}");
        }
    }
}
