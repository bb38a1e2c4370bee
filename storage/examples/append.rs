//! What an append and its flush cost on this machine: `cargo run --release -p storage --example append -- <directory> [mode]`.
//!
//! Modes: `bare` (4 KiB write + fdatasync on prewritten blocks: the floor), `one` (one 300 B append in flight), `many` (128),
//! `large` (1 MiB batches, one gathering while one is written), `logs` (1,000 logs, one append each a turn, one barrier),
//! `files` (the same with a flush each), `read` (a backlog of 1 MiB reads), `open` (10,000 logs). Without a mode: all.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use storage::batch::{self, BatchHeader};
use storage::disk::{BLOCK_BYTES, Disk, IoBuffer, OpenMode, ring_block_on};
use storage::ids::LeaderEpoch;
use storage::log::{KnownPoints, Log, LogConfig, MaintenanceDone, ReadCache};
use storage::turn::{self, Barrier};

const EPOCH: LeaderEpoch = LeaderEpoch(0);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| "/tmp/storage-append".to_owned()));
    let modes: Vec<String> = arguments.collect();
    std::fs::create_dir_all(&dir).expect("the directory can be made");
    let wanted = |mode: &str| modes.is_empty() || modes.iter().any(|wanted| wanted == mode);
    if wanted("bare") {
        ring_block_on(bare(&dir));
    }
    for (mode, producers) in [("one", 1), ("many", 128), ("one", 1), ("many", 1000)] {
        if wanted(mode) {
            ring_block_on(closed_loop(&dir, producers, 300, Duration::from_secs(4)));
        }
    }
    if modes.iter().any(|m| m == "sizes") {
        for n in [128, 256, 512, 1000, 2000] {
            ring_block_on(closed_loop(&dir, n, 300, Duration::from_secs(2)));
        }
    }
    if wanted("bare") {
        ring_block_on(bare(&dir));
    }
    if wanted("large") {
        for (bytes, turn_bytes) in [(64 << 10, 1 << 20), (1 << 20, 1 << 20), (1 << 20, 2 << 20)] {
            ring_block_on(large(&dir, bytes, turn_bytes));
        }
    }
    if wanted("read") {
        ring_block_on(backlog(&dir));
    }
    if wanted("logs") {
        ring_block_on(logs(&dir, 1000, true));
    }
    if wanted("files") {
        ring_block_on(logs(&dir, 1000, false));
    }
    if wanted("open") {
        ring_block_on(open_many(&dir, 10_000));
    }
}

fn batch_of(bytes: usize) -> (Vec<u8>, BatchHeader) {
    let mut out = vec![7; bytes];
    out[8..12].copy_from_slice(&((bytes - batch::LENGTH_PREFIX_BYTES) as i32).to_be_bytes());
    out[16] = 2;
    out[21..27].fill(0);
    out[27..43].fill(0);
    out[43..57].fill(0xff);
    out[57..61].copy_from_slice(&1_i32.to_be_bytes());
    let crc = crc32c::crc32c(&out[batch::CRC_START..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    let header = batch::validate(&out).expect("a valid batch");
    (out, header)
}

fn report(name: &str, took: &mut [Duration], bytes: u64, appends: u64) {
    let total: Duration = took.iter().sum();
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_micros();
    println!(
        "{name:<34} p50 {:>6} us  p99 {:>6} us  max {:>7} us  {:>9.0} appends/s {:>8.1} MB/s",
        at(0.5),
        at(0.99),
        at(1.0),
        appends as f64 / total.as_secs_f64(),
        bytes as f64 / total.as_secs_f64() / 1e6,
    );
}

async fn bare(dir: &Path) {
    let path = dir.join("bare");
    std::fs::remove_file(&path).ok();
    let file = Disk::Ring.open(&path, OpenMode::CreateNew).await.expect("created");
    let zeros = Rc::new(IoBuffer::zeroed(1 << 20));
    for chunk in 0..16 {
        file.write_at(Rc::clone(&zeros), chunk << 20).await.expect("written");
    }
    file.flush().await.expect("flushed");
    let block = Rc::new(IoBuffer::zeroed(BLOCK_BYTES));
    let mut took = Vec::new();
    for number in 0..6000_u64 {
        let begun = Instant::now();
        file.write_at(Rc::clone(&block), (number % 4096) * BLOCK_BYTES as u64).await.expect("written");
        file.flush().await.expect("flushed");
        took.push(begun.elapsed());
    }
    report("bare 4 KiB write + fdatasync", &mut took, 6000 * 4096, 6000);
    std::fs::remove_file(&path).ok();
}

/// A step under way, and whose it is.
type Maintaining = std::pin::Pin<Box<dyn Future<Output = (usize, MaintenanceDone)>>>;

/// Logs, their barrier, and the maintenance that runs beside the turns.
struct Rig {
    logs: Vec<Log>,
    barrier: Barrier,
    maintaining: FuturesUnordered<Maintaining>,
}

impl Rig {
    async fn new(dir: &Path, count: usize, config: &LogConfig, one_barrier: bool) -> Rig {
        let data = dir.join("data");
        std::fs::remove_dir_all(&data).ok();
        let cache = ReadCache::new(64 << 20);
        let mut logs = Vec::new();
        for number in 0..count {
            let path = data.join(format!("topic-{number}"));
            std::fs::create_dir_all(&path).expect("made");
            let opened = Log::open(&Disk::Ring, &cache, &path, config.clone(), KnownPoints::default(), 0).await;
            logs.push(opened.expect("opened").log);
        }
        let barrier = Barrier::open(&Disk::Ring, &data).await.expect("opened");
        println!("  ({count} logs; {})", barrier.reason());
        let barrier = if one_barrier { barrier } else { Barrier::per_file("as asked") };
        Rig { logs, barrier, maintaining: FuturesUnordered::new() }
    }
    fn maintain(&mut self, number: usize, now_ms: i64) {
        if let Some(plan) = self.logs[number].maintenance_plan(now_ms) {
            self.maintaining.push(Box::pin(async move { (number, plan.execute().await) }));
        }
    }
    /// A turn of all dirty logs; steps of maintenance go on meanwhile. Returns (flushed logs, files that needed their own flush).
    async fn turn(&mut self, now_ms: i64) -> (usize, usize) {
        self.turn_while(now_ms, |_| {}).await
    }
    /// As [`Rig::turn`]; `meanwhile` runs when everything is planned, as requests that come while the disk is busy.
    async fn turn_while(&mut self, now_ms: i64, meanwhile: impl FnOnce(&mut [Log])) -> (usize, usize) {
        let mut numbers = Vec::new();
        let mut plans = Vec::new();
        for (number, log) in self.logs.iter_mut().enumerate() {
            if let Some(plan) = log.flush_plan(now_ms) {
                numbers.push(number);
                plans.push(plan);
            }
        }
        let barrier = self.barrier.clone();
        let mut flushing = Box::pin(async move { turn::flush(&barrier, plans).await });
        assert!(futures_util::poll!(&mut flushing).is_pending());
        meanwhile(&mut self.logs);
        let outcome = loop {
            if self.maintaining.is_empty() {
                break flushing.await;
            }
            match select(flushing, self.maintaining.next()).await {
                Either::Left((outcome, _)) => break outcome,
                Either::Right((done, rest)) => {
                    flushing = rest;
                    if let Some((number, done)) = done {
                        self.logs[number].apply_maintenance(done).expect("maintained");
                        self.maintain(number, now_ms);
                    }
                }
            }
        };
        assert!(outcome.flush_error.is_none());
        let (count, own) = (numbers.len(), outcome.own_flushes);
        for (number, outcome) in numbers.into_iter().zip(outcome.logs) {
            self.logs[number].apply_flush(outcome).expect("flushed");
            self.maintain(number, now_ms);
        }
        (count, own)
    }
}

async fn closed_loop(dir: &Path, producers: usize, bytes: usize, lasts: Duration) {
    let mut rig = Rig::new(dir, 1, &LogConfig::default(), true).await;
    let (batch, header) = batch_of(bytes);
    let (begun, mut took, mut appends, mut own) = (Instant::now(), Vec::new(), 0, 0);
    while begun.elapsed() < lasts {
        let turn = Instant::now();
        let now_ms = begun.elapsed().as_millis() as i64;
        for _ in 0..producers {
            rig.logs[0].append(&batch, &header, EPOCH, now_ms).expect("appended");
        }
        own += rig.turn(now_ms).await.1;
        appends += producers as u64;
        took.push(turn.elapsed());
    }
    let turns = took.len();
    report(&format!("{producers} x {bytes} B closed loop"), &mut took, appends * bytes as u64, appends);
    println!("      {own} of {turns} turns flushed the file itself");
}

async fn large(dir: &Path, bytes: usize, turn_bytes: usize) {
    let mut rig = Rig::new(dir, 1, &LogConfig { segment_bytes: 256 << 20, ..LogConfig::default() }, true).await;
    let (batch, header) = batch_of(bytes);
    let mut took = Vec::new();
    let (begun, mut own, total) = (Instant::now(), 0, 3_u64 << 30);
    let count = total / bytes as u64;
    let per_turn = (turn_bytes / bytes).max(1) as u64;
    let append_some = |logs: &mut [Log], now_ms: i64| {
        for _ in 0..per_turn {
            logs[0].append(&batch, &header, EPOCH, now_ms).expect("appended");
        }
    };
    append_some(&mut rig.logs, 0);
    let turns = count / per_turn;
    for _ in 0..turns {
        let turn = Instant::now();
        let now_ms = begun.elapsed().as_millis() as i64;
        own += rig.turn_while(now_ms, |logs| append_some(logs, now_ms)).await.1;
        took.push(turn.elapsed());
    }
    let appended = turns * per_turn;
    report(
        &format!("{} KiB batches, {} KiB a turn", bytes >> 10, turn_bytes >> 10),
        &mut took,
        appended * bytes as u64,
        appended,
    );
    println!("      {own} of {turns} turns flushed the file itself");
}

async fn backlog(dir: &Path) {
    let config = LogConfig { segment_bytes: 256 << 20, tail_cache_bytes: 1 << 20, ..LogConfig::default() };
    let mut rig = Rig::new(dir, 1, &config, true).await;
    let (batch, header) = batch_of(16 << 10);
    for _ in 0..(1 << 30) / (16 << 20) {
        for _ in 0..64 * 16 {
            rig.logs[0].append(&batch, &header, EPOCH, 0).expect("appended");
        }
        while rig.logs[0].needs_flush() {
            rig.turn(0).await;
        }
    }
    let end = rig.logs[0].offsets().log_end_offset;
    for reads_ahead in [false, true, false, true] {
        let (mut at, mut took, mut bytes, mut ahead) = (0, Vec::new(), 0, FuturesUnordered::new());
        while at < end {
            let begun = Instant::now();
            let plan = rig.logs[0].read_plan(at, end, 1 << 20, true).expect("planned");
            let mut reading = Box::pin(plan.execute());
            let done = loop {
                if ahead.is_empty() {
                    break reading.await;
                }
                match select(reading, ahead.next()).await {
                    Either::Left((done, _)) => break done,
                    Either::Right((_, rest)) => reading = rest,
                }
            };
            let done = done.expect("read");
            rig.logs[0].apply_read(&done);
            ahead.extend(done.ahead.filter(|_| reads_ahead).map(storage::log::ReadAhead::execute));
            at = done.next_offset;
            bytes += done.records.len() as u64;
            took.push(begun.elapsed());
        }
        let reads = took.len() as u64;
        report(&format!("backlog, 1 MiB reads, ahead: {reads_ahead}"), &mut took, bytes, reads);
    }
}

async fn logs(dir: &Path, count: usize, one_barrier: bool) {
    let mut rig = Rig::new(dir, count, &LogConfig::default(), one_barrier).await;
    let (batch, header) = batch_of(300);
    let mut took = Vec::new();
    let mut own = 0;
    for turn in 0..60 {
        let begun = Instant::now();
        for log in &mut rig.logs {
            log.append(&batch, &header, EPOCH, turn * 10).expect("appended");
        }
        own = rig.turn(turn * 10).await.1;
        // The first turns make the files, and prewrite.
        if turn >= 20 {
            took.push(begun.elapsed());
        }
    }
    let turns = took.len() as u64;
    let name = if one_barrier { "logs, one barrier a turn" } else { "logs, a flush each" };
    report(&format!("{count} {name}"), &mut took, turns * count as u64 * 300, turns * count as u64);
    println!("      {own} own flushes in the last turn");
}

async fn open_many(dir: &Path, count: usize) {
    let mut rig = Rig::new(dir, count, &LogConfig::default(), true).await;
    let (batch, header) = batch_of(300);
    for log in &mut rig.logs {
        log.append(&batch, &header, EPOCH, 0).expect("appended");
    }
    rig.turn(0).await;
    let known: Vec<KnownPoints> =
        rig.logs.iter().map(|_| KnownPoints { recovery_point: 1, ..KnownPoints::default() }).collect();
    let data = dir.join("data");
    drop(rig);
    let cache = ReadCache::new(64 << 20);
    let begun = Instant::now();
    let opens = known.into_iter().enumerate().map(|(number, known)| {
        let (cache, path) = (cache.clone(), data.join(format!("topic-{number}")));
        async move { Log::open(&Disk::Ring, &cache, &path, LogConfig::default(), known, 0).await.expect("opened").log }
    });
    let logs: Vec<Log> = futures_util::stream::iter(opens).buffer_unordered(64).collect().await;
    let memory: usize = logs.iter().map(Log::memory_bytes).sum();
    println!("{count} logs opened in {:?}; {} bytes of memory each", begun.elapsed(), memory / count);
    std::fs::remove_dir_all(data).ok();
}
