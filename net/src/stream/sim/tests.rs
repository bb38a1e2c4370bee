//! Tests of the simulated network, on a loop of a few lines that polls every future whenever one was woken.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use bytes::BytesMut;

use super::super::{Listener, ReadHalf, WriteHalf};
use super::*;

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const SECOND: u64 = 1_000_000_000;

fn port() -> SocketAddr {
    (SERVER, 9092).into()
}

struct Woken(AtomicBool);
impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Runs tasks until none is left, nothing more happens, or `until_ns`.
fn drive(net: &SimNet, tasks: &mut Vec<Task>, until_ns: u64) {
    let woken = Arc::new(Woken(AtomicBool::new(true)));
    let waker = Waker::from(woken.clone());
    loop {
        while woken.0.swap(false, Ordering::Relaxed) {
            tasks.retain_mut(|task| task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        match net.next_due().filter(|due_ns| *due_ns <= until_ns) {
            Some(due_ns) => net.run_due(due_ns),
            None => break,
        }
    }
}

/// Runs one future to its end.
fn run<T: 'static>(net: &SimNet, future: impl Future<Output = T> + 'static) -> T {
    let result = Rc::new(RefCell::new(None));
    let slot = result.clone();
    let mut tasks: Vec<Task> = vec![Box::pin(async move {
        let value = future.await;
        slot.replace(Some(value));
    })];
    drive(net, &mut tasks, u64::MAX);
    assert!(tasks.is_empty(), "it waits for ever");
    result.take().expect("it has ended")
}

fn quiet() -> SimNetOptions {
    SimNetOptions { slow_one_in: 0, refused_one_in: 0, ..SimNetOptions::default() }
}

type Halves = (ReadHalf, WriteHalf);

/// A network, and both ends of a connection: the client's first.
fn connected(seed: u64, options: SimNetOptions) -> (SimNet, Halves, Halves) {
    let net = SimNet::new(seed, options);
    let listener = net.host(SERVER).listen(port(), 4).expect("it is free");
    let client = net.host(CLIENT);
    let (client, server) = run(&net, async move {
        let (connected, accepted) = futures_util::future::join(client.connect(port()), listener.accept()).await;
        (connected.expect("it listens"), accepted.expect("it connects").bind().expect("it is ours"))
    });
    (net, client, server)
}

async fn read_all(mut read: ReadHalf) -> (BytesMut, io::Result<()>) {
    let mut all = BytesMut::new();
    loop {
        all.reserve(1000);
        match read.read_buf(&mut all).await {
            Ok(0) => return (all, Ok(())),
            Ok(_) => {}
            Err(error) => return (all, Err(error)),
        }
    }
}

#[test]
fn bytes_arrive_in_order_whole_and_late_whatever_the_pieces() {
    for seed in 0..100 {
        let options = SimNetOptions { window_bytes: 5000, ..quiet() };
        let (net, (_read, mut write), (read, _write)) = connected(seed, options);
        let sent: Vec<u8> = (0..50_000u32).map(|number| (number % 251) as u8).collect();
        let expected = sent.clone();
        let before_ns = lock(&net.0).now_ns;
        let got = run(&net, async move {
            let writing = async move {
                write.write_all_vectored(&[&sent[..20_000], &[], &sent[20_000..]]).await.expect("it is open");
                write.shutdown();
            };
            futures_util::future::join(writing, read_all(read)).await.1
        });
        assert!(got.1.is_ok() && got.0 == expected);
        assert!(lock(&net.0).now_ns > before_ns);
    }
}

#[test]
fn a_writer_waits_while_the_window_is_full() {
    let options = SimNetOptions { window_bytes: 1000, ..quiet() };
    let (net, (_read, mut write), (mut read, _write)) = connected(1, options);
    let written = Rc::new(Cell::new(false));
    let seen = written.clone();
    let mut tasks: Vec<Task> = vec![Box::pin(async move {
        write.write_all_vectored(&[&[7; 1500]]).await.expect("it is open");
        seen.set(true);
        std::future::pending::<()>().await;
    })];
    drive(&net, &mut tasks, u64::MAX);
    assert!(!written.get());
    tasks.push(Box::pin(async move {
        let mut buffer = BytesMut::with_capacity(1500);
        while buffer.len() < 1500 {
            assert!(read.read_buf(&mut buffer).await.expect("it is open") > 0);
        }
    }));
    drive(&net, &mut tasks, u64::MAX);
    assert!(written.get());
}

#[test]
fn the_same_seed_gives_the_same_times_and_pieces() {
    let trace = |seed| {
        let (net, (_read, mut write), (mut read, _write)) = connected(seed, quiet());
        let pieces = Rc::new(RefCell::new(Vec::new()));
        let (log, clock) = (pieces.clone(), net.clone());
        let mut tasks: Vec<Task> = vec![
            Box::pin(async move {
                for _ in 0..50 {
                    write.write_all_vectored(&[&[1; 900]]).await.expect("it is open");
                }
                write.shutdown();
            }),
            Box::pin(async move {
                let mut buffer = BytesMut::with_capacity(100_000);
                while let Ok(bytes @ 1..) = read.read_buf(&mut buffer).await {
                    let now_ns = lock(&clock.0).now_ns;
                    log.borrow_mut().push((now_ns, bytes));
                }
            }),
        ];
        drive(&net, &mut tasks, u64::MAX);
        pieces.take()
    };
    assert_eq!(trace(3), trace(3));
    assert_ne!(trace(3), trace(4));
}

#[test]
fn shutdown_ends_the_own_read_at_once_and_the_peers_later() {
    let (net, (read, write), (peer_read, mut peer_write)) = connected(1, quiet());
    let mut tasks: Vec<Task> = vec![Box::pin(async move { assert!(read_all(read).await.1.is_ok()) })];
    drive(&net, &mut tasks, u64::MAX);
    assert_eq!(tasks.len(), 1);
    write.shutdown();
    let now_ns = lock(&net.0).now_ns;
    drive(&net, &mut tasks, now_ns);
    assert!(tasks.is_empty());
    let (bytes, end) = run(&net, read_all(peer_read));
    assert!(bytes.is_empty() && end.is_ok());
    // Somebody who does not listen any more resets what still comes.
    run(&net, async move {
        peer_write.write_all_vectored(&[b"late"]).await.expect("the reset is still to come");
    });
    assert_eq!(net.connection_count(), 0);
}

#[test]
fn nobody_listening_refuses_and_a_full_backlog_makes_wait() {
    let net = SimNet::new(1, quiet());
    let (server, client) = (net.host(SERVER), net.host(CLIENT));
    let refused = client.clone();
    let error = run(&net, async move { refused.connect(port()).await.err().expect("nobody listens") });
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);

    let listener = server.listen(port(), 1).expect("it is free");
    assert_eq!(server.listen(port(), 1).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
    let done = Rc::new(Cell::new(0));
    let mut tasks: Vec<Task> = Vec::new();
    for _ in 0..2 {
        let (client, done) = (client.clone(), done.clone());
        tasks.push(Box::pin(async move {
            let _halves = client.connect(port()).await.expect("it listens");
            done.set(done.get() + 1);
            std::future::pending::<()>().await;
        }));
    }
    drive(&net, &mut tasks, 5 * SECOND);
    assert_eq!(done.get(), 1);
    tasks.push(Box::pin(async move {
        let _first = listener.accept().await.expect("it connects");
        let _second = listener.accept().await.expect("it connects");
        std::future::pending::<()>().await;
    }));
    drive(&net, &mut tasks, 10 * SECOND);
    assert_eq!(done.get(), 2);
}

#[test]
fn a_connect_that_is_given_up_leaves_no_connection() {
    let net = SimNet::new(1, quiet());
    let listener = net.host(SERVER).listen(port(), 4).expect("it is free");
    let client = net.host(CLIENT);
    let mut tasks: Vec<Task> = vec![Box::pin(async move {
        let _ = client.connect(port()).await;
    })];
    drive(&net, &mut tasks, 0);
    let knocks_at = net.next_due().expect("it is on its way");
    drive(&net, &mut tasks, knocks_at);
    // The other host has accepted by now; its answer finds nobody.
    tasks.clear();
    drive(&net, &mut tasks, u64::MAX);
    let accepted = run(&net, async move {
        let (read, _write) = listener.accept().await.expect("it knocked").bind().expect("it is ours");
        read_all(read).await
    });
    assert!(accepted.1.is_ok());
    let network = lock(&net.0);
    assert!(network.connections.is_empty() && network.attempts.is_empty());
}

#[test]
fn a_crashed_process_ends_its_peers_connections_and_its_port_is_free() {
    let mut resets = 0;
    for seed in 0..40 {
        let (net, (read, mut write), server) = connected(seed, quiet());
        run(&net, async move {
            write.write_all_vectored(&[b"unanswered"]).await.expect("it is open");
            write
        });
        let old = net.host(SERVER);
        net.crash_host(SERVER);
        drop(server);
        assert!(old.listen(port(), 4).is_err(), "a dead process listens no more");
        let (_, end) = run(&net, read_all(read));
        resets += u32::from(end.is_err());
        net.host(SERVER).listen(port(), 4).expect("the next process takes the port");
        assert_eq!(lock(&net.0).connections.len(), 0);
    }
    assert!((5..35).contains(&resets), "both ways of ending happen: {resets}");
}

#[test]
fn a_dead_process_dropping_its_listener_does_not_close_its_successors() {
    let net = SimNet::new(1, quiet());
    let old = net.host(SERVER).listen(port(), 4).expect("it is free");
    net.crash_host(SERVER);
    let new = net.host(SERVER).listen(port(), 4).expect("it is free again");
    drop(old);
    let client = net.host(CLIENT);
    run(&net, async move {
        let (connected, accepted) = futures_util::future::join(client.connect(port()), new.accept()).await;
        assert!(connected.is_ok() && accepted.is_ok());
    });
}

#[test]
fn a_host_without_power_says_nothing_until_it_is_back() {
    let (net, (read, write), server) = connected(1, quiet());
    net.power_off_host(SERVER);
    drop(server);
    let end = Rc::new(RefCell::new(None));
    let seen = end.clone();
    let mut tasks: Vec<Task> = vec![Box::pin(async move {
        let _write = write;
        seen.replace(Some(read_all(read).await.1.map_err(|error| error.kind())));
    })];
    drive(&net, &mut tasks, 60 * SECOND);
    assert!(end.borrow().is_none());
    let _back = net.host(SERVER);
    drive(&net, &mut tasks, 120 * SECOND);
    assert_eq!(end.take(), Some(Err(io::ErrorKind::ConnectionReset)));
}

#[test]
fn a_cut_direction_holds_bytes_back_until_it_heals_while_the_other_goes_on() {
    let (net, (mut read, mut write), (mut peer_read, mut peer_write)) = connected(1, quiet());
    net.cut(CLIENT, SERVER);
    let (arrived, answered) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let (arrived2, answered2) = (arrived.clone(), answered.clone());
    let mut tasks: Vec<Task> = vec![
        Box::pin(async move {
            write.write_all_vectored(&[b"held back"]).await.expect("it is open");
            let mut buffer = BytesMut::with_capacity(64);
            assert!(read.read_buf(&mut buffer).await.expect("it is open") > 0);
            answered2.set(true);
            std::future::pending::<()>().await;
        }),
        Box::pin(async move {
            peer_write.write_all_vectored(&[b"gets through"]).await.expect("it is open");
            let mut buffer = BytesMut::with_capacity(64);
            assert!(peer_read.read_buf(&mut buffer).await.expect("it is open") > 0);
            arrived2.set(true);
            std::future::pending::<()>().await;
        }),
    ];
    drive(&net, &mut tasks, 60 * SECOND);
    assert_eq!((arrived.get(), answered.get()), (false, true));
    net.heal(CLIENT, SERVER);
    drive(&net, &mut tasks, 120 * SECOND);
    assert!(arrived.get());
}

#[test]
fn acknowledgements_do_not_cross_a_cut_either() {
    let options = SimNetOptions { window_bytes: 1000, ..quiet() };
    let (net, (_read, mut write), (read, _write)) = connected(1, options);
    net.cut(SERVER, CLIENT);
    let written = Rc::new(Cell::new(false));
    let seen = written.clone();
    let mut tasks: Vec<Task> = vec![
        Box::pin(async move {
            write.write_all_vectored(&[&[7; 1500]]).await.expect("it is open");
            seen.set(true);
            std::future::pending::<()>().await;
        }),
        Box::pin(async move { drop(read_all(read).await) }),
    ];
    drive(&net, &mut tasks, 60 * SECOND);
    assert!(!written.get());
    net.heal_all();
    drive(&net, &mut tasks, 120 * SECOND);
    assert!(written.get());
}

#[test]
fn connections_between_two_hosts_can_be_reset() {
    let (net, (read, _write), (_peer_read, mut peer_write)) = connected(1, quiet());
    assert_eq!(net.reset_between(CLIENT, SERVER), 1);
    assert!(run(&net, read_all(read)).1.is_err());
    run(&net, async move { assert!(peer_write.write_all_vectored(&[b"gone"]).await.is_err()) });
}

#[test]
fn an_unspecified_address_listens_on_the_host_and_port_zero_is_chosen() {
    let net = SimNet::new(1, quiet());
    let Ok(Listener::Sim(listener)) = net.host(SERVER).listen((Ipv4Addr::UNSPECIFIED, 0).into(), 4) else {
        panic!("it is free");
    };
    assert_eq!(listener.local_address().ip(), SERVER);
    assert_ne!(listener.local_address().port(), 0);
}

#[test]
fn a_connection_that_is_handed_on_lives_on_under_its_new_owner() {
    let (net, (_read, mut client_write), (read, write)) = connected(1, quiet());
    let bytes = run(&net, async move {
        let accepted = super::super::Accepted::unbind(read, write).expect("nobody waits on it");
        assert_eq!(accepted.peer_ip(), CLIENT);
        client_write.write_all_vectored(&[b"late"]).await.expect("it is open");
        client_write.shutdown();
        let (read, _write) = accepted.bind().expect("it is ours again");
        read_all(read).await.0
    });
    assert_eq!(bytes, "late"[..]);
}

#[test]
fn a_delayed_direction_takes_longer_and_keeps_the_order() {
    let (net, (read, mut write), (peer_read, _peer_write)) = connected(1, quiet());
    net.delay(CLIENT, SERVER, SECOND);
    let bytes: Vec<u8> = (0..20).collect();
    let sent = bytes.clone();
    let mut tasks: Vec<Task> = vec![Box::pin(async move {
        let _read = read;
        for byte in sent {
            write.write_all_vectored(&[&[byte]]).await.expect("it is open");
        }
    })];
    drive(&net, &mut tasks, 0);
    let (read, outcome) = run(&net, read_all(peer_read));
    assert!(outcome.is_ok() && read == bytes);
    assert!(net.next_due().is_none());
}
