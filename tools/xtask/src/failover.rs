//! How long clients wait when a leader goes: three brokers of ours under idempotent acks=-1 load, one of which is killed or stopped.
//!
//! Owns: the rounds, and which pause of the acknowledgements a round's interruption made.
//! Invariants: every round is audited: everything acknowledged is there, once, in order; the next begins with all replicas in sync.
//! Not here: the pauses (chronik-bench measures them).
//! Why one partition: its leader is the victim, so that nothing else is acknowledged meanwhile.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use crate::chronik_bench::{self, Figures};
use crate::command::{cargo, run as run_command};
use crate::peer::{Node, Peer, metric};
use crate::results;
use crate::statistics::median;

const PORT: u16 = 27_792;
const NODES: u16 = 3;
/// From the start of the load until its victim goes.
const BEFORE: Duration = Duration::from_millis(2_500);
/// How long the load goes on.
const LOAD: &str = "7s";

/// Arguments of `cargo xtask failover`.
#[derive(Args)]
pub struct Options {
    /// How often.
    #[arg(long, default_value_t = 20)]
    rounds: u32,
    /// How the leader goes.
    #[arg(long, value_enum, default_value = "kill")]
    how: How,
    /// Print only, and allow a tree with changes.
    #[arg(long)]
    no_store: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    /// SIGKILL: nobody is told.
    Kill,
    /// SIGTERM: it hands over what it leads.
    Stop,
}

#[derive(Serialize)]
struct Round {
    /// Did the victim lead the metadata group, too?
    was_controller: bool,
    /// The longest time without an acknowledgement around it.
    gap_ms: f64,
    /// Over the whole round.
    msgs_per_s: f64,
}

/// Runs it all.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "at least one round");
    if !options.no_store {
        results::require_clean_tree()?;
    }
    let mut build = cargo(["build", "--quiet", "--release", "--bin", "chronik-bench"]);
    if std::env::var_os("CHRONIK_TEST_SERVER").is_none() {
        build.args(["--bin", "chronik-server"]);
    }
    run_command(&mut build)?;
    let mut peer = Peer::chronik(PORT, NODES, &["default.replication.factor=3".to_owned()])?;
    let mut rounds = Vec::new();
    for number in 1..=options.rounds {
        let round = round(&mut peer, options.how)?;
        let also = if round.was_controller { ", which led the metadata group" } else { "" };
        println!("{number:>3}: {:.0} ms without an acknowledgement after the leader{also}", round.gap_ms);
        rounds.push(round);
    }
    let gaps = |of: &dyn Fn(&Round) -> bool| {
        let gaps: Vec<f64> = rounds.iter().filter(|round| of(round)).map(|round| round.gap_ms).collect();
        let max_ms = gaps.iter().copied().reduce(f64::max);
        json!({ "rounds": gaps.len(), "max_ms": max_ms, "median_ms": median(gaps) })
    };
    let summary = json!({
        "all": gaps(&|_| true),
        "controllers": gaps(&|round| round.was_controller),
        "others": gaps(&|round| !round.was_controller),
    });
    println!("{}", serde_json::to_string_pretty(&summary)?);
    if options.no_store {
        return Ok(());
    }
    results::append("failover", json!({ "bench": "failover", "how": options.how, "gaps": summary, "rounds": rounds }))
}

fn round(peer: &mut Peer, how: How) -> Result<Round> {
    let bootstrap = peer.bootstrap();
    let load = thread::spawn(move || load(&bootstrap));
    thread::sleep(BEFORE);
    let (victim, was_controller) = leader(peer.nodes())?;
    let victim = &mut peer.nodes()[victim];
    let gone_unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() * 1e3;
    match how {
        How::Kill => victim.kill()?,
        How::Stop => {
            victim.ask_to_stop();
            victim.await_end();
        }
    }
    let figures = load.join().ok().context("the load's thread panicked")??;
    let gap_ms = gap_ms(&figures, gone_unix_ms)?;
    victim.start_again()?;
    peer.await_ready()?;
    Ok(Round { was_controller, gap_ms, msgs_per_s: figures.number("msgs_per_s")? })
}

fn load(bootstrap: &str) -> Result<Figures> {
    let topic = ["--topic", "failover", "--partitions", "1", "--topic-config", "min.insync.replicas=2"];
    let flags = ["--idempotence", "--audit", "--warm-up", "1s", "--duration"];
    chronik_bench::run(bootstrap, &[&topic[..], &flags[..], &[LOAD]].concat())
}

/// The node that leads the one partition there is, as an index; and whether it decides over the metadata.
fn leader(nodes: &[Node]) -> Result<(usize, bool)> {
    let asked = nodes[0].port();
    let leads =
        |id: &usize| metric(asked, &format!("chronik_raft_leader_count{{node_id=\"{}\"}}", id + 1)) == Some(1.0);
    let leader = (0..nodes.len()).find(leads).context("nobody leads")?;
    Ok((leader, metric(nodes[leader].port(), "chronik_raft_active_controller") == Some(1.0)))
}

/// The longest pause that was not over when the victim went; what is shorter than chronik-bench keeps is none.
fn gap_ms(figures: &Figures, gone_unix_ms: f64) -> Result<f64> {
    let number = |pause: &serde_json::Value, name: &str| pause[name].as_f64().context("a pause without figures");
    let mut longest = 0.0_f64;
    for pause in figures.list("pauses")? {
        let (from, ms) = (number(pause, "from_unix_ms")?, number(pause, "ms")?);
        if from + ms >= gone_unix_ms {
            longest = longest.max(ms);
        }
    }
    Ok(longest)
}
