//! This broker's part of the metadata group: founded or found, opened, and linked to the others.
//!
//! *Which core*: metadata.
//! *Invariants*: raft's state is there before `meta.properties` names the cluster: a directory that names one and holds none has
//! lost it, and is refused (lesson 50). `--bootstrap` matters only where there is neither.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use storage::data_dir::DataDir;

use super::door::Door;
use crate::metadata::controller::Rules;
use crate::metadata::node::{Node, NodeOptions, initial_voter};
use crate::metadata::quorum::{Charter, Control, Founding, Peers, Transport};
use crate::metadata::raft_log::{self, open};
use crate::model::BrokerId;
use crate::peer::Local;
use crate::server::{Setup, World};

/// See the module.
pub(super) struct Group {
    /// The group's node here.
    pub(super) node: Rc<Node>,
    /// The way to its controller.
    pub(super) control: Rc<Control>,
    /// Where peers come in; none: this broker is by itself.
    pub(super) door: Option<Rc<Door>>,
}

/// Becomes part of the group; waits for a majority of its founders where there is none yet.
pub(super) async fn form(world: &World, setup: &Setup, data_dir: &mut DataDir) -> Result<Group, String> {
    let cluster = setup.config.process.cluster.as_ref();
    let local = Local {
        cluster_id: None,
        node: BrokerId(data_dir.identity().node_id),
        directory_id: data_dir.identity().directory_id,
    };
    let peers = cluster.map_or(&[][..], |cluster| &cluster.peers);
    let addresses: BTreeMap<_, _> = peers.iter().map(|peer| (peer.id, (peer.host.clone(), peer.port))).collect();
    let neighbours = |local: &Local| {
        let (rt, net) = (world.rt.clone(), world.net.clone());
        Rc::new(Peers { rt, net, local: local.clone(), addresses: addresses.clone() })
    };
    let dir = data_dir.path().join("metadata");
    let may_found = cluster.is_none_or(|cluster| cluster.bootstrap);
    let founding = Founding::open(&world.disk, &dir, neighbours(&local), may_found).await;
    let founding = founding.map_err(|error| error.to_string())?;
    let door = match cluster {
        Some(cluster) => Some(Door::listen(world, setup, cluster.raft_bind, local.clone(), founding.clone())?),
        None => None,
    };
    let has_state = open::has_state(&world.disk, &dir).await.map_err(|error| error.to_string())?;
    let charter = charter(&founding, has_state, data_dir, door.is_some()).await?;
    let node = open_node(world, setup, data_dir, &charter).await?;
    data_dir.join_cluster(&charter.cluster_id).await.map_err(|error| error.to_string())?;
    founding.set_node(node.clone());
    let peers = neighbours(&Local { cluster_id: Some(charter.cluster_id), ..local });
    let control = Control::new(node.clone(), peers.clone());
    if let Some(door) = &door {
        door.open_group(&peers.local, Transport::start(node.clone(), peers.clone()), control.clone());
    }
    Ok(Group { node, control, door })
}

/// What the cluster was founded with.
async fn charter(founding: &Founding, has_state: bool, data_dir: &DataDir, has_peers: bool) -> Result<Charter, String> {
    let (identity, path) = (data_dir.identity(), data_dir.path().display());
    match (has_state, founding.charter(), &identity.cluster_id) {
        (true, Some(charter), _) => Ok(charter),
        // Brokers by themselves had no charter at first.
        (true, None, Some(cluster_id)) if !has_peers => Ok(Charter {
            cluster_id: cluster_id.clone(),
            voters: vec![(BrokerId(identity.node_id), Some(identity.directory_id))],
        }),
        (true, None, _) => {
            Err(format!("{path} was made by a broker by itself, and cannot become part of a cluster yet"))
        }
        (false, _, Some(cluster_id)) => Err(format!(
            "{path} belongs to cluster {cluster_id}, but its metadata is missing: restore it, or begin with an empty directory"
        )),
        (false, Some(charter), None) => Ok(charter),
        (false, None, None) => founding.run().await.map_err(|error| error.to_string()),
    }
}

async fn open_node(world: &World, setup: &Setup, data_dir: &DataDir, charter: &Charter) -> Result<Rc<Node>, String> {
    let identity = data_dir.identity();
    let raft_identity = raft_log::Identity {
        cluster_id: charter.cluster_id.clone(),
        node_id: BrokerId(identity.node_id),
        directory_id: identity.directory_id,
    };
    let voters = charter.voters.iter().map(|(node, directory_id)| initial_voter(*node, *directory_id)).collect();
    let options = NodeOptions {
        initial_voters: Some(voters),
        snapshot_bytes: setup.config.broker.metadata_log_max_record_bytes_between_snapshots,
        snapshot_entries: setup.config.broker.metadata_log_max_entries_between_snapshots,
        metrics: setup.metrics.metadata.clone(),
        ..NodeOptions::standalone(raft_identity, rules(setup))
    };
    let dir = data_dir.path().join("metadata");
    Node::open(world.rt.clone(), world.disk.clone(), &dir, options).await.map_err(|error| error.to_string())
}

fn rules(setup: &Setup) -> Rules {
    let broker = &setup.config.broker;
    Rules {
        partitions_default: broker.num_partitions,
        replication_factor_default: broker.default_replication_factor,
        min_insync_replicas_default: usize::try_from(broker.min_insync_replicas).unwrap_or(1),
        session: Duration::from_millis(broker.broker_session_timeout_ms),
        balance_interval: broker
            .auto_leader_rebalance_enable
            .then(|| Duration::from_secs(broker.leader_imbalance_check_interval_seconds)),
        check_topic_config: crate::config::topic::validate,
        check_topic_configs: crate::config::topic::validate_all,
        check_broker_config: |name, _| {
            Err(format!("{name} cannot be changed while the broker runs: set it in the configuration file"))
        },
        list_default: |name| (name == "cleanup.policy").then_some("delete"),
    }
}
