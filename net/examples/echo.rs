//! Echo of 300-byte requests over loopback: what a connection costs the executor that serves it.
//!
//! `cargo run --release -p net --example echo` serves on the first processor and asks, by epoll, from the second.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::future::join_all;
use net::stream::{Accepted, Net, run_on_ring, spawn_on_ring};

const REQUEST_BYTES: usize = 300;
const RUN: Duration = Duration::from_secs(4);

fn main() -> io::Result<()> {
    println!("{:>5} {:>6} {:>10} {:>12} {:>9} {:>9}", "conns", "depth", "req/s", "server cpu", "p50", "p99");
    for (connections, depth) in [(1, 1), (16, 1), (128, 1), (16, 8)] {
        run(connections, depth)?;
    }
    Ok(())
}

fn run(connections: usize, depth: usize) -> io::Result<()> {
    let (address, addresses) = mpsc::channel();
    let server = std::thread::spawn(move || {
        pin(0);
        run_on_ring(serve(address, connections))
    });
    let address = addresses.recv().map_err(io::Error::other)?;
    pin(1);
    let mut times = ask(address, connections, depth)?;
    let cpu = server.join().expect("the server does not panic");
    times.sort_unstable();
    let count = u32::try_from(times.len()).expect("few enough");
    println!(
        "{connections:>5} {depth:>6} {:>10.0} {:>12?} {:>9?} {:>9?}",
        f64::from(count) / RUN.as_secs_f64(),
        cpu / count,
        times[times.len() / 2],
        times[times.len() * 99 / 100],
    );
    Ok(())
}

/// Echoes on that many connections until they end; how much processor time that took.
async fn serve(address: mpsc::Sender<SocketAddr>, connections: usize) -> Duration {
    let listener = Net::Ring.listen((Ipv4Addr::LOCALHOST, 0).into(), 256).expect("a free port");
    address.send(listener.local_address()).expect("it waits");
    let before = thread_cpu();
    let mut echoes = Vec::with_capacity(connections);
    for _ in 0..connections {
        let (mut read, mut write) = listener.accept().await.and_then(Accepted::bind).expect("it connects");
        echoes.push(spawn_on_ring(async move {
            let mut buffer = BytesMut::with_capacity(16 << 10);
            while let Ok(1..) = read.read_buf(&mut buffer).await {
                if write.write_all_vectored(&[&buffer]).await.is_err() {
                    break;
                }
                buffer.clear();
            }
        }));
    }
    join_all(echoes).await;
    thread_cpu() - before
}

/// Keeps `depth` requests in flight on every connection for a while; how long each took.
fn ask(address: SocketAddr, connections: usize, depth: usize) -> io::Result<Vec<Duration>> {
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        clients.push(Client { stream, got: 0, sent_at: VecDeque::with_capacity(depth) });
    }
    let poller = Poller::new(&clients)?;
    let batch = vec![7; REQUEST_BYTES * depth];
    let begun = Instant::now();
    for client in &mut clients {
        client.send(&batch)?;
    }
    let mut times = Vec::with_capacity(1 << 20);
    while begun.elapsed() < RUN {
        for index in poller.readable()? {
            clients[index].answer(&batch, &mut times)?;
        }
    }
    Ok(times)
}

struct Client {
    stream: TcpStream,
    got: usize,
    sent_at: VecDeque<Instant>,
}

impl Client {
    /// Sends requests; they are few enough for the socket to take them whole.
    fn send(&mut self, requests: &[u8]) -> io::Result<()> {
        let now = Instant::now();
        self.sent_at.extend(std::iter::repeat_n(now, requests.len() / REQUEST_BYTES));
        self.stream.write_all(requests)
    }

    /// Takes what has come, and sends a new request for every one that is answered.
    fn answer(&mut self, batch: &[u8], times: &mut Vec<Duration>) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        self.got += self.stream.read(&mut buffer)?;
        let whole = self.got / REQUEST_BYTES;
        self.got %= REQUEST_BYTES;
        let now = Instant::now();
        times.extend(self.sent_at.drain(..whole).map(|sent_at| now - sent_at));
        if whole > 0 { self.send(&batch[..whole * REQUEST_BYTES]) } else { Ok(()) }
    }
}

struct Poller(OwnedFd);

impl Poller {
    fn new(clients: &[Client]) -> io::Result<Poller> {
        // SAFETY: plain system calls; the new descriptor is ours alone.
        let poller = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) };
        for (index, client) in clients.iter().enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
            let fd = client.stream.as_raw_fd();
            // SAFETY: both descriptors are open, and the event lives through the call.
            if unsafe { libc::epoll_ctl(poller.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        Ok(Poller(poller))
    }

    fn readable(&self) -> io::Result<impl Iterator<Item = usize>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 128];
        // SAFETY: the kernel writes at most 128 events into the array.
        let count = unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 128, 100) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(events.into_iter().take(count).map(|event| event.u64 as usize))
    }
}

/// Binds this thread to the `index`th processor it may run on, where there are two.
fn pin(index: usize) {
    // SAFETY: a cpu_set_t is plain bits; the pointers and sizes are those of `set`.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(index, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// Processor time of this thread.
fn thread_cpu() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
