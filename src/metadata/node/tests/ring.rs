//! On the machine's own disk and executor.

use std::time::{Duration, Instant};

use storage::disk::Disk;

use super::world::{create, created, options, registration};
use crate::metadata::node::Node;
use crate::rt::run_alone;

/// Prints what a commit takes here: `cargo test -p chronik --lib ring -- --nocapture`.
#[test]
fn a_node_on_a_real_disk_starts_commits_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("metadata");
    for start in 0..2 {
        let dir = dir.clone();
        run_alone(move |rt| async move {
            let begun = Instant::now();
            let node = Node::open(rt.clone(), Disk::Ring, &dir, options()).await.unwrap();
            assert!(node.caught_up().await);
            let led_after = begun.elapsed();
            assert_eq!(node.image().topic_count(), start * 50);
            node.submit(registration(0)).await.unwrap();
            let mut latencies: Vec<Duration> = Vec::new();
            for n in 0..50 {
                let begun = Instant::now();
                let reply = node.submit(create([format!("t{start}-{n}")])).await.unwrap();
                latencies.push(begun.elapsed());
                assert_eq!(created(&reply), Ok(()));
            }
            latencies.sort_unstable();
            println!(
                "start {start}: leads after {led_after:?}, commit p50 {:?}, max {:?}",
                latencies[25], latencies[49]
            );
            node.stop().await;
            Disk::Ring.drained().await;
        })
        .unwrap();
    }
}
