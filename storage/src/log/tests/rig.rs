//! A log on a simulated disk, driven as a shard would, and what is known to be in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::batch::{self, BatchHeader};
use crate::disk::{Disk, SimDisk, SimDiskOptions, sim_block_on};
use crate::epoch_journal::EpochChange;
use crate::ids::LeaderEpoch;
use crate::log::{AppendError, KnownPoints, Log, LogConfig, OpenError, ReadCache, ReadError, RecoveryReport};
use crate::producers::ProducerVerdict;
use crate::turn::{self, Barrier, TurnOutcome};

/// A valid batch of `count` records that no codec would understand, `bytes` long in all.
pub(crate) fn batch(count: i32, bytes: usize, max_timestamp: i64, fill: u8) -> Vec<u8> {
    producer_batch(count, bytes, max_timestamp, fill, (-1, -1, -1))
}

/// As [`batch()`], of a producer (id, epoch, base sequence).
pub(crate) fn producer_batch(
    count: i32,
    bytes: usize,
    max_timestamp: i64,
    fill: u8,
    producer: (i64, i16, i32),
) -> Vec<u8> {
    assert!(bytes >= batch::HEADER_BYTES);
    let mut out = vec![fill; bytes];
    out[0..8].copy_from_slice(&77_i64.to_be_bytes());
    out[8..12].copy_from_slice(&((bytes - batch::LENGTH_PREFIX_BYTES) as i32).to_be_bytes());
    out[12..16].copy_from_slice(&(-1_i32).to_be_bytes());
    out[16] = 2;
    out[21..23].copy_from_slice(&0_i16.to_be_bytes());
    out[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    out[27..35].copy_from_slice(&max_timestamp.to_be_bytes());
    out[35..43].copy_from_slice(&max_timestamp.to_be_bytes());
    out[43..51].copy_from_slice(&producer.0.to_be_bytes());
    out[51..53].copy_from_slice(&producer.1.to_be_bytes());
    out[53..57].copy_from_slice(&producer.2.to_be_bytes());
    out[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&out[batch::CRC_START..]);
    out[17..21].copy_from_slice(&crc.to_be_bytes());
    out
}

/// A batch as it must be in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) base_offset: i64,
    pub(crate) end_offset: i64,
    pub(crate) bytes: Arc<[u8]>,
}

/// A log, its disk, and its memory of what it appended.
pub(crate) struct Rig {
    pub(crate) sim: SimDisk,
    pub(crate) disk: Disk,
    pub(crate) dir: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) barrier: Option<Barrier>,
    pub(crate) log: Option<Log>,
    pub(crate) known: KnownPoints,
    pub(crate) report: RecoveryReport,
    /// Everything that was appended and may still be there, in order.
    pub(crate) stored: Vec<Stored>,
    /// Up to here it was acknowledged.
    pub(crate) acknowledged_end: i64,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) now_ms: i64,
}

impl Rig {
    pub(crate) fn new(seed: u64, config: LogConfig) -> Rig {
        Rig::on(SimDisk::new(seed, SimDiskOptions::default()), config)
    }
    pub(crate) fn on(sim: SimDisk, config: LogConfig) -> Rig {
        let disk = Disk::Sim(sim.clone());
        let dir = PathBuf::from("/data/topic-0");
        let mut rig = Rig {
            sim,
            disk,
            dir,
            config,
            barrier: None,
            log: None,
            known: KnownPoints::default(),
            report: RecoveryReport::default(),
            stored: Vec::new(),
            acknowledged_end: 0,
            epoch: LeaderEpoch(0),
            now_ms: 1_000,
        };
        sim_block_on(&rig.sim, rig.disk.create_dir_all(&rig.dir)).expect("the disk works");
        rig.open().expect("an empty directory opens");
        rig
    }

    pub(crate) fn log(&mut self) -> &mut Log {
        self.log.as_mut().expect("the log is open")
    }
    pub(crate) fn try_open(&mut self) -> Result<(), OpenError> {
        let cache = ReadCache::new(1 << 20);
        let opening = Log::open(&self.disk, &cache, &self.dir, self.config.clone(), self.known.clone(), self.now_ms);
        let opened = sim_block_on(&self.sim, opening)?;
        (self.log, self.report) = (Some(opened.log), opened.report);
        Ok(())
    }
    pub(crate) fn open(&mut self) -> Result<(), OpenError> {
        self.try_open()?;
        let barrier = sim_block_on(&self.sim, Barrier::open(&self.disk, Path::new("/data")));
        self.barrier = Some(barrier.expect("the barrier opens"));
        Ok(())
    }
    /// Power loss and restart; then everything acknowledged must be there.
    pub(crate) fn crash(&mut self, seed: u64) {
        (self.log, self.barrier) = (None, None);
        self.sim.crash(seed);
        self.open().expect("it recovers");
        self.after_restart();
    }
    /// kill -9 and restart.
    pub(crate) fn kill(&mut self, seed: u64) {
        (self.log, self.barrier) = (None, None);
        self.sim.kill(seed);
        self.open().expect("it recovers");
        self.after_restart();
    }
    fn after_restart(&mut self) {
        let offsets = self.log().offsets();
        assert_eq!(offsets.flushed_end_offset, offsets.log_end_offset);
        assert!(offsets.log_end_offset >= self.acknowledged_end, "acknowledged records are gone");
        self.stored.retain(|stored| stored.end_offset <= offsets.log_end_offset);
        assert_eq!(self.stored.last().map_or(offsets.log_start_offset, |last| last.end_offset), offsets.log_end_offset);
        self.check();
    }

    pub(crate) fn append(&mut self, batch: &[u8]) -> Result<i64, AppendError> {
        let header = BatchHeader::parse(batch).expect("the rig's batches are valid");
        let (epoch, now_ms) = (self.epoch, self.now_ms);
        if self.log().epochs().latest() != Some(epoch) {
            self.begin_epoch();
        }
        let appended = self.log().append(batch, &header, epoch, now_ms)?;
        let mut bytes = batch.to_vec();
        batch::assign(&mut bytes, appended.base_offset, epoch);
        let end_offset = appended.last_offset + 1;
        self.stored.push(Stored { base_offset: appended.base_offset, end_offset, bytes: bytes.into() });
        Ok(appended.base_offset)
    }
    /// A turn; `None` if there is nothing to flush.
    pub(crate) fn flush(&mut self) -> Option<TurnOutcome> {
        let now_ms = self.now_ms;
        let plan = self.log().flush_plan(now_ms)?;
        let barrier = self.barrier.as_ref().expect("the log is open");
        let mut outcome = sim_block_on(&self.sim, turn::flush(barrier, vec![plan]));
        if outcome.flush_error.is_none() {
            let log_outcome = outcome.logs.pop().expect("one log, one outcome");
            if let Ok(flushed_end) = self.log().apply_flush(log_outcome) {
                self.acknowledged_end = flushed_end;
            }
        }
        Some(outcome)
    }
    /// Steps of maintenance, until none is due.
    pub(crate) fn maintain(&mut self) {
        for _ in 0..100 {
            let now_ms = self.now_ms;
            let Some(plan) = self.log().maintenance_plan(now_ms) else { return };
            let done = sim_block_on(&self.sim, plan.execute());
            self.log().apply_maintenance(done).expect("the disk works");
        }
        panic!("maintenance never ends");
    }
    pub(crate) fn flush_all(&mut self) {
        while self.flush().is_some() {}
    }
    pub(crate) fn read(&mut self, from: i64, limit: i64, bytes_max: usize) -> Result<(Vec<u8>, i64), ReadError> {
        let plan = self.log().read_plan(from, limit, bytes_max, true)?;
        let done = sim_block_on(&self.sim, plan.execute())?;
        self.log().apply_read(&done);
        Ok((done.records.to_vec(), done.next_offset))
    }
    /// What the log holds from `from` on, read piece by piece.
    pub(crate) fn read_all(&mut self, from: i64, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        let (mut all, mut at, end) = (Vec::new(), from, self.log().offsets().log_end_offset);
        while at < end {
            let (records, next) = self.read(at, end, bytes_max)?;
            assert!(next > at, "a read of {at} to {end} brings something");
            all.extend(records);
            at = next;
        }
        Ok(all)
    }
    /// The log is what was appended, byte for byte, from memory and from disk.
    pub(crate) fn check(&mut self) {
        let offsets = self.log().offsets();
        let expected: Vec<u8> = self.visible().flat_map(|stored| stored.bytes.iter().copied()).collect();
        let read = self.read_all(offsets.log_start_offset, 1 << 20).expect("the log can be read");
        assert!(read == expected, "{} bytes read, {} appended", read.len(), expected.len());
        assert_eq!(self.log().tail.bytes(), self.log().tail.counted_bytes(), "the tail knows what it takes");
        self.check_producers();
    }
    pub(crate) fn visible(&mut self) -> impl Iterator<Item = &Stored> {
        let start = self.log().offsets().log_start_offset;
        self.stored.iter().filter(move |stored| stored.end_offset > start)
    }
    /// What the shard would write down.
    pub(crate) fn checkpoint(&mut self) {
        let (recovery_point, offsets) = (self.log().recovery_point(), self.log().offsets());
        self.known.recovery_point = recovery_point;
        self.known.high_watermark = self.acknowledged_end;
        self.known.log_start_offset = offsets.log_start_offset;
    }
    /// The leader of the next epoch takes over, durably.
    pub(crate) fn new_epoch(&mut self) {
        self.epoch = LeaderEpoch(self.epoch.0 + 1);
        self.begin_epoch();
    }
    fn begin_epoch(&mut self) {
        let (epoch, start_offset) = (self.epoch, self.log().offsets().log_end_offset);
        self.log().assign_epoch(epoch, start_offset);
        self.note_change(EpochChange::Begin { epoch, start_offset });
    }
    /// What the epoch journal would replay.
    pub(crate) fn note_change(&mut self, change: EpochChange) {
        let (EpochChange::Begin { start_offset: offset, .. } | EpochChange::Cut { end_offset: offset }) = change;
        self.known.epoch_changes.retain(|earlier| match earlier {
            EpochChange::Begin { start_offset, .. } => *start_offset < offset,
            EpochChange::Cut { .. } => true,
        });
        self.known.epoch_changes.push(change);
    }
    /// The sequence number that comes next for a producer.
    pub(crate) fn next_sequence(&self, producer: u8) -> i32 {
        let of_producer = |stored: &&Stored| {
            let header = BatchHeader::parse(&stored.bytes).expect("stored batches are valid");
            header.producer_id.0 == i64::from(producer)
        };
        let last = self.stored.iter().rfind(of_producer);
        last.map_or(0, |stored| {
            let header = BatchHeader::parse(&stored.bytes).expect("stored batches are valid");
            header.base_sequence + header.record_count
        })
    }
    /// A read brings whole batches as they were appended, from the one that holds `from` on, and no more than it may.
    pub(crate) fn check_read(&mut self, from: i64, bytes_max: usize) {
        let end = self.log().offsets().log_end_offset;
        let (records, next) = self.read(from, end, bytes_max).expect("the log can be read");
        let expected = self.stored.iter().filter(|stored| stored.end_offset > from && stored.base_offset < next);
        let expected: Vec<u8> = expected.flat_map(|stored| stored.bytes.iter().copied()).collect();
        assert!(records == expected, "{from}: {} bytes read, {} expected", records.len(), expected.len());
        assert!(from == end || !records.is_empty(), "a batch is there at {from}, whatever its size");
    }
    /// Every producer's last batch is known as the duplicate that a retry of it would be.
    pub(crate) fn check_producers(&mut self) {
        let start = self.log().offsets().log_start_offset;
        for producer in 1..4_i64 {
            let mut headers = self.stored.iter().map(|stored| BatchHeader::parse(&stored.bytes).expect("valid"));
            let Some(last) = headers.rfind(|header| header.producer_id.0 == producer) else { continue };
            if last.base_offset < start {
                continue;
            }
            let verdict = self.log().producers().check(&last);
            let known = matches!(verdict, Ok(ProducerVerdict::Duplicate { base_offset, .. }) if base_offset == last.base_offset);
            assert!(known, "producer {producer} at {}: {verdict:?}", last.base_offset);
        }
    }
    /// Names of the files in the log's directory.
    pub(crate) fn disk_names(&self) -> Vec<String> {
        let entries = sim_block_on(&self.sim, self.disk.list(&self.dir)).expect("the directory is there");
        entries.into_iter().map(|entry| entry.name).collect()
    }
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}
