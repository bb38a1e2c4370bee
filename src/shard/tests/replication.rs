//! Replicas on brokers that crash, over streams that break.

use std::time::Duration;

use super::cluster::Cluster;
use crate::message::ProduceError;
use crate::partition::Acks;

#[test]
fn what_is_acknowledged_is_flushed_by_all_that_are_in_sync() {
    for seed in 0..10 {
        let cluster = Cluster::new(seed, &[1, 1, 1]);
        cluster.create_topic(1, 1, &[("min.insync.replicas", "2")]);
        cluster.until_led(1, 0);
        for number in 1..=20 {
            let acknowledged = cluster.produce(1, 0, &[number as u8; 300], Acks::All).expect("all are there");
            assert_eq!(acknowledged.base_offset, number - 1);
            for broker in 1..=3 {
                let [_, _, flushed_end, _] = cluster.ladder(broker, 0).expect("it is open");
                assert!(flushed_end >= number, "seed {seed}: broker {broker} has flushed up to {flushed_end}");
            }
        }
        cluster.settle(0);
        assert_eq!(cluster.committed(), Vec::<Vec<i32>>::new(), "nobody left");
        assert_eq!(cluster.produce(2, 0, b"", Acks::All), Err(ProduceError::NotLeader));
        cluster.pass(Duration::from_secs(30));
        assert_eq!(cluster.committed(), Vec::<Vec<i32>>::new(), "an idle partition stays in sync");
    }
}

/// Lesson 25, KIP-101, KIP-279: an old leader comes back with a tail that nobody else has.
#[test]
fn an_old_leaders_tail_goes_and_the_logs_are_the_same() {
    for seed in 0..6 {
        for loses_power in [false, true] {
            let mut cluster = Cluster::new(seed, &[1, 2, 3]);
            cluster.create_topic(2, 1, &[]);
            for partition in 0..2 {
                cluster.until_led(1, partition);
                for number in 0..10 {
                    cluster.produce(1, partition, &[number; 200], Acks::All).expect("all are there");
                }
            }
            // From now on nobody hears of what it appends.
            cluster.net.power_off_host(cluster.ip(2));
            cluster.net.power_off_host(cluster.ip(3));
            for number in 0..10 {
                cluster.produce(1, 0, &[100 + number; 200], Acks::Leader).expect("it is flushed here");
            }
            drop(cluster.begin_produce(1, 1, b"perhaps", Acks::Leader));
            cluster.crash(1, loses_power, seed);
            for broker in [2, 3] {
                cluster.crash(broker, loses_power, seed);
                cluster.start(broker);
            }
            cluster.fence(1, 2);
            cluster.elect(0, 2);
            cluster.elect(1, 3);
            for (partition, leader) in [(0, 2), (1, 3)] {
                cluster.until_led(leader, partition);
                for number in 0..5 {
                    let acknowledged = cluster.produce(leader, partition, &[200 + number; 100], Acks::All);
                    assert_eq!(acknowledged.expect("two are there").base_offset, 10 + i64::from(number), "seed {seed}");
                }
            }
            cluster.start(1);
            cluster.settle(0);
            cluster.settle(1);
            assert_eq!(cluster.epochs(1, 0), cluster.epochs(2, 0), "seed {seed}");
        }
    }
}

/// Lesson 23: past every buffer.
#[test]
fn a_follower_that_was_away_for_long_gets_all_that_it_missed_and_is_in_sync_again() {
    for seed in 0..3 {
        let mut cluster = Cluster::new(seed, &[1, 1, 2]);
        cluster.create_topic(1, 1, &[("segment.bytes", "1048576")]);
        cluster.until_led(1, 0);
        cluster.produce(1, 0, b"all", Acks::All).expect("all are there");
        cluster.crash(3, true, seed);
        for number in 0..40 {
            cluster.produce(1, 0, &vec![number; 300_000], Acks::Leader).expect("it is flushed here");
        }
        // Nobody is told that all is well before it has left.
        let waiting = cluster.begin_produce(1, 0, b"two", Acks::All);
        assert!(cluster.run(waiting).expect("it is answered")[0].is_ok());
        assert_eq!(cluster.isr(0), [1, 2]);
        assert!(cluster.now_ns() > 9_000_000_000, "it had its time");
        cluster.start(3);
        cluster.settle(0);
        assert_eq!(cluster.committed(), [vec![1, 2], vec![1, 2, 3]]);
    }
}

#[test]
fn a_leader_that_is_one_no_more_answers_whoever_waits() {
    let cluster = Cluster::new(1, &[1, 1, 1]);
    cluster.create_topic(1, 1, &[]);
    cluster.until_led(1, 0);
    cluster.produce(1, 0, b"all", Acks::All).expect("all are there");
    cluster.net.cut(cluster.ip(1), cluster.ip(2));
    let waiting = cluster.begin_produce(1, 0, b"some", Acks::All);
    cluster.pass(Duration::from_millis(20));
    cluster.elect(0, 3);
    assert_eq!(cluster.run(waiting).expect("it is answered"), [Err(ProduceError::NotLeader)]);
    cluster.net.heal_all();
    cluster.settle(0);
    assert!(cluster.leads(3, 0) && !cluster.leads(1, 0));
}

/// The controller does not answer, as when it has lost its majority: what cannot be acknowledged is refused on local evidence.
#[test]
fn a_leader_whose_followers_are_gone_refuses_and_resumes_when_they_return() {
    let mut cluster = Cluster::new(1, &[1, 1, 1]);
    cluster.create_topic(1, 1, &[("min.insync.replicas", "2")]);
    cluster.until_led(1, 0);
    cluster.produce(1, 0, b"all", Acks::All).expect("all are there");
    cluster.set_answers(false);
    cluster.crash(2, false, 1);
    cluster.crash(3, false, 1);
    let outcome = cluster.produce(1, 0, b"alone", Acks::All);
    assert_eq!(outcome, Err(ProduceError::NotEnoughReplicasAfterAppend));
    assert_eq!(cluster.produce(1, 0, b"alone", Acks::All), Err(ProduceError::NotEnoughReplicas));
    cluster.produce(1, 0, b"alone", Acks::Leader).expect("it asks for no more");
    cluster.start(2);
    cluster.set_answers(true);
    cluster.until("two are enough", || cluster.produce(1, 0, b"two", Acks::All).is_ok());
    cluster.start(3);
    cluster.settle(0);
}

/// Whatever is cut off, and wherever in a frame: every answer is true, and in the end the logs are the same.
#[test]
fn streams_that_break_at_any_point_lose_nothing() {
    for seed in 0..12 {
        let cluster = Cluster::new(seed, &[2, 1, 2]);
        cluster.create_topic(3, 1, &[]);
        for partition in 0..3 {
            cluster.until_led(1, partition);
        }
        let mut waiting = Vec::new();
        for number in 0..60_u8 {
            for partition in 0..3 {
                waiting.push(cluster.begin_produce(1, partition, &vec![number; 40 * usize::from(number)], Acks::All));
            }
            cluster.pass(Duration::from_micros(u64::from(number) * (seed + 17) % 700));
            let peer = 2 + i32::from(number % 2);
            cluster.net.reset_between(cluster.ip(1), cluster.ip(peer));
        }
        for answer in waiting {
            assert!(cluster.run(answer).expect("it is answered")[0].is_ok(), "seed {seed}");
        }
        (0..3).for_each(|partition| cluster.settle(partition));
        assert_eq!(cluster.committed(), Vec::<Vec<i32>>::new(), "seed {seed}: a broken stream alone puts nobody out");
    }
}

/// A follower that hears of a reign before its leader asks again, however much it has to say of other partitions.
#[test]
fn a_busy_stream_does_not_put_off_what_is_to_be_opened_again() {
    let cluster = Cluster::new(1, &[1, 1]);
    cluster.create_topic(2, 1, &[]);
    (0..2).for_each(|partition| cluster.until_led(1, partition));
    for reign in 0..40 {
        cluster.elect(1, 1 + reign % 2);
        for number in 0..40_u8 {
            assert!(cluster.produce(1, 0, &[number], Acks::All).is_ok());
            cluster.pass(Duration::from_millis(5));
        }
        let before = cluster.now_ns();
        assert!(cluster.produce(1 + reign % 2, 1, b"value", Acks::All).is_ok());
        let took = Duration::from_nanos(cluster.now_ns() - before);
        assert!(took < Duration::from_millis(50), "reign {reign}: {took:?}");
    }
}

/// An ack from before a cut says nothing of the log after it.
#[test]
fn leaderships_that_move_under_load_leave_logs_that_are_the_same() {
    for seed in 0..10 {
        let cluster = Cluster::new(seed, &[1, 2, 1]);
        cluster.create_topic(2, 1, &[]);
        let (mut acknowledged, mut late) = (vec![Vec::new(); 2], Vec::new());
        for reign in 0..12 {
            for partition in 0..2 {
                let leader = 1 + (reign + partition) % 3;
                cluster.elect(partition, leader);
                cluster.until_led(leader, partition);
                for number in 0..10_u8 {
                    let value = [reign as u8, number];
                    let acks = if number % 3 == 0 { Acks::Leader } else { Acks::All };
                    late.push((partition, value, acks, cluster.begin_produce(leader, partition, &value, acks)));
                    cluster.pass(Duration::from_micros(50 * (seed + u64::from(number) % 7)));
                }
                // Every other reign ends while some of its records are on their way.
                if (seed + reign as u64).is_multiple_of(2) {
                    cluster.pass(Duration::from_millis(20));
                }
            }
        }
        for (partition, value, acks, answer) in late {
            let outcome = cluster.run(answer).expect("it is answered").pop().expect("one");
            if let (Ok(at), Acks::All) = (outcome, acks) {
                acknowledged[partition as usize].push((at.base_offset, value));
            }
        }
        for partition in 0..2 {
            cluster.settle(partition);
            let log = cluster.log(1, partition);
            let batches: Vec<_> = storage::batch::batches(&log).map(|batch| batch.expect("it is whole")).collect();
            for (offset, value) in &acknowledged[partition as usize] {
                let (_, bytes) = &batches[*offset as usize];
                assert!(bytes.windows(2).any(|two| two == value), "seed {seed}: {value:?} is not at {offset}");
            }
        }
        assert!(acknowledged.iter().all(|of_one| !of_one.is_empty()), "seed {seed}: some were acknowledged");
    }
}

#[test]
fn a_follower_whose_log_ends_before_its_leaders_begins_anew() {
    let mut cluster = Cluster::new(3, &[1, 1, 1]);
    cluster.create_topic(1, 1, &[("segment.bytes", "1048576"), ("retention.bytes", "2097152")]);
    cluster.until_led(1, 0);
    cluster.produce(1, 0, b"all", Acks::All).expect("all are there");
    cluster.crash(3, true, 3);
    for number in 0..30 {
        cluster.produce(1, 0, &vec![number; 300_000], Acks::Leader).expect("it is flushed here");
    }
    // They are looked over every five minutes.
    cluster.pass(Duration::from_secs(301));
    cluster.until("old segments go", || cluster.ladder(1, 0).is_some_and(|ladder| ladder[0] > 5));
    cluster.start(3);
    cluster.settle(0);
    // And what it has is there after a crash.
    cluster.crash(3, true, 4);
    cluster.produce(1, 0, b"more", Acks::Leader).expect("it is flushed here");
    cluster.start(3);
    cluster.settle(0);
}

/// More followers have to cut at once than may, and what waits hears meanwhile of others' standing.
#[test]
fn a_cut_that_waits_is_not_lost_when_other_replicas_come_and_go() {
    const PARTITIONS: i32 = 150;
    let cluster = Cluster::new(3, &[1, 1, 1]);
    cluster.create_topic(PARTITIONS, 3, &[]);
    (0..PARTITIONS).for_each(|partition| cluster.until_led(3, partition));
    // It wrote nothing in its reign, and gives that epoch up first.
    (0..PARTITIONS).for_each(|partition| cluster.elect(partition, 1));
    let is_cutting = || !cluster.shard(3, 0).state.borrow().cutting.is_empty();
    cluster.until("broker 3 cuts", is_cutting);
    cluster.fence(2, PARTITIONS);
    for partition in 0..PARTITIONS {
        cluster.until_led(1, partition);
        cluster.produce(1, partition, b"record", Acks::All).expect("broker 3 follows");
    }
    assert_eq!(cluster.committed(), Vec::<Vec<i32>>::new(), "broker 3 never left");
}
