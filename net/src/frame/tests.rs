//! Tests of frames, on real sockets.

use std::net::Ipv4Addr;

use futures_util::future::join;

use super::*;
use crate::stream::{Net, WriteHalf, run_on_ring};

const MAX: usize = 1 << 20;

async fn reader() -> (FrameReader, WriteHalf, ReadHalf) {
    let listener = Net::Ring.listen((Ipv4Addr::LOCALHOST, 0).into(), 1).expect("a free port");
    let (connected, accepted) = join(Net::Ring.connect(listener.local_address()), listener.accept()).await;
    let (read, _write) = accepted.expect("it connects").bind().expect("it is ours");
    let (peer_read, write) = connected.expect("it listens");
    (FrameReader::new(read, MAX), write, peer_read)
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = i32::try_from(body.len()).expect("a test's frame is small");
    [&length.to_be_bytes(), body].concat()
}

async fn next(frames: &mut FrameReader) -> Option<Bytes> {
    let length = frames.next_length().await.expect("a good length")?;
    Some(frames.body(length).await.expect("a whole body"))
}

#[test]
fn frames_come_out_whole_however_the_stream_is_cut() {
    let bodies: Vec<Vec<u8>> = [0, 1, 3, 300, 4096, 5, 70_000, 4091, 4092, 4093, 1 << 20, 2]
        .iter()
        .map(|&bytes| vec![bytes as u8; bytes])
        .collect();
    for piece in [1, 7, 4096, 65_537, usize::MAX] {
        // A byte at a time is slow: the small ones will do.
        let bodies: Vec<Vec<u8>> = bodies.iter().filter(|body| piece > 7 || body.len() <= 4096).cloned().collect();
        run_on_ring(async {
            let (mut frames, mut write, _peer_read) = reader().await;
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            let writing = async move {
                for piece in stream.chunks(piece.min(stream.len())) {
                    write.write_all_vectored(&[piece]).await.expect("it is open");
                }
                write.shutdown();
            };
            let reading = async {
                for body in &bodies {
                    assert_eq!(next(&mut frames).await.as_deref(), Some(&body[..]));
                }
                assert_eq!(next(&mut frames).await, None);
            };
            join(writing, reading).await;
        });
    }
}

/// Lesson 81: lengths are bounded before memory is taken.
#[test]
fn negative_and_oversized_lengths_are_errors_and_take_no_memory() {
    run_on_ring(async {
        let (mut frames, mut write, _peer_read) = reader().await;
        write.write_all_vectored(&[&(-1i32).to_be_bytes(), &i32::MAX.to_be_bytes()]).await.expect("it is open");
        assert!(matches!(frames.next_length().await, Err(FrameError::Negative(-1))));
        let error = frames.next_length().await.expect_err("too large");
        assert!(matches!(error, FrameError::TooLarge { bytes: 0x7fff_ffff, max: MAX }));
        assert!(frames.buffer.capacity() <= READ_BYTES_MAX);
    });
}

#[test]
fn no_memory_is_taken_for_a_body_before_it_is_asked_for() {
    run_on_ring(async {
        let (mut frames, mut write, _peer_read) = reader().await;
        let length = i32::try_from(MAX).expect("it fits");
        write.write_all_vectored(&[&length.to_be_bytes(), b"half a requ"]).await.expect("it is open");
        assert_eq!(frames.next_length().await.expect("a good length"), Some(MAX));
        assert!(frames.buffer.capacity() <= READ_BYTES_MIN);
        assert_eq!(frames.peek(4).await.expect("it is there"), b"half");
        assert!(frames.buffer.capacity() <= READ_BYTES_MIN);
    });
}

/// Lesson 84: an end is an end: a clean one between frames, an error within.
#[test]
fn a_stream_may_end_between_frames_only() {
    for (sent, is_clean) in [(0, true), (2, false), (4, false), (9, false), (14, true)] {
        run_on_ring(async {
            let (mut frames, mut write, _peer_read) = reader().await;
            write.write_all_vectored(&[&frame(b"ten  bytes")[..sent]]).await.expect("it is open");
            write.shutdown();
            let end = loop {
                match frames.next_length().await {
                    Ok(Some(length)) => {
                        if let Err(error) = frames.body(length).await {
                            break Err(error);
                        }
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            match end {
                Ok(()) => assert!(is_clean, "after {sent}"),
                Err(FrameError::Io(error)) => {
                    assert!(!is_clean && error.kind() == io::ErrorKind::UnexpectedEof, "after {sent}: {error}");
                }
                Err(error) => panic!("after {sent}: {error}"),
            }
        });
    }
}

#[test]
fn a_connection_of_small_frames_holds_little_memory() {
    run_on_ring(async {
        let (mut frames, mut write, _peer_read) = reader().await;
        for _ in 0..500 {
            write.write_all_vectored(&[&frame(&[7; 300])]).await.expect("it is open");
            assert!(frames.buffer.is_empty());
            assert_eq!(next(&mut frames).await.map(|body| body.len()), Some(300));
        }
        assert!(frames.buffer.capacity() <= 2 * READ_BYTES_MIN, "{}", frames.buffer.capacity());
    });
}

#[test]
fn a_reader_knows_without_asking_the_socket_whether_the_next_frame_has_come() {
    run_on_ring(async {
        let (mut frames, mut write, _peer_read) = reader().await;
        let two = [frame(&[1; 300]), frame(&[2; 300])].concat();
        write.write_all_vectored(&[&two]).await.expect("it is open");
        assert_eq!(next(&mut frames).await.map(|body| body[0]), Some(1));
        assert!(!frames.would_wait_for(304), "the second came with the first");
        assert!(frames.would_wait_for(305), "and there was nothing behind it");
        assert_eq!(next(&mut frames).await.map(|body| body[0]), Some(2));
        assert!(frames.would_wait_for(1));
    });
}
