//! Tests of peer frames, on real sockets.

use std::net::Ipv4Addr;

use futures_util::future::join;

use super::*;
use crate::stream::{Net, run_on_ring};

const MAX: usize = 1 << 20;

async fn pair() -> (ReadHalf, WriteHalf, ReadHalf) {
    let listener = Net::Ring.listen((Ipv4Addr::LOCALHOST, 0).into(), 1).expect("a free port");
    let (connected, accepted) = join(Net::Ring.connect(listener.local_address()), listener.accept()).await;
    let (read, _write) = accepted.expect("it connects").bind().expect("it is ours");
    let (peer_read, write) = connected.expect("it listens");
    (read, write, peer_read)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&header(&[body])[..], body].concat()
}

#[test]
fn frames_come_out_whole_however_the_stream_is_cut() {
    let bodies: Vec<Vec<u8>> =
        [0, 1, 300, 16_376, 16_384, 5, 70_000, 1 << 20, 2].iter().map(|&bytes| vec![bytes as u8; bytes]).collect();
    for piece in [1, 7, 4096, usize::MAX] {
        let bodies: Vec<Vec<u8>> = bodies.iter().filter(|body| piece > 7 || body.len() <= 300).cloned().collect();
        run_on_ring(async {
            let (read, mut write, _peer_read) = pair().await;
            let mut frames = PeerFrameReader::new(read, MAX);
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let writing = async move {
                for piece in stream.chunks(piece.min(stream.len())) {
                    write.write_all_vectored(&[piece]).await.expect("it is open");
                }
                write.shutdown();
            };
            let reading = async {
                for body in &bodies {
                    assert_eq!(frames.next().await.expect("a good frame").as_deref(), Some(&body[..]));
                }
                assert_eq!(frames.next().await.expect("a clean end"), None);
            };
            join(writing, reading).await;
        });
    }
}

#[test]
fn a_frame_that_is_read_exactly_leaves_all_that_follows_it_in_the_stream() {
    run_on_ring(async {
        let (mut read, mut stream, _peer_read) = pair().await;
        write(&mut stream, &[b"hel", b"lo"]).await.expect("it is open");
        write(&mut stream, &[]).await.expect("it is open");
        stream.write_all_vectored(&[b"not a frame"]).await.expect("it is open");
        stream.shutdown();
        assert_eq!(read_exactly(&mut read, 5).await.expect("a frame").as_deref(), Some(&b"hello"[..]));
        assert_eq!(read_exactly(&mut read, 5).await.expect("a frame").as_deref(), Some(&b""[..]));
        let mut rest = BytesMut::with_capacity(64);
        while read.read_buf(&mut rest).await.expect("it is open") > 0 {}
        assert_eq!(rest, "not a frame"[..]);
    });
}

#[test]
fn what_is_too_long_or_damaged_or_cut_short_is_an_error_and_takes_no_memory() {
    let mut damaged = frame(b"a body");
    *damaged.last_mut().expect("it is not empty") ^= 1;
    for (bytes, expected) in [
        (u32::MAX.to_be_bytes().repeat(2), "at most 100 are allowed"),
        (damaged, "checksum"),
        (frame(b"a body")[..3].to_vec(), "unexpected end"),
        (frame(b"a body")[..8].to_vec(), "unexpected end"),
        (frame(b"a body")[..13].to_vec(), "unexpected end"),
    ] {
        run_on_ring(async {
            for exactly in [true, false] {
                let (mut read, mut write, _peer_read) = pair().await;
                write.write_all_vectored(&[&bytes]).await.expect("it is open");
                write.shutdown();
                let error = if exactly {
                    read_exactly(&mut read, 100).await.expect_err("no frame")
                } else {
                    PeerFrameReader::new(read, 100).next().await.expect_err("no frame")
                };
                assert!(error.to_string().contains(expected), "{error}");
            }
        });
    }
}
