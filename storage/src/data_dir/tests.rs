//! Data directories on the simulated disk.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::partitions::SetAside;
use super::*;
use crate::disk::{OpenMode, SimDisk, SimDiskOptions, sim_block_on};
use crate::ids::{PartitionId, TopicId};
use uuid::Uuid;

const DIR: &str = "/var/lib/chronik";

fn new_disk(seed: u64) -> (SimDisk, Disk) {
    let sim = SimDisk::new(seed, SimDiskOptions::default());
    (sim.clone(), Disk::Sim(sim))
}

fn identity() -> Identity {
    Identity { cluster_id: Some("c1".to_owned()), node_id: 1, directory_id: Uuid::from_u128(7) }
}

fn partition(topic: u128, partition: i32) -> PartitionId {
    PartitionId { topic_id: TopicId(Uuid::from_u128(topic)), partition }
}

async fn open(disk: &Disk) -> Result<DataDir, DataDirError> {
    DataDir::open(disk, Path::new(DIR), &identity()).await
}

fn refusal(outcome: Result<DataDir, DataDirError>) -> String {
    outcome.err().expect("it is refused").to_string()
}

#[test]
fn a_directory_keeps_its_id_and_refuses_others() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        drop(open(&disk).await.unwrap());
        let path = Path::new(DIR);
        let later = Identity { directory_id: Uuid::from_u128(8), cluster_id: None, ..identity() };
        let again = DataDir::open(&disk, path, &later).await.unwrap();
        assert_eq!(again.identity(), &identity());
        drop(again);
        let other = Identity { node_id: 2, ..identity() };
        let text = refusal(DataDir::open(&disk, path, &other).await);
        assert_eq!(text, format!("{DIR}/meta.properties: it belongs to broker 1, this is broker 2"));
        let text = refusal(DataDir::open(&disk, Path::new("data"), &identity()).await);
        assert!(text.contains("absolute"), "{text}");
    });
}

#[test]
fn a_directory_is_used_by_one_process() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let first = open(&disk).await.unwrap();
        assert!(first.holds_lock());
        assert!(refusal(open(&disk).await).contains("held by another process"));
        let shard = DataDir::attach(&disk, first.path(), first.identity());
        assert!(!shard.holds_lock() && shard.partitions_path() == first.partitions_path());
        drop(first);
        open(&disk).await.unwrap();
    });
}

#[test]
fn a_directory_inside_or_around_another_is_refused_and_nothing_is_made() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        drop(open(&disk).await.unwrap());
        let inner = Path::new(DIR).join("partitions/x/y");
        let text = refusal(DataDir::open(&disk, &inner, &identity()).await);
        assert!(text.contains("lies inside data directory /var/lib/chronik:"), "{text}");
        assert!(!disk.exists(inner.parent().unwrap()).await.unwrap());
        let text = refusal(DataDir::open(&disk, Path::new("/var/lib"), &identity()).await);
        assert!(text.contains("lies inside data directory /var/lib:"), "{text}");
    });
}

#[test]
fn partitions_without_meta_properties_are_not_taken_over() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let dir = open(&disk).await.unwrap();
        dir.create_partition("t", partition(1, 0)).await.unwrap();
        disk.remove(&dir.path().join("meta.properties")).await.unwrap();
        drop(dir);
        assert!(refusal(open(&disk).await).contains("no meta.properties"));
    });
}

#[test]
fn a_broker_joins_one_cluster_and_stays_in_it() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let alone = Identity { cluster_id: None, ..identity() };
        let mut dir = DataDir::open(&disk, Path::new(DIR), &alone).await.unwrap();
        dir.join_cluster("c1").await.unwrap();
        dir.join_cluster("c1").await.unwrap();
        assert!(dir.join_cluster("c2").await.unwrap_err().to_string().contains("belongs to cluster c1"));
    });
    sim.crash(1);
    assert_eq!(sim_block_on(&sim, open(&disk)).unwrap().identity(), &identity());
}

#[test]
fn a_crash_while_a_directory_is_made_leaves_one_that_can_be_opened() {
    for seed in 0..80 {
        let (sim, disk) = new_disk(seed);
        let mut made = Box::pin(async {
            let dir = open(&disk).await.unwrap();
            dir.create_partition("t", partition(1, 0)).await.unwrap();
        });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut done = false;
        for _ in 0..seed % 50 {
            done = done || made.as_mut().poll(&mut context).is_ready();
            if let Some(due_ns) = sim.next_due() {
                sim.run_due(due_ns);
            }
        }
        drop(made);
        sim.crash(seed);
        let dirs = sim_block_on(&sim, async {
            let dir = open(&disk).await.unwrap();
            dir.create_partition("t", partition(1, 0)).await.unwrap();
            dir.partition_dirs().await.unwrap()
        });
        assert_eq!(dirs.len(), 1, "seed {seed}");
    }
}

#[test]
fn partitions_are_found_by_the_id_in_them() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let dir = open(&disk).await.unwrap();
        let path = dir.create_partition("a-b", partition(1, 12)).await.unwrap();
        assert_eq!(path, Path::new(DIR).join("partitions/a-b-12"));
        let text = disk.read_small(&path.join("partition.metadata")).await.unwrap();
        assert_eq!(text, b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n");
        assert_eq!(dir.create_partition("a-b", partition(1, 12)).await, Ok(path.clone()));
        let occupied = dir.create_partition("a-b", partition(2, 12)).await;
        assert_eq!(occupied, Err(DataDirError::Occupied(path.clone())));
        for name in ["lost+found", "x", "x-", "x-01", "x-+1", "x-99999999999"] {
            disk.create_dir_all(&dir.partitions_path().join(name)).await.unwrap();
        }
        disk.create_dir_all(&dir.partitions_path().join("half-0")).await.unwrap();
        let found = dir.partition_dirs().await.unwrap();
        let seen: Vec<_> = found.iter().map(|dir| (dir.topic.as_str(), dir.partition, dir.topic_id)).collect();
        assert_eq!(seen, [("a-b", 12, Some(partition(1, 12).topic_id)), ("half", 0, None)]);
        for name in ["", "..", "a/b", "a b", &"x".repeat(250)] {
            let refused = dir.create_partition(name, partition(1, 0)).await;
            assert_eq!(refused, Err(DataDirError::TopicName(name.to_owned())));
        }
    });
}

#[test]
fn records_under_an_unreadable_id_are_nobodys() {
    let (sim, disk) = new_disk(1);
    sim_block_on(&sim, async {
        let dir = open(&disk).await.unwrap();
        let path = dir.create_partition("t", partition(1, 0)).await.unwrap();
        disk.open(&path.join("00000000000000000000.log"), OpenMode::CreateNew).await.unwrap();
        disk.replace_small(&path.join("partition.metadata"), b"version: 0\n").await.unwrap();
        assert_eq!(dir.partition_dirs().await.unwrap()[0].topic_id, None);
        assert!(dir.create_partition("t", partition(1, 0)).await.is_err());
    });
}

#[test]
fn what_is_set_aside_is_gone_from_the_list_at_once_and_from_the_disk_later() {
    let (sim, disk) = new_disk(1);
    let aside = sim_block_on(&sim, async {
        let dir = open(&disk).await.unwrap();
        let long = "x".repeat(249);
        let mut aside = Vec::new();
        for (topic, why) in [("t", SetAside::Stray), (long.as_str(), SetAside::Stray), ("d", SetAside::Delete)] {
            let path = dir.create_partition(topic, partition(1, 0)).await.unwrap();
            aside.push(dir.set_aside(&path, why, 1000, 5).await.unwrap());
        }
        assert_eq!(dir.partition_dirs().await.unwrap(), []);
        let name = aside[0].file_name().unwrap().to_str().unwrap();
        assert_eq!(name, "t-0.00000000000003e80000000000000005-stray");
        assert_eq!(aside[1].file_name().unwrap().len(), 255);
        aside
    });
    sim.crash(3);
    sim_block_on(&sim, async {
        let dir = open(&disk).await.unwrap();
        assert_eq!(dir.partition_dirs().await.unwrap(), [], "it was durable");
        assert_eq!(dir.remove_set_aside(SetAside::Stray, 999).await.unwrap(), 0);
        assert_eq!(dir.remove_set_aside(SetAside::Stray, 1000).await.unwrap(), 2);
        assert!(!disk.exists(&aside[0]).await.unwrap() && disk.exists(&aside[2]).await.unwrap());
        assert_eq!(dir.remove_set_aside(SetAside::Delete, i64::MAX).await.unwrap(), 1);
    });
}

#[test]
fn leftovers_of_replacements_go_at_the_next_start() {
    let (sim, disk) = new_disk(1);
    sim.set_file_bytes(&Path::new(DIR).join("meta.properties.tmp"), b"half");
    sim_block_on(&sim, async {
        open(&disk).await.unwrap();
        assert!(!disk.exists(&Path::new(DIR).join("meta.properties.tmp")).await.unwrap());
    });
}
