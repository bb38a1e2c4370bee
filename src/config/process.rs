//! The process's own settings: addresses, directory, cores, logging. Each is a flag, a variable and a key of the file.
//!
//! *Which core*: the main thread makes them; any core reads them.
//! *Invariants*: what [`resolve`] returns is complete and consistent: no default is left to be worked out elsewhere.
//! *Not here*: Kafka's settings (`broker`); what the flags of one start only are (`--config`, `--print-config`, `--set`).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::address::Advertised;
use super::cluster::{self, ClusterConfig, Mode};
use super::setting::settings;
use super::value::{Kind, between};
use crate::model::BrokerId;

/// From the Kafka port to the admin port.
const ADMIN_PORT_DISTANCE: u16 = 4000;
/// Executors are pinned from so many processors on: with fewer, other work would have nowhere to go.
const PIN_PROCESSORS_MIN: usize = 4;
const PORT: Kind = Kind::Int(between(0, u16::MAX as i64));
const SHARDS_MAX: i64 = 1024;

settings! {
    /// As given; what is not given is worked out by [`resolve`].
    pub struct ProcessSettings {
        /// Port of the listener for Kafka's clients; 0: any free one.
        kafka_port: u16 = "kafka-port", PORT, Some("9092");
        /// Host that clients are told to connect to, with a port if it is not the listener's.
        advertised_addr: String = "advertised-addr", Kind::Text(check_advertised), Some("localhost");
        /// Address that the listener binds to. Default: loopback while the advertised host is a loopback name, else all
        /// interfaces.
        bind_addr: Option<String> = "bind-addr", Kind::Text(check_ip), None;
        /// Port of metrics, health and the status page; 0: any free one. Default: the Kafka port plus 4000.
        admin_port: Option<u16> = "admin-port", PORT, None;
        /// Address that the admin listener binds to. It asks nobody who they are.
        admin_bind_addr: String = "admin-bind-addr", Kind::Text(check_ip), Some("127.0.0.1");
        /// Directory of everything that the broker keeps; one process at a time. Default: `./data`, in a cluster
        /// `./data/node-<node-id>`.
        data_dir: Option<String> = "data-dir", Kind::Text(check_path), None;
        /// Number of this broker in its cluster.
        node_id: i32 = "node-id", Kind::Int(between(0, i32::MAX as i64)), Some("1");
        /// In a cluster: address and port that the listener for the other brokers binds to. They are told the advertised
        /// host and this port.
        raft_addr: Option<String> = "raft-addr", Kind::Text(check_raft_addr), None;
        /// In a cluster: the other brokers that vote on metadata, as `ID@HOST:PORT`, separated by commas.
        peers: Option<String> = "peers", Kind::Text(cluster::check_peers), None;
        /// In a cluster: this broker and its peers found it, if none of them holds any state. Without it, or later, the broker
        /// joins the cluster that its peers belong to.
        bootstrap: bool = "bootstrap", Kind::Bool, Some("false");
        /// Executors for connections and partitions; changing it moves no data. Default: one less than there are
        /// processors, at least one.
        shards: Option<usize> = "shards", Kind::Int(between(1, SHARDS_MAX)), None;
        /// Binds each executor to a processor of its own. Default: if there are 4 or more and no quota on their time.
        pin: Option<bool> = "pin", Kind::Bool, None;
        /// How long a pinned executor looks for work before it sleeps, us: buys latency with processor time.
        spin_us: u64 = "spin-us", Kind::Long(between(0, 1_000_000)), Some("0");
        /// What is logged to standard error: error, warn, info, debug or trace; also per module, as in
        /// `info,chronik::shard=debug`.
        log_level: String = "log-level", Kind::Text(check_log_level), Some("info");
        /// Metrics of every partition by itself. Totals of each topic are always there.
        partition_metrics: bool = "partition-metrics", Kind::Bool, Some("false");
    }
}

/// The processors that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Those that it may run on, ascending.
    pub cpus: Vec<usize>,
    /// How many processors' worth of time it gets: fewer than `cpus` under a quota.
    pub processors: usize,
}

/// Where executors run; none: wherever the kernel puts them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The metadata executor's processor.
    pub metadata: Option<usize>,
    /// Each shard's.
    pub shards: Vec<Option<usize>>,
}

/// The process's settings, worked out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// This broker's number.
    pub node_id: BrokerId,
    /// Where the listener for Kafka's clients binds.
    pub kafka_bind: SocketAddr,
    /// What clients are told to connect to.
    pub advertised: Advertised,
    /// Where the admin listener binds.
    pub admin_bind: SocketAddr,
    /// The data directory, as given; may be relative.
    pub data_dir: PathBuf,
    /// The cluster; none: it is by itself.
    pub cluster: Option<ClusterConfig>,
    /// Executors for connections and partitions.
    pub shards: usize,
    /// Where executors run.
    pub placement: Placement,
    /// How long an executor looks for work before it sleeps; zero unless it is pinned.
    pub spin_before_park: Duration,
    /// Directives for the log.
    pub log_level: String,
    /// Metrics of every partition by itself.
    pub partition_metrics: bool,
}

/// A value that was worked out, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// The setting.
    pub name: &'static str,
    /// What it came to.
    pub value: String,
    /// From what.
    pub from: String,
}

/// A setting that does not fit the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The setting to blame.
    pub name: &'static str,
    /// What is wrong.
    pub why: String,
}

/// Works out what was not given.
pub fn resolve(
    given: &ProcessSettings,
    mode: Mode,
    machine: &Machine,
) -> Result<(ProcessConfig, Vec<Derived>), Conflict> {
    let cluster = cluster::resolve(given, mode)?;
    let mut derived = Vec::new();
    let mut derive = |name, value: String, from: &str| derived.push(Derived { name, value, from: from.into() });

    let advertised: Advertised = given.advertised_addr.parse().expect("checked by its kind");
    let bind_addr = given.bind_addr.as_ref().map_or_else(
        || {
            let bind_addr = advertised.default_bind();
            let from = if bind_addr.is_loopback() { "advertised-addr is loopback" } else { "all interfaces" };
            derive("bind-addr", bind_addr.to_string(), from);
            bind_addr
        },
        |text| text.parse().expect("checked by its kind"),
    );
    if given.bind_addr.is_some() && bind_addr.is_loopback() && !advertised.is_loopback() && advertised.port.is_none() {
        let why = format!("{bind_addr} is loopback, where clients that are told {advertised} cannot connect");
        return Err(Conflict { name: "bind-addr", why });
    }
    let admin_port = match given.admin_port {
        Some(port) => port,
        None => {
            let port = derived_admin_port(given.kafka_port)?;
            derive("admin-port", port.to_string(), "kafka-port + 4000");
            port
        }
    };
    let processors = machine.processors.min(machine.cpus.len()).max(1);
    let shards = given.shards.unwrap_or_else(|| {
        let shards = processors.saturating_sub(1).max(1);
        derive("shards", shards.to_string(), &format!("processors: {processors}"));
        shards
    });
    let pin = given.pin.unwrap_or_else(|| {
        let pin = processors >= PIN_PROCESSORS_MIN && processors == machine.cpus.len();
        derive("pin", pin.to_string(), &format!("processors: {processors}"));
        pin
    });
    if given.spin_us > 0 && !pin {
        let why = "only pinned executors spin; give --pin too".into();
        return Err(Conflict { name: "spin-us", why });
    }
    let data_dir = given.data_dir.clone().unwrap_or_else(|| {
        let (data_dir, from) = match mode {
            Mode::Standalone => ("./data".to_owned(), "standalone"),
            Mode::Cluster => (format!("./data/node-{}", given.node_id), "node-id"),
        };
        derive("data-dir", data_dir.clone(), from);
        data_dir
    });
    let admin_addr: IpAddr = given.admin_bind_addr.parse().expect("checked by its kind");
    let config = ProcessConfig {
        node_id: BrokerId(given.node_id),
        kafka_bind: SocketAddr::new(bind_addr, given.kafka_port),
        advertised,
        admin_bind: SocketAddr::new(admin_addr, admin_port),
        data_dir: PathBuf::from(data_dir),
        cluster,
        shards,
        placement: place(shards, if pin { &machine.cpus } else { &[] }),
        spin_before_park: Duration::from_micros(given.spin_us),
        log_level: given.log_level.clone(),
        partition_metrics: given.partition_metrics,
    };
    Ok((config, derived))
}

/// The admin port that goes with a Kafka port; any free one goes with any free one.
fn derived_admin_port(kafka_port: u16) -> Result<u16, Conflict> {
    if kafka_port == 0 {
        return Ok(0);
    }
    kafka_port.checked_add(ADMIN_PORT_DISTANCE).ok_or_else(|| Conflict {
        name: "kafka-port",
        why: format!("the admin port would be {kafka_port} + 4000, and ports end at 65535; give --admin-port too"),
    })
}

/// The metadata executor on the first processor, the shards on the others, in turns if there are more shards than those.
fn place(shards: usize, cpus: &[usize]) -> Placement {
    let for_shards = if cpus.len() > 1 { &cpus[1..] } else { cpus };
    let shards = (0..shards).map(|shard| for_shards.get(shard % for_shards.len().max(1)).copied()).collect();
    Placement { metadata: cpus.first().copied(), shards }
}

fn check_advertised(text: &str) -> Result<(), String> {
    text.parse::<Advertised>().map(|_| ())
}

fn check_ip(text: &str) -> Result<(), String> {
    match text.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) if text.eq_ignore_ascii_case("localhost") => Err(format!("give the address, {}", Ipv4Addr::LOCALHOST)),
        Err(_) => Err("it is no IP address".into()),
    }
}

fn check_path(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(()) }
}

fn check_raft_addr(text: &str) -> Result<(), String> {
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(()),
        Ok(_) => Err("the other brokers must know the port: give one from 1 to 65535".into()),
        Err(_) => Err("it is no IP address and port, such as 0.0.0.0:9192 or [::]:9192".into()),
    }
}

/// Levels, or `module=level`, separated by commas. A bare module is refused: it is a level that is misspelt.
fn check_log_level(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_module =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':');
    for directive in text.split(',') {
        let is_good = match directive.split_once('=') {
            Some((module, level)) => is_module(module) && is_level(level),
            None => is_level(directive),
        };
        if !is_good {
            return Err(format!("{directive:?} is neither one of {} nor module=level", LEVELS.join(", ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpus: usize) -> Machine {
        Machine { cpus: (0..cpus).collect(), processors: cpus }
    }

    fn resolved(change: impl FnOnce(&mut ProcessSettings), machine: &Machine) -> ProcessConfig {
        let mut given = ProcessSettings::default();
        change(&mut given);
        resolve(&given, Mode::Standalone, machine).expect("consistent").0
    }

    fn conflict(change: impl FnOnce(&mut ProcessSettings)) -> String {
        let mut given = ProcessSettings::default();
        change(&mut given);
        resolve(&given, Mode::Standalone, &machine(2)).expect_err("a conflict").why
    }

    #[test]
    fn nothing_given_is_a_useful_broker() {
        let config = resolved(|_| {}, &machine(2));
        assert_eq!(config.kafka_bind.to_string(), "127.0.0.1:9092");
        assert_eq!(config.admin_bind.to_string(), "127.0.0.1:13092");
        assert_eq!((config.shards, config.node_id), (1, BrokerId(1)));
        assert_eq!((config.data_dir, config.cluster), (PathBuf::from("./data"), None));
        assert_eq!(config.placement, Placement { metadata: None, shards: vec![None] });
    }

    #[test]
    fn a_machine_of_one_processor_has_one_shard() {
        assert_eq!(resolved(|_| {}, &machine(1)).shards, 1);
    }

    #[test]
    fn from_four_processors_on_executors_are_pinned() {
        let allowed = Machine { cpus: vec![2, 3, 5, 7], processors: 4 };
        let placement = resolved(|_| {}, &allowed).placement;
        assert_eq!(placement, Placement { metadata: Some(2), shards: vec![Some(3), Some(5), Some(7)] });
        assert_eq!(resolved(|given| given.pin = Some(false), &allowed).placement.metadata, None);
    }

    #[test]
    fn under_a_quota_nothing_is_pinned_and_shards_follow_the_quota() {
        let config = resolved(|_| {}, &Machine { cpus: (0..64).collect(), processors: 8 });
        assert_eq!((config.shards, config.placement.metadata), (7, None));
    }

    #[test]
    fn pinning_may_be_asked_for_on_a_small_machine() {
        let pin = |shards| {
            move |given: &mut ProcessSettings| {
                given.pin = Some(true);
                given.shards = Some(shards);
            }
        };
        let two = resolved(pin(3), &machine(2)).placement;
        assert_eq!(two, Placement { metadata: Some(0), shards: vec![Some(1); 3] });
        assert_eq!(resolved(pin(1), &machine(1)).placement.shards, [Some(0)]);
    }

    #[test]
    fn settings_that_do_not_fit_together_are_refused() {
        assert!(conflict(|given| given.spin_us = 50).contains("--pin"));
        assert!(conflict(|given| given.kafka_port = 62_000).contains("--admin-port"));
        let apart = |given: &mut ProcessSettings| {
            given.advertised_addr = "broker.example.com".into();
            given.bind_addr = Some("127.0.0.1".into());
        };
        assert!(conflict(apart).contains("cannot connect"));
    }

    #[test]
    fn any_free_port_goes_with_any_free_port() {
        let config = resolved(|given| given.kafka_port = 0, &machine(2));
        assert_eq!((config.kafka_bind.port(), config.admin_bind.port()), (0, 0));
    }

    #[test]
    fn a_log_level_that_is_misspelt_is_refused() {
        for good in ["info", "WARN", "info,chronik::shard=debug", "chronik=trace,raft=off"] {
            assert_eq!(check_log_level(good), Ok(()));
        }
        for bad in ["inof", "", "chronik", "a=b", "=info", "info,", "chronik=info debug"] {
            assert!(check_log_level(bad).is_err(), "{bad}");
        }
    }
}
