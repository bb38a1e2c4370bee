//! The command line: flags and subcommands, made of the tables of settings.
//!
//! *Which core*: the main thread.
//! *Invariants*: a flag may stand before or after the subcommand and means the same; whatever is wrong is said before anything starts.
//! *Not here*: what settings mean (`config`). *Why not derived*: a flag's name, text and check are the setting's row already.

pub mod log;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::cluster::Mode;
use crate::config::process::{Machine, ProcessSettings};
use crate::config::value::Kind;
use crate::config::{
    CONFIG_VARIABLE, Config, ConfigErrors, Given, Origin, Setting, Sources, VARIABLE_PREFIX, reference,
};
use crate::rt;

/// What the command line asks for.
#[derive(Debug)]
pub enum Action {
    /// Run a broker.
    Run(Box<Config>),
    /// Print this and end.
    Print(String),
}

/// Why the command line is not followed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Unknown or missing arguments; also `--help` and `--version`, which clap prints.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// The file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// As it was given.
        path: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
    /// A variable is no text.
    #[error("environment {0}: it is not UTF-8")]
    NotText(String),
    /// A flag is given before and after the subcommand.
    #[error("flag --{0}: it is given twice, before and after the subcommand")]
    Twice(String),
    /// The settings are not accepted.
    #[error(transparent)]
    Settings(#[from] ConfigErrors),
}

const STANDALONE: &str = "standalone";
const RAFT_CLUSTER: &str = "raft-cluster";

/// The command, for parsing and for its help.
pub fn command() -> Command {
    let root = Command::new("chronik-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Kafka-protocol broker whose acknowledged records are on the disk.")
        .after_help(
            "Every setting may also stand in a TOML file (--config) and in the environment (CHRONIK_ and its name in \
             capitals, _ for - and .); flags win over the environment, the environment over the file.",
        )
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
        .disable_help_subcommand(true);
    let standalone = Command::new(STANDALONE).about("Runs a broker by itself");
    let raft_cluster =
        Command::new(RAFT_CLUSTER).about("Runs a broker of a cluster (--raft-addr, --peers, --bootstrap)");
    with_arguments(root).subcommand(with_arguments(standalone)).subcommand(with_arguments(raft_cluster))
}

/// Every flag: the root and each subcommand have them all.
fn with_arguments(command: Command) -> Command {
    let command = ProcessSettings::TABLE.iter().fold(command, |command, setting| command.args(arguments(setting)));
    command
        .arg(Arg::new("config").long("config").value_name("FILE").help("Reads settings from a TOML file"))
        .arg(
            Arg::new("set")
                .long("set")
                .value_name("NAME=VALUE")
                .action(ArgAction::Append)
                .help("Sets one of Kafka's broker settings, such as num.partitions=3; may be given many times"),
        )
        .arg(flag("print-config", "Prints every setting, its value and where it comes from, and ends"))
        .arg(flag("print-reference", "Prints the reference of flags, variables, settings and metrics").hide(true))
}

/// A setting's flags: one with a value, or, for what is on or off, `--name` and `--no-name`.
fn arguments(setting: &'static Setting) -> Vec<Arg> {
    let help = setting.doc.trim();
    if matches!(setting.kind, Kind::Bool) {
        let on = flag(setting.name, help).overrides_with(setting.off);
        return vec![on, flag(setting.off, "The opposite").overrides_with(setting.name)];
    }
    let help = setting.default.map_or_else(|| help.to_owned(), |default| format!("{help} [default: {default}]"));
    let name = match setting.kind {
        Kind::Int(_) | Kind::Long(_) => "N",
        _ if setting.name == "raft-addr" => "ADDRESS:PORT",
        _ if setting.name == "peers" => "ID@HOST:PORT,..",
        _ if setting.name.ends_with("-addr") => "HOST",
        _ if setting.name.ends_with("-dir") => "DIR",
        _ => "VALUE",
    };
    vec![Arg::new(setting.name).long(setting.name).value_name(name).help(help).allow_hyphen_values(true)]
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Reads the command line, the environment and the file. `args` begins with the program's name.
pub fn parse(
    args: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    machine: &Machine,
) -> Result<Action, CliError> {
    let matches = command().try_get_matches_from(args)?;
    let levels: Vec<&ArgMatches> =
        [Some(&matches), matches.subcommand().map(|(_, after)| after)].into_iter().flatten().collect();
    let asks = |name: &str| levels.iter().any(|level| level.get_flag(name));
    if asks("print-reference") {
        return Ok(Action::Print(reference::markdown()));
    }
    let variables = variables(environment)?;
    let file = match config_file(&levels, &variables)? {
        Some(path) => match fs::read_to_string(&path) {
            Ok(text) => Some((path, text)),
            Err(error) => return Err(CliError::File { path, error }),
        },
        None => None,
    };
    let mode =
        matches.subcommand_name().map(|name| if name == RAFT_CLUSTER { Mode::Cluster } else { Mode::Standalone });
    let config = Config::load(&Sources { file, variables, flags: flags(&levels)?, mode }, machine)?;
    if asks("print-config") {
        return Ok(Action::Print(config.print()));
    }
    if matches.subcommand().is_none() {
        let why = "say what to run: `chronik-server standalone`, or `raft-cluster` (see --help)";
        return Err(command().error(clap::error::ErrorKind::MissingSubcommand, why).into());
    }
    Ok(Action::Run(Box::new(config)))
}

/// The processors of this machine that we may use.
pub fn machine() -> Machine {
    Machine { cpus: rt::allowed_cpus(), processors: rt::usable_processors() }
}

/// Our variables, as text.
fn variables(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<Vec<(String, String)>, CliError> {
    let ours = environment.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = ours.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX));
    ours.map(|(name, value)| match value.into_string() {
        Ok(value) => Ok((name, value)),
        Err(_) => Err(CliError::NotText(name)),
    })
    .collect()
}

fn config_file(levels: &[&ArgMatches], variables: &[(String, String)]) -> Result<Option<PathBuf>, CliError> {
    let by_flag: Vec<&String> = levels.iter().filter_map(|level| level.get_one::<String>("config")).collect();
    if by_flag.len() > 1 {
        return Err(CliError::Twice("config".into()));
    }
    let by_variable = variables.iter().find(|(name, _)| name == CONFIG_VARIABLE).map(|(_, path)| path);
    Ok(by_flag.first().copied().or(by_variable).map(PathBuf::from))
}

/// The settings that flags give, on both sides of the subcommand.
fn flags(levels: &[&ArgMatches]) -> Result<Vec<Given>, CliError> {
    let mut given: Vec<Given> = Vec::new();
    for level in levels {
        for setting in ProcessSettings::TABLE {
            let Some((flag, text)) = flag_value(level, setting) else { continue };
            if given.iter().any(|earlier| earlier.name == setting.name) {
                return Err(CliError::Twice(setting.name.into()));
            }
            given.push(Given { name: setting.name.into(), text, origin: Origin::Flag(flag) });
        }
        for pair in level.get_many::<String>("set").into_iter().flatten() {
            given.push(set(pair)?);
        }
    }
    Ok(given)
}

fn flag_value(level: &ArgMatches, setting: &Setting) -> Option<(String, String)> {
    let name = setting.name;
    if matches!(setting.kind, Kind::Bool) {
        if level.get_flag(name) {
            return Some((format!("--{name}"), "true".into()));
        }
        return level.get_flag(setting.off).then(|| (format!("--{}", setting.off), "false".into()));
    }
    level.get_one::<String>(name).map(|text| (format!("--{name}"), text.clone()))
}

/// `name=value` of `--set`: for Kafka's settings only, the others have flags of their own.
fn set(pair: &str) -> Result<Given, CliError> {
    let usage = |why: String| command().error(clap::error::ErrorKind::InvalidValue, format!("--set {pair}: {why}"));
    let (name, text) = pair.split_once('=').ok_or_else(|| usage("give it as NAME=VALUE".into()))?;
    let name = name.trim();
    if ProcessSettings::TABLE.iter().any(|setting| setting.name == name) {
        return Err(usage(format!("it has a flag of its own, --{name}")).into());
    }
    Ok(Given { name: name.into(), text: text.into(), origin: Origin::Flag(format!("--set {name}")) })
}

#[cfg(test)]
mod tests;
