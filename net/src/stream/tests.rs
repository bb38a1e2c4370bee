//! Tests on real sockets.

use std::cell::Cell;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::future::join;

use super::*;

fn local() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

fn listener() -> Listener {
    Net::Ring.listen(local(), 16).expect("a free port")
}

/// Both ends of a connection: the one that connected first.
async fn pair() -> ((ReadHalf, WriteHalf), (ReadHalf, WriteHalf)) {
    let listener = listener();
    let (connected, accepted) = join(Net::Ring.connect(listener.local_address()), listener.accept()).await;
    (connected.expect("it listens"), accepted.expect("it connects").bind().expect("it is ours"))
}

async fn read_exactly(half: &mut ReadHalf, bytes: usize) -> BytesMut {
    let mut buffer = BytesMut::with_capacity(bytes);
    while buffer.len() < bytes {
        assert!(half.read_buf(&mut buffer).await.expect("it is open") > 0, "ended after {}", buffer.len());
    }
    buffer
}

#[test]
fn all_slices_arrive_in_order_while_the_reader_is_slower_than_the_writer() {
    run_on_ring(async {
        let ((_, mut write), (mut read, _)) = pair().await;
        let whole: Vec<u8> = (0..8_000_000u32).map(|number| (number % 251) as u8).collect();
        let expected = whole.clone();
        let writing = async move {
            // More slices than one call takes, some of them empty.
            let slices: Vec<&[u8]> = whole.chunks(3001).flat_map(|chunk| [chunk, &[]]).collect();
            assert!(slices.len() > libc::UIO_MAXIOV as usize);
            write.write_all_vectored(&slices).await.expect("it is open");
            write
        };
        let (_write, got) = join(writing, read_exactly(&mut read, expected.len())).await;
        assert!(got == expected);
    });
}

#[test]
fn one_task_reads_while_another_writes_the_same_connection() {
    run_on_ring(async {
        let ((mut read, mut write), (mut peer_read, mut peer_write)) = pair().await;
        let done = Rc::new(Cell::new(false));
        let seen = done.clone();
        let _task = spawn_on_ring(async move {
            let buffer = read_exactly(&mut read, 5).await;
            assert_eq!(&buffer[..], b"reply");
            seen.set(true);
        });
        write.write_all_vectored(&[b"ask"]).await.expect("it is open");
        assert_eq!(&read_exactly(&mut peer_read, 3).await[..], b"ask");
        peer_write.write_all_vectored(&[b"re", b"ply"]).await.expect("it is open");
        let mut rest = BytesMut::with_capacity(1);
        drop(write);
        assert_eq!(peer_read.read_buf(&mut rest).await.expect("a clean end"), 0);
        assert!(done.get());
    });
}

#[test]
fn shutdown_ends_the_other_halfs_pending_read_at_once() {
    run_on_ring(async {
        let ((mut read, write), (mut peer_read, _peer_write)) = pair().await;
        let ended = Rc::new(Cell::new(None));
        let seen = ended.clone();
        let _task = spawn_on_ring(async move {
            let mut buffer = BytesMut::with_capacity(16);
            seen.set(Some(read.read_buf(&mut buffer).await.expect("a clean end")));
        });
        ring::timer::sleep(Duration::from_millis(20)).await;
        assert_eq!(ended.get(), None);
        write.shutdown();
        let mut buffer = BytesMut::with_capacity(16);
        assert_eq!(peer_read.read_buf(&mut buffer).await.expect("a clean end"), 0);
        while ended.get().is_none() {
            ring::timer::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(ended.get(), Some(0));
    });
}

/// Lesson 84: the end of a stream is an end, every time it is asked.
#[test]
fn a_closed_stream_reads_as_ended_for_ever() {
    run_on_ring(async {
        let ((read, write), (mut peer_read, _peer_write)) = pair().await;
        drop((read, write));
        let mut buffer = BytesMut::with_capacity(16);
        for _ in 0..3 {
            assert_eq!(peer_read.read_buf(&mut buffer).await.expect("a clean end"), 0);
        }
    });
}

#[test]
fn writing_to_a_peer_that_left_is_an_error_and_no_signal() {
    run_on_ring(async {
        let ((read, write), (_peer_read, mut peer_write)) = pair().await;
        drop((read, write));
        let begun = Instant::now();
        while peer_write.write_all_vectored(&[&[0; 4096]]).await.is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10));
            ring::timer::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Lesson 42: a port is free again at once, and a second broker on it fails loudly.
#[test]
fn an_address_is_taken_once_and_free_again_after() {
    run_on_ring(async {
        let first = listener();
        let address = first.local_address();
        let second = Net::Ring.listen(address, 16).err().expect("it is taken");
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        let (connected, accepted) = join(Net::Ring.connect(address), first.accept()).await;
        // The accepting side closes first: its end goes to TIME_WAIT.
        drop(accepted);
        let (mut read, _write) = connected.expect("it listens");
        let mut buffer = BytesMut::with_capacity(1);
        assert_eq!(read.read_buf(&mut buffer).await.expect("a clean end"), 0);
        drop(first);
        Net::Ring.listen(address, 16).expect("free again");
    });
}

#[test]
fn connecting_where_nobody_listens_is_refused() {
    run_on_ring(async {
        let address = listener().local_address();
        let error = Net::Ring.connect(address).await.err().expect("nobody listens");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn an_accepted_connection_moves_to_another_executor_or_closes() {
    fn assert_send<T: Send>(_: &T) {}
    let address = run_on_ring(async {
        let listener = listener();
        let address = listener.local_address();
        let client = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut kept = TcpStream::connect(address).expect("it listens");
            let mut lost = TcpStream::connect(address).expect("it listens");
            kept.write_all(b"ping").expect("it is open");
            let mut text = String::new();
            assert_eq!(lost.read_to_string(&mut text).expect("a clean end"), 0);
            kept.read_to_string(&mut text).expect("a clean end");
            text
        });
        let kept = listener.accept().await.expect("it connects");
        assert_send(&kept);
        assert_eq!(kept.peer_ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        drop(listener.accept().await.expect("it connects"));
        let other = std::thread::spawn(move || {
            run_on_ring(async move {
                let (mut read, mut write) = kept.bind().expect("it is ours");
                let ping = read_exactly(&mut read, 4).await;
                write.write_all_vectored(&[&ping, b"-pong"]).await.expect("it is open");
            });
        });
        other.join().expect("no panic");
        assert_eq!(client.join().expect("no panic"), "ping-pong");
        address
    });
    assert_ne!(address.port(), 0);
}

#[test]
fn a_wildcard_ipv6_listener_takes_ipv4_and_names_it_so() {
    run_on_ring(async {
        let Ok(listener) = Net::Ring.listen((Ipv6Addr::UNSPECIFIED, 0).into(), 16) else {
            // A machine without IPv6.
            return;
        };
        let address = (Ipv4Addr::LOCALHOST, listener.local_address().port()).into();
        let (connected, accepted) = join(Net::Ring.connect(address), listener.accept()).await;
        connected.expect("it listens");
        assert_eq!(accepted.expect("it connects").peer_ip(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    });
}

#[test]
fn a_half_closed_peer_still_gets_its_answer() {
    run_on_ring(async {
        let listener = listener();
        let address = listener.local_address();
        let client = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let mut stream = TcpStream::connect(address).expect("it listens");
            stream.write_all(b"ask").expect("it is open");
            stream.shutdown(Shutdown::Write).expect("it is open");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("a clean end");
            text
        });
        let (mut read, mut write) = listener.accept().await.expect("it connects").bind().expect("it is ours");
        let mut buffer = BytesMut::with_capacity(16);
        while read.read_buf(&mut buffer).await.expect("a clean end") > 0 {}
        assert_eq!(&buffer[..], b"ask");
        write.write_all_vectored(&[b"answer"]).await.expect("it is half open");
        drop((read, write));
        assert_eq!(client.join().expect("no panic"), "answer");
    });
}

#[test]
fn a_dropped_accept_or_connect_leaves_the_executor_sound() {
    run_on_ring(async {
        let listener = listener();
        for _ in 0..3 {
            let nap = ring::timer::sleep(Duration::from_millis(2));
            futures_util::future::select(std::pin::pin!(listener.accept()), std::pin::pin!(nap)).await;
        }
        let (connected, accepted) = join(Net::Ring.connect(listener.local_address()), listener.accept()).await;
        assert!(connected.is_ok() && accepted.is_ok());
    });
}

#[test]
fn a_connection_that_is_handed_on_lives_on_under_its_new_owner() {
    run_on_ring(async {
        let ((mut peer_read, mut peer_write), (mut read, mut write)) = pair().await;
        peer_write.write_all_vectored(&[b"first"]).await.expect("it is open");
        assert_eq!(read_exactly(&mut read, 5).await, "first"[..]);
        write.write_all_vectored(&[b"mine"]).await.expect("it is open");
        let accepted = Accepted::unbind(read, write).expect("nobody waits on it");
        let peer = accepted.peer_address();
        peer_write.write_all_vectored(&[b"second"]).await.expect("it is open");
        let (mut read, mut write) = accepted.bind().expect("it is ours again");
        assert_eq!(read_exactly(&mut read, 6).await, "second"[..]);
        write.write_all_vectored(&[b" and mine"]).await.expect("it is open");
        assert_eq!(read_exactly(&mut peer_read, 13).await, "mine and mine"[..]);
        assert!(peer.ip().is_loopback());
    });
}
