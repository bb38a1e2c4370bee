//! Tests of the raft log: crashes at every step, torn writes, corruption, state that contradicts itself.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use raft::eraftpb::{ConfState, Entry, HardState};
use storage::disk::{Disk, DiskErrorReason, SimDisk, SimDiskOptions, sim_block_on};

use super::open::{BOOTSTRAP, Opened, open};
use super::record::{LogRecord, LogStart, SECTOR_BYTES, record_bytes};
use super::tail::SnapshotImage;
use super::wal::{Wal, log_path};
use super::*;
use crate::metadata::image::{Image, Voter};

fn dir() -> &'static Path {
    Path::new("/data/metadata")
}

fn identity() -> Identity {
    Identity { cluster_id: "cluster".into(), node_id: BrokerId(0), directory_id: Uuid::from_u64_pair(1, 2) }
}

fn voter() -> Voter {
    Voter { raft_id: 1, node_id: BrokerId(0), directory_id: Some(identity().directory_id) }
}

async fn open_it(disk: Disk) -> Result<Opened, OpenError> {
    open(&disk, dir(), &identity(), Some(&[voter()])).await
}

fn sim(seed: u64) -> SimDisk {
    SimDisk::new(seed, SimDiskOptions::default())
}

fn entry(index: u64, bytes: usize) -> Entry {
    let mut entry = Entry::default();
    (entry.index, entry.term) = (index, 2);
    entry.data = vec![(index % 250) as u8 + 1; bytes].into();
    entry
}

fn state(commit: u64) -> HardState {
    let mut state = HardState::default();
    (state.term, state.vote, state.commit) = (2, 1, commit);
    state
}

fn payload(entries: &[Entry]) -> Vec<u8> {
    LogRecord::of(&state(entries[0].index - 1), entries).to_payload()
}

async fn append(wal: &mut Wal, payloads: &[Vec<u8>]) -> Result<(), DiskError> {
    wal.reserve(payloads.iter().map(|payload| record_bytes(payload.len())).sum()).await?;
    wal.append(payloads).await
}

/// A healthy log with one write of one entry each of the given sizes, from index 2 on.
fn with_entries(disk: &SimDisk, sizes: &[usize]) {
    sim_block_on(disk, async {
        let mut wal = open_it(Disk::Sim(disk.clone())).await.unwrap().wal;
        for (index, bytes) in (2..).zip(sizes) {
            append(&mut wal, &[payload(&[entry(index, *bytes)])]).await.unwrap();
        }
    });
}

fn reopen(disk: &SimDisk) -> Result<Vec<Entry>, OpenError> {
    let opened = sim_block_on(disk, open_it(Disk::Sim(disk.clone())))?;
    Ok(opened.tail.entries_above(BOOTSTRAP.0))
}

/// Polls a future through at most `events` events of the disk.
fn run_some(disk: &SimDisk, events: usize, future: impl Future<Output = ()>) -> bool {
    let (mut future, mut context) = (pin!(future), Context::from_waker(Waker::noop()));
    for _ in 0..=events {
        if future.as_mut().poll(&mut context) == Poll::Ready(()) {
            return true;
        }
        disk.run_due(disk.next_due().unwrap());
    }
    false
}

/// Bootstraps, then writes until it is stopped; counts the entries that it was told are durable.
async fn keep_writing(disk: Disk, durable: &Cell<u64>, restart_every: u64) -> Result<(), OpenError> {
    let mut opened = open_it(disk.clone()).await?;
    loop {
        let next = opened.tail.last_index() + 1;
        // A large one now and then, so that the file grows.
        let large = if next % 5 == 0 { 150_000 } else { 900 };
        let writes: Vec<Vec<Entry>> = vec![vec![entry(next, 300), entry(next + 1, large)], vec![entry(next + 2, 40)]];
        let payloads: Vec<_> = writes.iter().map(|entries| payload(entries)).collect();
        append(&mut opened.wal, &payloads).await?;
        opened.tail.append(writes.into_iter().flatten()).unwrap();
        durable.set(next + 2);
        if (next / 3) % restart_every == restart_every - 1 {
            compact(&disk, &mut opened).await?;
        }
    }
}

/// A snapshot of all but the last two entries, and a log that begins after it.
async fn compact(disk: &Disk, opened: &mut Opened) -> Result<(), DiskError> {
    let index = opened.tail.last_index() - 2;
    let image = opened.image.skip(index);
    let conf_state = opened.tail.conf_state().clone();
    let held = SnapshotImage { index, term: 2, conf_state, image: image.to_bytes().into() };
    snapshot::write(disk, dir(), &held).await?;
    let start = LogStart::new(&identity(), voter().raft_id, (index, 2));
    let first = LogRecord { start: Some(start), ..LogRecord::of(&state(index), &opened.tail.entries_above(index)) };
    opened.wal = Wal::create(disk, dir(), &first).await?;
    opened.wal.take_place().await?;
    snapshot::remove_older(disk, dir(), index).await?;
    opened.image = image;
    Ok(())
}

/// Lesson 43: whatever the step at which it ends, and whether by kill or by power loss, what was durable is there.
#[test]
fn no_end_at_any_step_loses_what_was_durable() {
    for seed in 0..200 {
        let (disk, durable) = (sim(seed), Cell::new(BOOTSTRAP.0));
        for (life, events) in [seed as usize % 97, 5 + seed as usize % 31, 40].into_iter().enumerate() {
            let before = durable.get();
            let ended = run_some(&disk, events, async {
                let faulty = keep_writing(Disk::Sim(disk.clone()), &durable, 2 + seed % 3).await.err();
                panic!("seed {seed}, life {life}: {faulty:?}");
            });
            assert!(!ended);
            if (seed + life as u64).is_multiple_of(3) {
                disk.kill(seed)
            } else {
                disk.crash(seed)
            }
            let opened = sim_block_on(&disk, open_it(Disk::Sim(disk.clone()))).unwrap_or_else(|error| {
                panic!("seed {seed}, life {life}: {error}");
            });
            let last = opened.tail.last_index();
            assert!(last >= durable.get() && last >= before, "seed {seed}: {last} of {}", durable.get());
            let first = opened.image.version() + 1;
            let expected: Vec<u64> = (first..=last).collect();
            let entries = opened.tail.entries_above(first - 1);
            assert_eq!(entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), expected, "seed {seed}");
            assert!(entries.iter().all(|found| found.data == entry(found.index, found.data.len()).data));
            assert!(opened.tail.hard_state().commit <= last);
            durable.set(last);
        }
    }
}

#[test]
fn a_torn_write_is_cut_whatever_sectors_of_it_are_there() {
    let disk = sim(1);
    with_entries(&disk, &[300, 900]);
    let before = disk.file_bytes(&log_path(dir())).unwrap();
    let torn = sim(2);
    with_entries(&torn, &[300, 900]);
    sim_block_on(&torn, async {
        let mut wal = open_it(Disk::Sim(torn.clone())).await.unwrap().wal;
        append(&mut wal, &[payload(&[entry(4, 700)]), payload(&[entry(5, 900)])]).await.unwrap();
    });
    let after = torn.file_bytes(&log_path(dir())).unwrap();
    let sector = SECTOR_BYTES as usize;
    let changed: Vec<usize> = (0..after.len() / sector)
        .filter(|at| before[at * sector..][..sector] != after[at * sector..][..sector])
        .collect();
    assert!((4..=6).contains(&changed.len()), "{changed:?}");
    for there in 0..1 << changed.len() {
        let mut bytes = before.clone();
        for (_, at) in changed.iter().enumerate().filter(|(bit, _)| there >> bit & 1 == 1) {
            bytes[at * sector..][..sector].copy_from_slice(&after[at * sector..][..sector]);
        }
        let torn_log = bytes;
        disk.set_file_bytes(&log_path(dir()), &torn_log);
        let entries = reopen(&disk).unwrap_or_else(|error| panic!("sectors {there:b}: {error}"));
        assert_eq!(entries[..2], [entry(2, 300), entry(3, 900)]);
        let whole = there + 1 == 1 << changed.len();
        assert!(if whole { entries.len() == 4 } else { entries.len() <= 3 }, "sectors {there:b}: {}", entries.len());
        // What comes next takes its place, whatever its size, and a second start finds it.
        for bytes in [10, 700, 2000] {
            disk.set_file_bytes(&log_path(dir()), &torn_log);
            sim_block_on(&disk, async {
                let mut opened = open_it(Disk::Sim(disk.clone())).await.unwrap();
                let next = entry(opened.tail.last_index() + 1, bytes);
                append(&mut opened.wal, &[payload(&[next])]).await.unwrap();
            });
            let again = reopen(&disk).unwrap_or_else(|error| panic!("sectors {there:b}, then {bytes} bytes: {error}"));
            assert_eq!(again.len(), entries.len() + 1, "sectors {there:b}, then {bytes} bytes");
        }
    }
}

/// The file grows for a record; whatever of that a power loss leaves, it is no corruption.
#[test]
fn a_power_loss_while_the_file_grows_is_survived() {
    for seed in 0..60 {
        for events in 0..8 {
            let disk = sim(seed);
            with_entries(&disk, &[100]);
            let mut wal = sim_block_on(&disk, open_it(Disk::Sim(disk.clone()))).unwrap().wal;
            run_some(&disk, events, async { append(&mut wal, &[payload(&[entry(3, 600_000)])]).await.unwrap() });
            disk.crash(seed);
            let entries = reopen(&disk).unwrap_or_else(|error| panic!("seed {seed}, {events} events: {error}"));
            assert_eq!(entries[0], entry(2, 100));
        }
    }
}

/// Whatever of a torn write lies behind the cut is zeroed, or a record that ends where a block ends would be followed by it.
#[test]
fn what_is_left_behind_a_cut_is_never_read_again() {
    let disk = sim(12);
    with_entries(&disk, &[300]);
    let before = disk.file_bytes(&log_path(dir())).unwrap();
    let fits = sim_block_on(&disk, async {
        let mut wal = open_it(Disk::Sim(disk.clone())).await.unwrap().wal;
        let ends = |bytes: &usize| wal.bytes() + record_bytes(payload(&[entry(3, *bytes)]).len());
        let fits = (5000..10_000).find(|bytes| ends(bytes).is_multiple_of(4096)).unwrap();
        append(&mut wal, &[payload(&[entry(3, fits)]), payload(&[entry(4, 9000)])]).await.unwrap();
        fits
    });
    let mut torn = disk.file_bytes(&log_path(dir())).unwrap();
    let (sector, missing) = (SECTOR_BYTES as usize, 4);
    torn[missing * sector..][..sector].copy_from_slice(&before[missing * sector..][..sector]);
    disk.set_file_bytes(&log_path(dir()), &torn);
    sim_block_on(&disk, async {
        let mut opened = open_it(Disk::Sim(disk.clone())).await.unwrap();
        assert_eq!(opened.tail.last_index(), 2);
        append(&mut opened.wal, &[payload(&[entry(3, fits)])]).await.unwrap();
    });
    assert_eq!(reopen(&disk).unwrap(), [entry(2, 300), entry(3, fits)]);
}

/// Lesson 33: a bit that turns over anywhere is found, or lies where nothing is read.
#[test]
fn a_flipped_bit_in_what_was_flushed_is_refused_or_harmless() {
    let disk = sim(3);
    with_entries(&disk, &[10, 600, 5, 1500, 20]);
    let path = log_path(dir());
    let good = disk.file_bytes(&path).unwrap();
    let expected = reopen(&disk).unwrap();
    let end = good.iter().rposition(|byte| *byte != 0).unwrap() + 100;
    let mut refused = 0;
    for position in 0..end {
        let mut bytes = good.clone();
        bytes[position] ^= 1 << (position % 8);
        disk.set_file_bytes(&path, &bytes);
        match reopen(&disk) {
            Ok(entries) => assert_eq!(entries, expected, "byte {position}"),
            Err(OpenError::Corrupt { path: found, .. }) => {
                assert_eq!(found, path);
                refused += 1;
            }
            Err(other) => panic!("byte {position}: {other}"),
        }
    }
    assert!(refused > 2000, "{refused} of {end}");
}

#[test]
fn a_flushed_record_that_is_gone_is_refused_even_if_its_place_reads_as_zeros() {
    let disk = sim(4);
    with_entries(&disk, &[2000, 2000, 2000, 2000]);
    let path = log_path(dir());
    let good = disk.file_bytes(&path).unwrap();
    let sector = SECTOR_BYTES as usize;
    // Any sector between the first record's and the last record's.
    for at in 1..record_bytes(2000) as usize * 3 / sector {
        let mut bytes = good.clone();
        bytes[at * sector..][..sector].fill(0);
        disk.set_file_bytes(&path, &bytes);
        let error = reopen(&disk).expect_err("corruption");
        assert!(matches!(&error, OpenError::Corrupt { path: found, .. } if *found == path), "{error}");
    }
}

/// Lesson 50: nothing that a voter may have forgotten is made up.
#[test]
fn state_that_is_missing_or_contradicts_itself_is_refused() {
    let refused = |spoil: &dyn Fn(&SimDisk)| {
        let disk = sim(5);
        with_entries(&disk, &[10, 10]);
        spoil(&disk);
        sim_block_on(&disk, open_it(Disk::Sim(disk.clone()))).map(|_| ()).expect_err("refused").to_string()
    };
    let remove = |disk: &SimDisk, path: PathBuf| {
        let on = Disk::Sim(disk.clone());
        sim_block_on(disk, async { on.remove(&path).await.unwrap() });
    };
    let snapshot_1 = snapshot::snapshot_path(dir(), 1);
    assert!(refused(&|disk| remove(disk, log_path(dir()))).contains("votes and entries are missing"));
    assert!(refused(&|disk| remove(disk, snapshot_1.clone())).contains("a log, but no snapshot"));
    assert!(refused(&|disk| _ = disk.flip_bit(&snapshot_1, 40, 1)).contains("checksum"));
    let put = |disk: &SimDisk, held: SnapshotImage| {
        let on = Disk::Sim(disk.clone());
        sim_block_on(disk, async { snapshot::write(&on, dir(), &held).await.unwrap() });
    };
    let image = |version| Image::empty("cluster", [voter()]).skip(version).to_bytes().into();
    let conf = |voters: &[u64]| ConfState::from((voters.to_vec(), Vec::new()));
    let no_voters = SnapshotImage { index: 2, term: 2, conf_state: conf(&[]), image: image(2) };
    assert!(refused(&|disk| put(disk, no_voters.clone())).contains("knows no voters"));
    let other_term = SnapshotImage { index: 3, term: 1, conf_state: conf(&[1]), image: image(3) };
    assert!(refused(&|disk| put(disk, other_term.clone())).contains("entry 3 has term 1"));
    let other_image = SnapshotImage { index: 3, term: 2, conf_state: conf(&[1]), image: image(2) };
    assert!(refused(&|disk| put(disk, other_image.clone())).contains("holds an image at 2"));
    let committed_beyond = |disk: &SimDisk| {
        sim_block_on(disk, async {
            let mut wal = open_it(Disk::Sim(disk.clone())).await.unwrap().wal;
            append(&mut wal, &[LogRecord::of(&state(9), &[entry(4, 5)]).to_payload()]).await.unwrap();
        });
    };
    assert!(refused(&committed_beyond).contains("entry 9 was committed, the log ends with entry 4"));
    let gap = |disk: &SimDisk| {
        sim_block_on(disk, async {
            let mut wal = open_it(Disk::Sim(disk.clone())).await.unwrap().wal;
            append(&mut wal, &[payload(&[entry(7, 5)])]).await.unwrap();
        });
    };
    let committed_again = |disk: &SimDisk| {
        sim_block_on(disk, async {
            let mut wal = open_it(Disk::Sim(disk.clone())).await.unwrap().wal;
            append(&mut wal, &[LogRecord::of(&state(3), &[entry(4, 5)]).to_payload()]).await.unwrap();
            append(&mut wal, &[LogRecord::of(&state(3), &[entry(3, 5)]).to_payload()]).await.unwrap();
        });
    };
    assert!(refused(&committed_again).contains("entry 3 again, though 3 are committed"));
    assert!(refused(&gap).contains("entry 7 after entries 2 to 3"));
}

#[test]
fn another_node_directory_or_cluster_gets_nothing() {
    let disk = sim(6);
    with_entries(&disk, &[10]);
    for stranger in [
        Identity { node_id: BrokerId(7), ..identity() },
        Identity { directory_id: Uuid::from_u64_pair(8, 8), ..identity() },
        Identity { cluster_id: "other".into(), ..identity() },
    ] {
        let on = Disk::Sim(disk.clone());
        let refused = sim_block_on(&disk, open(&on, dir(), &stranger, Some(&[voter()]))).err().expect("refused");
        assert!(matches!(refused, OpenError::Foreign { .. }), "{refused}");
    }
}

#[test]
fn an_empty_directory_is_bootstrapped_only_when_told_to() {
    let disk = sim(7);
    let on = Disk::Sim(disk.clone());
    let refused = sim_block_on(&disk, open(&on, dir(), &identity(), None)).err().expect("refused");
    assert!(matches!(refused, OpenError::Empty { .. }), "{refused}");
    let stranger = Voter { node_id: BrokerId(4), ..voter() };
    assert!(sim_block_on(&disk, open(&on, dir(), &identity(), Some(&[stranger]))).is_err());
    assert_eq!(reopen(&disk).unwrap(), []);
    assert_eq!(sim_block_on(&disk, open(&on, dir(), &identity(), None)).map(|opened| opened.voter).ok(), Some(voter()));
}

#[test]
fn for_want_of_space_nothing_changes_and_later_it_goes_on() {
    let disk = sim(8);
    with_entries(&disk, &[100]);
    sim_block_on(&disk, async {
        let mut opened = open_it(Disk::Sim(disk.clone())).await.unwrap();
        disk.set_capacity_bytes(Some(600 << 10));
        let big: Vec<Entry> = (3..6).map(|index| entry(index, 200 << 10)).collect();
        let mut kept = 1;
        let mut full = 0;
        for entry in &big {
            match opened.wal.reserve(record_bytes(payload(std::slice::from_ref(entry)).len())).await {
                Ok(()) => {
                    opened.wal.append(&[payload(std::slice::from_ref(entry))]).await.unwrap();
                    kept += 1;
                }
                Err(error) => {
                    assert_eq!(error.reason, DiskErrorReason::NoSpace);
                    full += 1;
                    disk.set_capacity_bytes(None);
                    append(&mut opened.wal, &[payload(std::slice::from_ref(entry))]).await.unwrap();
                    kept += 1;
                }
            }
        }
        assert_eq!((kept, full), (4, 1));
    });
    disk.crash(1);
    assert_eq!(reopen(&disk).unwrap().len(), 4);
}

#[test]
fn entries_that_a_new_leader_overwrites_are_void() {
    let disk = sim(9);
    with_entries(&disk, &[10, 20, 30]);
    sim_block_on(&disk, async {
        let mut wal = open_it(Disk::Sim(disk.clone())).await.unwrap().wal;
        let mut other = entry(4, 7);
        other.term = 5;
        let mut later = state(3);
        (later.term, later.vote) = (5, 3);
        append(&mut wal, &[LogRecord::of(&later, &[other]).to_payload()]).await.unwrap();
    });
    let entries = reopen(&disk).unwrap();
    assert_eq!(entries.iter().map(|entry| (entry.index, entry.term)).collect::<Vec<_>>(), [(2, 2), (3, 2), (4, 5)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn garbage_as_a_log_or_a_snapshot_is_an_error(bytes in proptest::collection::vec(any::<u8>(), 1..5000), log in any::<bool>()) {
        let disk = sim(10);
        with_entries(&disk, &[10]);
        let path = if log { log_path(dir()) } else { snapshot::snapshot_path(dir(), 1) };
        disk.set_file_bytes(&path, &bytes);
        prop_assert!(reopen(&disk).is_err());
    }
}

#[test]
fn the_bytes_of_a_log_stay_what_they_are() {
    let disk = sim(11);
    with_entries(&disk, &[3]);
    let bytes = disk.file_bytes(&log_path(dir())).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let hex: String = bytes[..end]
        .chunks(16)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
        .collect();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/metadata/testdata/raft_log.golden"), &hex).unwrap();
    } else {
        assert_eq!(include_str!("../testdata/raft_log.golden"), hex);
    }
}
