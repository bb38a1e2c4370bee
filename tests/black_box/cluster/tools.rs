//! What Kafka's own tools see of three brokers, and change.

use crate::support::clients::kafka_tools;
use crate::support::cluster::{Cluster, LIMIT};
use crate::support::eventually;

/// The value after a name in a line of `name: value` fields.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.split('\t').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Brokers in a list, in order.
fn brokers(list: &str) -> Vec<i32> {
    let mut ids: Vec<i32> = list.split(',').filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

/// Scenarios of an in-sync set that shrinks and grows, as an operator sees them from any broker; then the leaders go home.
#[test]
fn kafka_topics_shows_who_is_out_of_sync_and_kafka_leader_election_brings_leaders_back() {
    let Some(tools) = kafka_tools() else { return };
    let mut cluster = Cluster::with(&["auto.leader.rebalance.enable=false"]);
    let bootstrap = |cluster: &Cluster, node: i32| cluster[node].bootstrap();
    let topics =
        |at: &str, arguments: &[&str]| tools.run("TopicCommand", &[&["--bootstrap-server", at], arguments].concat());
    let at_1 = bootstrap(&cluster, 1);
    topics(&at_1, &["--create", "--topic", "t", "--replica-assignment", "3:1:2,1:2:3,3:2:1"]);
    let rows = |at: &str| -> Vec<(i32, Vec<i32>)> {
        let described = topics(at, &["--describe", "--topic", "t"]);
        let row = |line: &str| {
            assert_eq!((field(line, "Elr"), field(line, "LastKnownElr")), (Some(""), Some("")), "{line}");
            Some((field(line, "Leader")?.parse().ok()?, brokers(field(line, "Isr")?)))
        };
        described.lines().filter(|line| line.contains("Partition: ")).filter_map(row).collect()
    };
    let all = vec![1, 2, 3];
    assert_eq!(rows(&at_1), [(3, all.clone()), (1, all.clone()), (3, all.clone())]);
    cluster.kill(&[3]);
    let at_2 = bootstrap(&cluster, 2);
    eventually(LIMIT, "broker 3 leads nothing", || {
        (rows(&at_2) == [(1, vec![1, 2]), (1, vec![1, 2]), (2, vec![1, 2])]).then_some(())
    });
    let out_of_sync = topics(&at_1, &["--describe", "--under-replicated-partitions"]);
    assert_eq!(out_of_sync.lines().filter(|line| line.contains("Partition: ")).count(), 3, "{out_of_sync}");
    assert_eq!(topics(&at_1, &["--describe", "--unavailable-partitions"]).trim(), "");
    cluster.launch(&[3]);
    cluster.await_ready(&[3]);
    let at_3 = bootstrap(&cluster, 3);
    eventually(LIMIT, "broker 3 is in sync again", || {
        (rows(&at_3) == [(1, all.clone()), (1, all.clone()), (2, all.clone())]).then_some(())
    });
    let elect = |arguments: &[&str]| {
        tools.run("LeaderElectionCommand", &[&["--bootstrap-server", &at_2, "--election-type"], arguments].concat())
    };
    let elected = elect(&["preferred", "--topic", "t", "--partition", "0"]);
    assert!(elected.contains("Successfully completed leader election (PREFERRED) for partitions t-0"), "{elected}");
    let elected = elect(&["preferred", "--all-topic-partitions"]);
    assert!(elected.contains("(PREFERRED) for partitions t-2"), "{elected}");
    assert_eq!(rows(&at_2), [(3, all.clone()), (1, all.clone()), (3, all)]);
    let refused = elect(&["unclean", "--topic", "t", "--partition", "1"]);
    assert!(refused.contains("Valid replica already elected"), "{refused}");
}

#[test]
fn leaders_go_home_by_themselves_once_their_broker_is_in_sync_again() {
    let mut cluster = Cluster::with(&["leader.imbalance.check.interval.seconds=1"]);
    assert_eq!(cluster.create_topic_of(1, "t", 3), 0);
    let leaders = |cluster: &Cluster, node: i32| -> Option<Vec<(i32, i32)>> {
        let metadata = cluster.metadata(node);
        let topic = metadata.topics.first()?;
        Some(topic.partitions.iter().map(|row| (row.replica_nodes[0].0, row.leader_id.0)).collect())
    };
    let at_home = |cluster: &Cluster, node| {
        leaders(cluster, node).filter(|rows| rows.iter().all(|(preferred, leader)| preferred == leader))
    };
    let begun = eventually(LIMIT, "a topic begins with its preferred leaders", || at_home(&cluster, 1));
    assert_eq!(
        begun.iter().map(|(leader, _)| *leader).collect::<std::collections::BTreeSet<_>>().len(),
        3,
        "{begun:?}"
    );
    let gone = (1..=3).find(|node| *node != cluster.controller(&[1, 2, 3])).expect("two of them");
    let left = 1 + gone % 3;
    cluster.kill(&[gone]);
    eventually(LIMIT, "others lead", || {
        leaders(&cluster, left).filter(|rows| rows.iter().all(|(_, leader)| *leader != gone && *leader > 0)).map(drop)
    });
    // Clients are told which replica is not there.
    let offline = |cluster: &Cluster| cluster.metadata(left).topics[0].partitions[0].offline_replicas.clone();
    assert_eq!(offline(&cluster), [gone]);
    cluster.launch(&[gone]);
    cluster.await_ready(&[gone]);
    eventually(LIMIT, "they lead again where they are preferred", || at_home(&cluster, left));
    assert!(offline(&cluster).is_empty());
}

#[test]
fn kafka_metadata_quorum_describes_the_group_from_any_broker() {
    let Some(tools) = kafka_tools() else { return };
    let mut cluster = Cluster::start();
    let controller = cluster.controller(&[1, 2, 3]);
    for node in 1..=3 {
        let at = cluster[node].bootstrap();
        let quorum = |what: &str| tools.run("MetadataQuorumCommand", &["--bootstrap-server", &at, "describe", what]);
        let status = quorum("--status");
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("{name}: {status}")).trim().to_owned()
        };
        assert_eq!(value("LeaderId"), controller.to_string());
        let number = |name: &str| value(name).parse::<i64>().unwrap_or_else(|_| panic!("{name}: {status}"));
        assert!(number("LeaderEpoch") > 0 && number("HighWatermark") > 0, "{status}");
        assert!((0..1000).contains(&number("MaxFollowerLagTimeMs")), "{status}");
        assert!((1..=3).all(|voter| value("CurrentVoters").contains(&format!("\"id\": {voter},"))), "{status}");
        let replication = quorum("--replication");
        let count = |role: &str| replication.lines().filter(|line| line.contains(role)).count();
        assert_eq!((count("Leader"), count("Follower"), count("Observer")), (1, 2, 0), "{replication}");
    }
}
