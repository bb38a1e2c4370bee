//! What both disks promise, run on both, and what only one can show.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use std::cell::Cell;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Runs the same promises against the machine's disk, in a directory of its own.
fn on_ring<F: Future<Output = ()>>(promises: impl FnOnce(Disk, PathBuf) -> F) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let base = dir.path().to_owned();
    ring_block_on(async move { promises(Disk::Ring, base).await });
}

/// And against the simulated one, under a few seeds.
fn on_sim<F: Future<Output = ()>>(promises: impl Fn(Disk, PathBuf) -> F) {
    for seed in 0..5 {
        let sim = SimDisk::new(seed, SimDiskOptions::default());
        let disk = Disk::Sim(sim.clone());
        sim_block_on(&sim, async {
            disk.create_dir_all(Path::new("/data")).await.unwrap();
            promises(disk.clone(), PathBuf::from("/data")).await;
        });
    }
}

macro_rules! on_both {
    ($($name:ident),* $(,)?) => {
        mod ring {
            $(#[test] fn $name() { super::on_ring(super::$name); })*
        }
        mod sim {
            $(#[test] fn $name() { super::on_sim(super::$name); })*
        }
    };
}

on_both!(
    a_file_reads_back_what_was_written,
    opening_says_what_is_missing_and_what_is_already_there,
    a_read_is_short_only_where_the_file_ends,
    allocated_space_reads_as_zeros_and_counts_as_size,
    a_write_goes_on_when_its_future_is_dropped,
    taking_a_file_over_changes_nothing,
    directories_list_by_name_and_go_with_what_is_in_them,
    a_rename_replaces_and_open_handles_stay_good,
    a_small_file_is_replaced_whole,
    a_lock_is_held_once_and_freed_by_dropping,
    the_file_system_has_room_and_facts,
    what_a_read_brought_can_be_changed_and_written_back,
);

fn filled(bytes: usize, value: u8) -> Rc<IoBuffer> {
    let mut buffer = IoBuffer::zeroed(bytes);
    buffer.fill(value);
    Rc::new(buffer)
}

async fn taking_a_file_over_changes_nothing(disk: Disk, base: PathBuf) {
    let path = base.join("log");
    let file = disk.open(&path, OpenMode::CreateNew).await.unwrap();
    assert_eq!(disk.open(&path, OpenMode::TakeOver).await.unwrap().size().await, Ok(0));
    file.write_at(filled(2 * BLOCK_BYTES, 1), 0).await.unwrap();
    let file = disk.open(&path, OpenMode::TakeOver).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 2 * BLOCK);
    assert!(file.read_at(0, 2 * BLOCK_BYTES).await.unwrap().iter().all(|&byte| byte == 1));
}

async fn a_file_reads_back_what_was_written(disk: Disk, base: PathBuf) {
    let path = base.join("log");
    let file = disk.open(&path, OpenMode::CreateNew).await.unwrap();
    assert_eq!(file.path(), path);
    file.write_at(filled(3 * BLOCK_BYTES, 1), 0).await.unwrap();
    file.write_at(filled(BLOCK_BYTES, 2), BLOCK).await.unwrap();
    file.flush().await.unwrap();
    assert_eq!(file.size().await.unwrap(), 3 * BLOCK);
    file.close().await.unwrap();
    let file = disk.open(&path, OpenMode::Read).await.unwrap();
    let read = file.read_at(0, 3 * BLOCK_BYTES).await.unwrap();
    for (block, value) in [1, 2, 1].into_iter().enumerate() {
        assert!(read[block * BLOCK_BYTES..][..BLOCK_BYTES].iter().all(|&byte| byte == value), "block {block}");
    }
    assert!(file.write_at(filled(BLOCK_BYTES, 2), 0).await.is_err(), "opened to read only");
}

async fn opening_says_what_is_missing_and_what_is_already_there(disk: Disk, base: PathBuf) {
    let path = base.join("log");
    let missing = disk.open(&path, OpenMode::Write).await.err().unwrap();
    assert_eq!((missing.operation, missing.reason), ("open", DiskErrorReason::NotFound));
    assert_eq!(missing.path, path);
    disk.open(&path, OpenMode::CreateNew).await.unwrap();
    let there = disk.open(&path, OpenMode::CreateNew).await.err().unwrap();
    assert!(matches!(there.reason, DiskErrorReason::Io(_)), "{there}");
    assert!(disk.open(&base.join("no/log"), OpenMode::CreateNew).await.is_err());
    assert!(disk.exists(&path).await.unwrap());
    assert!(!disk.exists(&base.join("no")).await.unwrap());
}

async fn a_read_is_short_only_where_the_file_ends(disk: Disk, base: PathBuf) {
    let file = disk.open(&base.join("log"), OpenMode::CreateNew).await.unwrap();
    assert!(file.read_at(0, BLOCK_BYTES).await.unwrap().is_empty());
    file.write_at(filled(2 * BLOCK_BYTES, 5), 0).await.unwrap();
    assert_eq!(file.read_at(BLOCK, 4 * BLOCK_BYTES).await.unwrap().len(), BLOCK_BYTES);
    file.set_size(BLOCK + 100).await.unwrap();
    let read = file.read_at(BLOCK, BLOCK_BYTES).await.unwrap();
    assert_eq!(&read[..], [5; 100]);
    assert!(file.read_at(2 * BLOCK, BLOCK_BYTES).await.unwrap().is_empty());
    file.set_size(2 * BLOCK).await.unwrap();
    let read = file.read_at(BLOCK, BLOCK_BYTES).await.unwrap();
    assert!(read[..100].iter().all(|&byte| byte == 5) && read[100..].iter().all(|&byte| byte == 0));
}

async fn allocated_space_reads_as_zeros_and_counts_as_size(disk: Disk, base: PathBuf) {
    let file = disk.open(&base.join("log"), OpenMode::CreateNew).await.unwrap();
    file.allocate(4 * BLOCK).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 4 * BLOCK);
    file.write_at(filled(BLOCK_BYTES, 9), 2 * BLOCK).await.unwrap();
    let read = file.read_at(0, 4 * BLOCK_BYTES).await.unwrap();
    assert!(read[..2 * BLOCK_BYTES].iter().all(|&byte| byte == 0));
    assert!(read[2 * BLOCK_BYTES..3 * BLOCK_BYTES].iter().all(|&byte| byte == 9));
    file.allocate(BLOCK).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 4 * BLOCK, "allocating never cuts");
}

async fn a_write_goes_on_when_its_future_is_dropped(disk: Disk, base: PathBuf) {
    let file = disk.open(&base.join("log"), OpenMode::CreateNew).await.unwrap();
    file.write_at(filled(BLOCK_BYTES, 1), 0).await.unwrap();
    let polled = Cell::new(false);
    {
        let mut write = std::pin::pin!(file.write_at(filled(BLOCK_BYTES, 2), 0));
        std::future::poll_fn(|context| {
            polled.set(write.as_mut().poll(context).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
    }
    assert!(polled.get(), "it was under way when it was dropped");
    disk.drained().await;
    assert!(file.read_at(0, BLOCK_BYTES).await.unwrap().iter().all(|&byte| byte == 2));
}

async fn directories_list_by_name_and_go_with_what_is_in_them(disk: Disk, base: PathBuf) {
    let dir = base.join("a/b/c");
    disk.create_dir_all(&dir).await.unwrap();
    disk.create_dir_all(&dir).await.unwrap();
    for name in ["z", "m"] {
        let file = disk.open(&dir.join(name), OpenMode::CreateNew).await.unwrap();
        file.write_at(filled(BLOCK_BYTES, 1), 0).await.unwrap();
    }
    disk.create_dir_all(&dir.join("d")).await.unwrap();
    disk.sync_dir(&dir).await.unwrap();
    let entries = disk.list(&dir).await.unwrap();
    let found: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.is_dir, entry.bytes)).collect();
    assert_eq!(found, [("d", true, 0), ("m", false, BLOCK), ("z", false, BLOCK)]);
    disk.remove(&dir.join("z")).await.unwrap();
    assert_eq!(disk.remove(&dir.join("z")).await.unwrap_err().reason, DiskErrorReason::NotFound);
    assert_eq!(disk.list(&dir).await.unwrap().len(), 2);
    disk.remove_dir_all(&base.join("a/b")).await.unwrap();
    assert_eq!(disk.list(&base.join("a")).await.unwrap(), []);
    assert_eq!(disk.list(&dir).await.unwrap_err().reason, DiskErrorReason::NotFound);
    assert_eq!(disk.sync_dir(&dir).await.unwrap_err().reason, DiskErrorReason::NotFound);
    assert_eq!(disk.remove_dir_all(&dir).await.unwrap_err().reason, DiskErrorReason::NotFound);
}

async fn a_rename_replaces_and_open_handles_stay_good(disk: Disk, base: PathBuf) {
    let (from, to) = (base.join("prepared.log"), base.join("0.log"));
    let file = disk.open(&from, OpenMode::CreateNew).await.unwrap();
    let old = disk.open(&to, OpenMode::CreateNew).await.unwrap();
    old.write_at(filled(BLOCK_BYTES, 1), 0).await.unwrap();
    disk.rename(&from, &to).await.unwrap();
    disk.sync_dir(&base).await.unwrap();
    assert!(!disk.exists(&from).await.unwrap());
    file.write_at(filled(BLOCK_BYTES, 2), 0).await.unwrap();
    assert!(old.read_at(0, BLOCK_BYTES).await.unwrap().iter().all(|&byte| byte == 1), "the replaced one lives on");
    let reopened = disk.open(&to, OpenMode::Read).await.unwrap();
    assert!(reopened.read_at(0, BLOCK_BYTES).await.unwrap().iter().all(|&byte| byte == 2));
    disk.remove(&to).await.unwrap();
    assert!(reopened.read_at(0, BLOCK_BYTES).await.unwrap().iter().all(|&byte| byte == 2));
    assert_eq!(disk.rename(&from, &to).await.unwrap_err().reason, DiskErrorReason::NotFound);
    disk.create_dir_all(&base.join("t-0/x")).await.unwrap();
    disk.rename(&base.join("t-0"), &base.join("t-0.stray")).await.unwrap();
    assert!(disk.exists(&base.join("t-0.stray/x")).await.unwrap());
}

async fn a_small_file_is_replaced_whole(disk: Disk, base: PathBuf) {
    let path = base.join("meta.properties");
    assert_eq!(disk.read_small(&path).await.unwrap_err().reason, DiskErrorReason::NotFound);
    for contents in [b"version=1\n".to_vec(), Vec::new(), vec![3; 3 * BLOCK_BYTES + 7]] {
        disk.replace_small(&path, &contents).await.unwrap();
        assert_eq!(disk.read_small(&path).await.unwrap(), contents);
    }
    assert_eq!(disk.list(&base).await.unwrap().len(), 1, "nothing is left over");
}

async fn a_lock_is_held_once_and_freed_by_dropping(disk: Disk, base: PathBuf) {
    let path = base.join(".lock");
    let held = disk.lock(&path).await.unwrap();
    let refused = disk.lock(&path).await.err().unwrap();
    let text = refused.to_string();
    assert!(text.contains(".lock") && text.contains("held by"), "{text}");
    drop(held);
    disk.lock(&path).await.unwrap();
}

async fn the_file_system_has_room_and_facts(disk: Disk, base: PathBuf) {
    assert!(disk.free_bytes(&base).await.unwrap() > 0);
    let facts = disk.fs_facts(&base).await.unwrap();
    assert!(!facts.reason.is_empty());
    assert!(disk.fs_facts(&base.join("no")).await.is_err());
    let file = disk.open(&base.join("file"), OpenMode::CreateNew).await.unwrap();
    let dir = std::fs::metadata(&base).map(|found| std::os::unix::fs::MetadataExt::dev(&found));
    let device = dir.map_or((0, 0), |device| (libc::major(device), libc::minor(device)));
    assert_eq!(file.device(), device, "where its directory is");
}

async fn what_a_read_brought_can_be_changed_and_written_back(disk: Disk, base: PathBuf) {
    let file = disk.open(&base.join("log"), OpenMode::CreateNew).await.unwrap();
    file.write_at(filled(2 * BLOCK_BYTES, 1), 0).await.unwrap();
    let mut read = file.read_at(0, 2 * BLOCK_BYTES).await.unwrap();
    read[7] = 2;
    read.trim(BLOCK_BYTES);
    file.write_at(Rc::new(read), 0).await.unwrap();
    let unchanged = file.read_at(BLOCK, BLOCK_BYTES).await.unwrap();
    file.write_at(Rc::new(unchanged), 0).await.unwrap();
    assert!(file.read_at(0, BLOCK_BYTES).await.unwrap().iter().all(|&byte| byte == 1));
}

#[test]
fn many_operations_at_once_all_end() {
    on_ring(async |disk: Disk, base: PathBuf| {
        let file = disk.open(&base.join("log"), OpenMode::CreateNew).await.unwrap();
        let writes = (0..200).map(|block| {
            let file = file.clone();
            async move { file.write_at(filled(BLOCK_BYTES, block as u8), block * BLOCK).await }
        });
        futures_util::future::try_join_all(writes).await.unwrap();
        for block in 0..200 {
            let read = file.read_at(block * BLOCK, BLOCK_BYTES).await.unwrap();
            assert!(read.iter().all(|&byte| byte == block as u8), "block {block}");
        }
    });
}

#[test]
fn a_file_that_vanishes_while_it_is_opened_is_an_error_or_an_open_file() {
    on_ring(async |disk: Disk, base: PathBuf| {
        for _ in 0..50 {
            let path = base.join("log");
            disk.open(&path, OpenMode::CreateNew).await.unwrap();
            let (opened, removed) = futures_util::join!(disk.open(&path, OpenMode::Read), disk.remove(&path));
            removed.unwrap();
            if let Err(error) = opened {
                assert_eq!(error.reason, DiskErrorReason::NotFound);
            }
        }
    });
}
