//! The journal on the simulated disk, and its bytes.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::record::decode;
use super::*;
use crate::disk::{BLOCK_BYTES, Fault, FaultOn, SimDisk, SimDiskOptions, sim_block_on};
use crate::epochs::EpochCache;
use crate::ids::{LeaderEpoch, TopicId};
use proptest::prelude::*;
use uuid::Uuid;

const DIR: &str = "/data";
const BYTES: u64 = 8 * BLOCK_BYTES as u64;

fn new_disk(seed: u64) -> (SimDisk, Disk) {
    let sim = SimDisk::new(seed, SimDiskOptions::default());
    (sim.clone(), Disk::Sim(sim))
}

fn id(partition: i32) -> PartitionId {
    PartitionId { topic_id: TopicId(Uuid::from_u128(1)), partition }
}

fn begin(epoch: i32, start_offset: i64) -> EpochChange {
    EpochChange::Begin { epoch: LeaderEpoch(epoch), start_offset }
}

fn cut(end_offset: i64) -> EpochChange {
    EpochChange::Cut { end_offset }
}

async fn replayed(disk: &Disk) -> Replayed {
    replay(disk, Path::new(DIR)).await.unwrap()
}

async fn new_journal(disk: &Disk, carried: EpochChanges) -> EpochJournal {
    let generation = replayed(disk).await.generation;
    journal_of(disk, generation, 0, BYTES, carried).await
}

/// A journal that has its file.
async fn journal_of(disk: &Disk, generation: u64, number: u32, bytes: u64, carried: EpochChanges) -> EpochJournal {
    disk.create_dir_all(&dir_of(Path::new(DIR))).await.unwrap();
    let journal = EpochJournal::new(disk, Path::new(DIR), generation, number, bytes, carried);
    journal.make_file().await.unwrap();
    journal
}

#[test]
fn the_bytes_of_a_record_are_these() {
    let records = [(id(2), begin(3, 0x0102)), (id(2), cut(7))];
    let bytes = encode(&records);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let topic = "00000000000000000000000000000001";
    let golden = [
        format!("1c9cd55201000000{topic}00000002000000030000000000000102"),
        format!("a3aad37602000000{topic}00000002ffffffff0000000000000007"),
    ];
    assert_eq!(hex, golden.concat());
    let read: Vec<_> = bytes.chunks(RECORD_BYTES).map_while(decode).collect();
    assert_eq!(read, records);
}

#[test]
fn no_damaged_record_is_read() {
    let good = encode(&[(id(0), begin(1, 9))]);
    for bit in 0..RECORD_BYTES * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode(&bad), None, "bit {bit}");
    }
    assert_eq!(decode(&[0; RECORD_BYTES]), None);
    assert_eq!(decode(&good[..39]), None);
}

#[test]
fn what_was_answered_survives_every_crash() {
    for seed in 0..60 {
        let (sim, disk) = new_disk(seed);
        sim_block_on(&sim, async {
            let journal = new_journal(&disk, EpochChanges::new()).await;
            let marks = (0..3).map(|round| journal.queue((0..150).map(|p| (id(p), begin(round, round.into())))));
            let all = marks.map(|mark| journal.durable(mark));
            futures_util::future::try_join_all(all).await.unwrap();
            journal.queue([(id(0), begin(9, 9))]);
        });
        sim.crash(seed);
        let replayed = sim_block_on(&sim, replayed(&disk));
        assert_eq!(replayed.damage, Vec::<String>::new());
        assert_eq!(replayed.changes.len(), 150);
        for changes in replayed.changes.values() {
            assert_eq!(changes[..3], [begin(0, 0), begin(1, 1), begin(2, 2)]);
        }
    }
}

#[test]
fn a_thousand_epochs_take_one_write_and_one_flush() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let journal = journal_of(&disk, 1, 0, 1 << 20, EpochChanges::new()).await;
        sim.fail(Fault::every(FaultOn::Write, "").after(1));
        sim.fail(Fault::every(FaultOn::Flush, "").after(1));
        let mark = journal.queue((0..1000).map(|partition| (id(partition), begin(1, 0))));
        let (one, other) = futures_util::join!(journal.durable(mark), journal.durable(mark));
        one.and(other).unwrap();
    });
}

#[test]
fn a_crash_within_a_write_loses_nothing_answered_and_is_no_damage() {
    for seed in 0..60 {
        let (sim, disk) = new_disk(seed);
        let journal = sim_block_on(&sim, async {
            let journal = new_journal(&disk, EpochChanges::new()).await;
            let mark = journal.queue((0..30).map(|partition| (id(partition), begin(1, 0))));
            journal.durable(mark).await.unwrap();
            journal
        });
        let mark = journal.queue((0..500).map(|partition| (id(partition), begin(2, 5))));
        let mut write = Box::pin(journal.durable(mark));
        assert!(write.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending());
        sim.crash(seed);
        drop(write);
        let replayed = sim_block_on(&sim, replayed(&disk));
        assert_eq!(replayed.damage, Vec::<String>::new());
        assert!((0..30).all(|partition| replayed.changes[&id(partition)][0] == begin(1, 0)), "seed {seed}");
    }
}

#[test]
fn a_full_journal_keeps_what_no_checkpoint_holds() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let journal = new_journal(&disk, EpochChanges::new()).await;
        let kept = journal.queue([(id(500), begin(1, 1)), (id(501), begin(1, 1))]);
        journal.durable(kept).await.unwrap();
        journal.forget(id(501));
        for epoch in 1..2000 {
            let mark = journal.queue([(id(epoch % 3), begin(epoch, epoch.into()))]);
            journal.durable(mark).await.unwrap();
            journal.checkpointed(id(epoch % 3), mark);
        }
        assert_eq!(journal.live_partitions(), [id(500)]);
        let bytes = disk.list(&Path::new(DIR).join("epochs")).await.unwrap()[0].bytes;
        assert!(bytes <= 128 << 10, "{bytes} bytes");
    });
    sim.crash(1);
    let replayed = sim_block_on(&sim, replayed(&disk));
    assert_eq!(replayed.changes[&id(500)], [begin(1, 1)]);
    assert!(!replayed.changes.contains_key(&id(501)));
    assert_eq!(replayed.changes[&id(1999 % 3)].last(), Some(&begin(1999, 1999)));
}

#[test]
fn a_journal_grows_when_more_is_live_than_it_was_made_for() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let journal = new_journal(&disk, EpochChanges::new()).await;
        for partition in 0..5000 {
            journal.queue([(id(partition), begin(1, 1))]);
        }
        journal.durable(journal.mark()).await.unwrap();
    });
    sim.crash(1);
    assert_eq!(sim_block_on(&sim, replayed(&disk)).changes.len(), 5000);
}

#[test]
fn the_shard_count_may_change_between_starts() {
    let (sim, disk) = new_disk(1);
    let path = Path::new(DIR);
    sim_block_on(&sim, async {
        for shard in 0..3 {
            let journal = journal_of(&disk, 1, shard, BYTES, EpochChanges::new()).await;
            let mark = journal.queue([(id(shard as i32), begin(1, 0))]);
            journal.durable(mark).await.unwrap();
        }
    });
    sim.crash(1);
    sim_block_on(&sim, async {
        let first = replayed(&disk).await;
        assert_eq!((first.changes.len(), first.generation), (3, 2));
        let journal = journal_of(&disk, 2, 0, BYTES, first.changes).await;
        let again = replayed(&disk).await;
        assert_eq!(again.changes.len(), 3, "both generations say the same");
        remove_replayed(&disk, path, 2).await.unwrap();
        let mark = journal.queue([(id(0), cut(0)), (id(0), begin(2, 0))]);
        journal.durable(mark).await.unwrap();
    });
    sim.crash(2);
    let last = sim_block_on(&sim, replayed(&disk));
    assert_eq!(last.changes[&id(0)], [cut(0), begin(2, 0)]);
    assert_eq!((last.changes[&id(2)].as_slice(), last.generation), ([begin(1, 0)].as_slice(), 3));
}

#[test]
fn a_failed_write_is_final_and_a_full_disk_is_not() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let journal = new_journal(&disk, EpochChanges::new()).await;
        let mark = journal.queue((0..3000).map(|partition| (id(partition), begin(1, 0))));
        sim.set_capacity_bytes(Some(BYTES));
        assert_eq!(journal.durable(mark).await.unwrap_err().reason, DiskErrorReason::NoSpace);
        sim.set_capacity_bytes(None);
        journal.durable(mark).await.unwrap();
        sim.fail(Fault::next(FaultOn::Flush, "epochs"));
        let mark = journal.queue([(id(0), begin(2, 0))]);
        let error = journal.durable(mark).await.unwrap_err();
        assert_eq!(error.operation, "flush");
        assert_eq!(
            journal.durable(mark).await.unwrap_err(),
            error,
            "the disk is well again, but nobody knows what it lost"
        );
    });
}

#[test]
fn a_start_on_a_full_disk_keeps_what_earlier_ones_wrote_and_makes_its_file_when_there_is_space() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let journal = new_journal(&disk, EpochChanges::new()).await;
        journal.durable(journal.queue([(id(0), begin(1, 0))])).await.unwrap();
    });
    sim.kill(1);
    sim_block_on(&sim, async {
        let before = replayed(&disk).await;
        let journal = EpochJournal::new(&disk, Path::new(DIR), before.generation, 0, BYTES, before.changes);
        journal.durable(journal.mark()).await.expect("what is carried over is durable");
        let room = 3 * BLOCK_BYTES as u64;
        sim.set_capacity_bytes(Some(sim.used_bytes() + room));
        let mark = journal.queue([(id(1), begin(2, 5))]);
        assert_eq!(journal.queue([(id(1), begin(2, 5))]), mark, "who tries again waits for the same");
        for error in [journal.make_file().await.unwrap_err(), journal.durable(mark).await.unwrap_err()] {
            assert_eq!(error.reason, DiskErrorReason::NoSpace);
        }
        assert_eq!(disk.free_bytes(Path::new(DIR)).await, Ok(room), "half a file takes nothing");
        assert_eq!(replayed(&disk).await.changes[&id(0)], [begin(1, 0)]);
        sim.set_capacity_bytes(None);
        journal.make_file().await.unwrap();
        journal.durable(mark).await.unwrap();
        remove_replayed(&disk, Path::new(DIR), before.generation).await.unwrap();
    });
    sim.crash(1);
    let changes = sim_block_on(&sim, replayed(&disk)).changes;
    assert_eq!((changes[&id(0)].as_slice(), changes[&id(1)].as_slice()), (&[begin(1, 0)][..], &[begin(2, 5)][..]));
}

#[test]
fn damage_is_told_and_a_torn_end_is_not() {
    let (sim, disk) = new_disk(1);
    let path = Path::new(DIR).join("epochs/00000000000000000001-0000");
    sim_block_on(&sim, async {
        let journal = journal_of(&disk, 1, 0, 1 << 20, EpochChanges::new()).await;
        for round in 0..3 {
            let mark = journal.queue((0..1500).map(|partition| (id(partition), begin(round, round.into()))));
            journal.durable(mark).await.unwrap();
        }
    });
    let whole = sim.file_bytes(&path).unwrap();
    let damage = |position: u64| {
        sim.set_file_bytes(&path, &whole);
        sim.flip_bit(&path, position, 0);
        sim_block_on(&sim, replayed(&disk)).damage
    };
    assert!(damage(BLOCK_BYTES as u64 + 40 * 100)[0].contains("record 100 is damaged"));
    assert!(damage(3)[0].contains("header"));
    assert_eq!(damage(BLOCK_BYTES as u64 + 40 * 4000), Vec::<String>::new(), "as a torn last write would look");
}

/// A change, as a log makes them: epochs rise.
fn histories() -> impl Strategy<Value = Vec<(bool, i64)>> {
    proptest::collection::vec((any::<bool>(), 0..50_i64), 0..30)
}

proptest! {
    #[test]
    fn replaying_changes_onto_any_later_checkpoint_gives_the_same_epochs(
        history in histories(), split in any::<prop::sample::Index>(), from in any::<prop::sample::Index>(),
    ) {
        let changes: Vec<_> = (1..).zip(&history).map(|(epoch, (is_cut, offset))| {
            if *is_cut { cut(*offset) } else { begin(epoch, *offset) }
        }).collect();
        let apply = |cache: &mut EpochCache, changes: &[EpochChange]| for change in changes {
            match *change {
                EpochChange::Begin { epoch, start_offset } => cache.assign(epoch, start_offset),
                EpochChange::Cut { end_offset } => cache.truncate_from_end(end_offset),
            }
        };
        let mut whole = EpochCache::default();
        apply(&mut whole, &changes);
        // A checkpoint after `split` changes, a journal that holds those after `from`, less what it needn't keep.
        let split = split.index(changes.len() + 1);
        let from = from.index(split + 1);
        let mut cache = EpochCache::default();
        apply(&mut cache, &changes[..split]);
        let mut kept = Vec::new();
        changes[from..].iter().for_each(|change| change.append_to(&mut kept));
        apply(&mut cache, &kept);
        prop_assert_eq!(cache, whole);
    }
}

/// Recovery reads again what lies above the checkpoint, and with it the epochs that the cut had ended.
#[test]
fn a_cut_that_a_crash_undid_takes_no_epoch_away_at_the_start_after_the_next() {
    let epochs = |entries: &[(i32, i64)]| EpochCache::new(entries.iter().map(|(epoch, at)| (LeaderEpoch(*epoch), *at)));
    let mut changes = vec![begin(1, 0), cut(10)];
    let recovered = epochs(&[(1, 0), (3, 10), (4, 12)]);
    let undone = undone(&changes, &recovered);
    assert_eq!(undone, [begin(3, 10), begin(4, 12)]);
    undone.into_iter().for_each(|change| change.append_to(&mut changes));
    let mut next = recovered.clone();
    changes.iter().for_each(|change| change.apply(&mut next));
    assert_eq!(next, recovered);
    assert_eq!(super::undone(&changes, &recovered), []);
}
