//! What this machine could do at best: the floor under the broker's figures. Prints one line of JSON.
//!
//! Owns: a bare loop of one 4 KiB write and one fdatasync, sequential direct writes of 1 MiB, one TCP stream over loopback.
//! Not here: anything of the broker. `cargo xtask bench` divides the broker's figures by these.
//! Why glommio by name: the floor is what its reactor costs with nothing around it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use glommio::io::{DmaFile, OpenOptions};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement};

const BLOCK_BYTES: usize = 4096;
const BLOCKS: u64 = 16_384;
const FLUSHES: u64 = 4000;
const FLUSHES_UNMEASURED: u64 = 400;
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS: u64 = 1024;
const CHUNKS_AT_ONCE: u64 = 4;
const TCP_TIME: Duration = Duration::from_secs(2);

fn main() {
    // The first executor of a process gets a kernel worker pool of one or two for ever: let it be one that is thrown away.
    std::thread::spawn(|| executor().run(async {})).join().expect("an empty task does not panic");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder can be written");
    let file = folder.path().join("floor");
    let (flush_us, write_mb_per_s) =
        watched(async move { (write_and_flush(&file).await, write_sequentially(&file).await) });
    let at = |quantile: f64| flush_us[(quantile * (flush_us.len() - 1) as f64) as usize];
    println!(
        "{}",
        serde_json::json!({
            "write_4k_flush_p50_us": at(0.5),
            "write_4k_flush_p99_us": at(0.99),
            "sequential_write_mb_per_s": write_mb_per_s,
            "loopback_mb_per_s": loopback(),
        })
    );
}

/// One write of a block onto written space and one fdatasync, again and again; the sorted times in microseconds.
async fn write_and_flush(path: &Path) -> Vec<f64> {
    let file = prewritten(path, BLOCKS * BLOCK_BYTES as u64).await;
    let mut times = Vec::new();
    for number in 0..FLUSHES_UNMEASURED + FLUSHES {
        let mut block = file.alloc_dma_buffer(BLOCK_BYTES);
        block.as_bytes_mut().fill(number as u8);
        let started = Instant::now();
        file.write_at(block, number % BLOCKS * BLOCK_BYTES as u64).await.expect("space that was written before");
        file.fdatasync().await.expect("a flush");
        if number >= FLUSHES_UNMEASURED {
            times.push(started.elapsed().as_secs_f64() * 1e6);
        }
    }
    file.close().await.expect("closed");
    times.sort_by(f64::total_cmp);
    times
}

/// A few writes of 1 MiB in flight, over a whole file, flushed at the end; millions of bytes per second.
async fn write_sequentially(path: &Path) -> f64 {
    let file = prewritten(path, CHUNKS * CHUNK_BYTES as u64).await;
    let started = Instant::now();
    for first in (0..CHUNKS).step_by(CHUNKS_AT_ONCE as usize) {
        let writes = (first..first + CHUNKS_AT_ONCE).map(|chunk| {
            let mut buffer = file.alloc_dma_buffer(CHUNK_BYTES);
            buffer.as_bytes_mut()[..8].copy_from_slice(&chunk.to_le_bytes());
            file.write_at(buffer, chunk * CHUNK_BYTES as u64)
        });
        for outcome in join_all(writes).await {
            outcome.expect("space that was written before");
        }
    }
    file.fdatasync().await.expect("a flush");
    let bytes = CHUNKS as f64 * CHUNK_BYTES as f64;
    bytes / 1e6 / started.elapsed().as_secs_f64()
}

/// A file of that size whose every block was written and flushed.
async fn prewritten(path: &Path, bytes: u64) -> DmaFile {
    let file = OpenOptions::new().create(true).read(true).write(true).dma_open(path).await.expect("a new file");
    for position in (0..bytes).step_by(CHUNK_BYTES) {
        let mut zeros = file.alloc_dma_buffer(CHUNK_BYTES);
        zeros.as_bytes_mut().fill(0);
        file.write_at(zeros, position).await.expect("there is space");
    }
    file.fdatasync().await.expect("a flush");
    file
}

/// One stream from one thread to another; millions of bytes per second.
fn loopback() -> f64 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let sender = std::thread::spawn(move || {
        let mut stream = TcpStream::connect(address).expect("it listens");
        let chunk = vec![7; CHUNK_BYTES / 4];
        let started = Instant::now();
        while started.elapsed() < TCP_TIME {
            stream.write_all(&chunk).expect("the other side reads");
        }
    });
    let (mut stream, _) = listener.accept().expect("it connects");
    let mut chunk = vec![0; CHUNK_BYTES / 4];
    let (started, mut bytes) = (Instant::now(), 0_usize);
    loop {
        match stream.read(&mut chunk).expect("the other side writes") {
            0 => break,
            count => bytes += count,
        }
    }
    sender.join().expect("it wrote");
    bytes as f64 / 1e6 / started.elapsed().as_secs_f64()
}

fn executor() -> LocalExecutor {
    LocalExecutorBuilder::new(Placement::Unbound).io_memory(16 << 20).make().expect("io_uring works here")
}

/// Runs it on an executor that another thread wakes now and then, for the reactor may park with a task that could run.
fn watched<T: 'static>(measure: impl Future<Output = T> + 'static) -> T {
    let waker: Arc<Mutex<Option<Waker>>> = Arc::default();
    let woken = Arc::clone(&waker);
    std::thread::spawn(move || {
        loop {
            if let Some(waker) = &*woken.lock().expect("nobody panics with it") {
                waker.wake_by_ref();
            }
            std::thread::sleep(Duration::from_millis(3));
        }
    });
    executor().run(async move {
        glommio::spawn_local(std::future::poll_fn(move |context| {
            *waker.lock().expect("nobody panics with it") = Some(context.waker().clone());
            std::task::Poll::<()>::Pending
        }))
        .detach();
        measure.await
    })
}
