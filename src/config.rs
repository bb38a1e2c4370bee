//! Settings: what there is, what it may be, and which of file, environment and flags wins.
//!
//! *Which core*: the main thread loads; any core reads.
//! *Invariants*: flags over environment over file over default; nothing unknown and nothing without effect is accepted;
//! every value knows where it comes from.
//! *Not here*: the command line (`cli`); reading the environment or the disk: sources are handed in, so that all of this is pure.
//! *Why one table per kind*: flags, variables, keys, checks, `--print-config` and the reference are made of the same rows.

pub mod address;
pub mod broker;
pub mod cluster;
mod file;
mod print;
pub mod process;
pub mod reference;
mod setting;
mod suggest;
pub mod topic;
pub mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::rt::Options;
use broker::{BrokerConfig, Known};
use cluster::{ClusterConfig, Mode};
use process::{Derived, Machine, ProcessConfig, ProcessSettings};

pub use setting::Setting;
pub use value::ConfigType;

/// Everything that the operator may set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The process's own settings.
    pub process: ProcessConfig,
    /// Kafka's settings.
    pub broker: BrokerConfig,
    /// Faults to find. No setting reaches it: only the simulator turns one on.
    pub bugs: storage::log::Bugs,
    lines: Vec<Line>,
}

/// A setting, its value and where it comes from.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    name: &'static str,
    value: Option<String>,
    origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// Other settings, or the machine: from what.
    Derived(String),
    /// The file.
    File {
        /// As it was named.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// This variable.
    Environment(String),
    /// This flag, as it was written.
    Flag(String),
}

/// A value that somebody gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The setting, as it was named.
    pub name: String,
    /// The value.
    pub text: String,
    /// Where.
    pub origin: Origin,
}

/// Where settings come from, the weakest first.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file's path and text.
    pub file: Option<(PathBuf, String)>,
    /// Variables of the environment; those without our prefix do not count.
    pub variables: Vec<(String, String)>,
    /// Flags, by the names of their settings.
    pub flags: Vec<Given>,
    /// What is to be run, if that was said; else it follows from the settings.
    pub mode: Option<Mode>,
}

/// The variable that names the file; the one variable that is no setting.
pub const CONFIG_VARIABLE: &str = "CHRONIK_CONFIG";
/// What our variables begin with.
pub const VARIABLE_PREFIX: &str = "CHRONIK_";

/// Why settings are not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not TOML.
    #[error("{}:{line}: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The parser's words.
        why: String,
    },
    /// Unknown, refused, or not of its kind.
    #[error("{origin}: {why}")]
    Invalid {
        /// Where it was given.
        origin: Origin,
        /// A sentence.
        why: String,
    },
}

/// All that is wrong with the settings, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ConfigError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Derived(from) => write!(f, "default ({from})"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl Config {
    /// Puts the layers over each other. Errors: all that is wrong, not only the first.
    pub fn load(sources: &Sources, machine: &Machine) -> Result<Config, ConfigErrors> {
        let mut layers = Layers::default();
        if let Some((path, text)) = &sources.file {
            match file::read(path, text) {
                Ok(given) => layers.put(given),
                Err(error) => layers.errors.push(error),
            }
        }
        let (variables, unknown) = read_variables(&sources.variables);
        layers.errors.extend(unknown);
        layers.put(variables);
        layers.put(sources.flags.clone());
        layers.finish(sources.mode, machine)
    }

    /// How executors run.
    pub fn executor_options(&self) -> Options {
        Options { spin_before_park: self.process.spin_before_park, ..Options::default() }
    }

    /// The value of a setting that the operator gave; none if it is a default.
    pub fn set_value(&self, name: &str) -> Option<&str> {
        let line = self.lines.iter().find(|line| line.name == name)?;
        match line.origin {
            Origin::Default | Origin::Derived(_) => None,
            Origin::File { .. } | Origin::Environment(_) | Origin::Flag(_) => line.value.as_deref(),
        }
    }

    /// Every setting, its value and its origin: itself a file that gives the same settings.
    pub fn print(&self) -> String {
        print::print(&self.lines)
    }
}

/// The defaults, on a machine of two processors: for tests and simulations.
impl Default for Config {
    fn default() -> Config {
        let machine = Machine { cpus: vec![0, 1], processors: 2 };
        Config::load(&Sources::default(), &machine).expect("the defaults are valid")
    }
}

#[derive(Default)]
struct Layers {
    process: ProcessSettings,
    broker: BrokerConfig,
    origins: BTreeMap<&'static str, (String, Origin)>,
    errors: Vec<ConfigError>,
}

impl Layers {
    /// Puts a layer over those before it.
    fn put(&mut self, layer: Vec<Given>) {
        let mut seen: BTreeMap<String, Origin> = BTreeMap::new();
        for given in layer {
            if let Some(first) = seen.insert(given.name.clone(), given.origin.clone()) {
                let why = format!("{} is given twice, first by {first}", given.name);
                self.errors.push(ConfigError::Invalid { origin: given.origin, why });
            } else if let Err(why) = self.assign(&given) {
                self.errors.push(ConfigError::Invalid { origin: given.origin, why });
            }
        }
    }

    fn assign(&mut self, given: &Given) -> Result<(), String> {
        let own = ProcessSettings::TABLE.iter().find(|setting| setting.name == given.name);
        let (setting, value) = if let Some(setting) = own {
            let value = setting.kind.parse(setting.name, &given.text)?;
            self.process.assign(setting.name, value.clone());
            (setting, value)
        } else if let Some(setting) = broker::setting(&given.name) {
            let Known::Acts(value) = broker::check(&given.name, &given.text)? else { return Ok(()) };
            self.broker.assign(setting.name, value.clone());
            (setting, value)
        } else {
            // Fixed, refused, or unknown; our own names are among those that may have been meant.
            return match broker::check(&given.name, &given.text) {
                Ok(_) => Ok(()),
                Err(why) if broker::names().any(|name| name == given.name) => Err(why),
                Err(_) => Err(format!("there is no setting {}{}", given.name, suggest::hint(&given.name, names()))),
            };
        };
        self.origins.insert(setting.name, (value.to_string(), given.origin.clone()));
        Ok(())
    }

    fn finish(mut self, mode: Option<Mode>, machine: &Machine) -> Result<Config, ConfigErrors> {
        let implied = if self.process.raft_addr.is_some() { Mode::Cluster } else { Mode::Standalone };
        let resolved = process::resolve(&self.process, mode.unwrap_or(implied), machine);
        let (process, mut derived) = match resolved {
            Ok(resolved) if self.errors.is_empty() => resolved,
            Ok(_) => return Err(ConfigErrors(self.errors)),
            Err(process::Conflict { name, why }) => {
                let origin = self.origins.get(name).map_or(Origin::Default, |(_, origin)| origin.clone());
                self.errors.push(ConfigError::Invalid { origin, why: format!("{name}: {why}") });
                return Err(ConfigErrors(self.errors));
            }
        };
        let voters = process.cluster.as_ref().map_or(1, ClusterConfig::voter_count);
        derived.extend(self.broker.derive(voters, |name| self.origins.contains_key(name)));
        let settings = ProcessSettings::TABLE.iter().chain(BrokerConfig::TABLE);
        let lines = settings.map(|setting| line(setting, &self.origins, &derived)).collect();
        Ok(Config { process, broker: self.broker, bugs: storage::log::Bugs::default(), lines })
    }
}

fn line(setting: &'static Setting, origins: &BTreeMap<&str, (String, Origin)>, derived: &[Derived]) -> Line {
    let name = setting.name;
    if let Some((value, origin)) = origins.get(name) {
        return Line { name, value: Some(value.clone()), origin: origin.clone() };
    }
    match derived.iter().find(|derived| derived.name == name) {
        Some(Derived { value, from, .. }) => {
            Line { name, value: Some(value.clone()), origin: Origin::Derived(from.clone()) }
        }
        None => Line { name, value: setting.default.map(str::to_owned), origin: Origin::Default },
    }
}

/// Every name that a file may have.
fn names() -> impl Iterator<Item = &'static str> {
    ProcessSettings::TABLE.iter().map(|setting| setting.name).chain(broker::names())
}

/// Our variables as settings, and those with our prefix that are none.
fn read_variables(variables: &[(String, String)]) -> (Vec<Given>, Vec<ConfigError>) {
    // Ours come last: CHRONIK_NODE_ID is node-id, not Kafka's node.id.
    let own = ProcessSettings::TABLE.iter().map(|setting| setting.name);
    let known: BTreeMap<String, &str> =
        broker::names().chain(own).map(|name| (setting::variable_of(name), name)).collect();
    let mut given = Vec::new();
    let mut unknown = Vec::new();
    for (variable, text) in variables {
        if !variable.starts_with(VARIABLE_PREFIX) || variable == CONFIG_VARIABLE {
            continue;
        }
        let origin = Origin::Environment(variable.clone());
        if let Some(name) = known.get(variable) {
            given.push(Given { name: (*name).into(), text: text.clone(), origin });
        } else {
            // By what follows the prefix: with it, everything would look alike.
            let tail = |variable: &str| variable.trim_start_matches(VARIABLE_PREFIX).to_owned();
            let tails: Vec<String> = known.keys().map(|known| tail(known)).chain([tail(CONFIG_VARIABLE)]).collect();
            let meant = suggest::nearest(&tail(variable), tails.iter().map(String::as_str));
            let hint = meant.map_or_else(String::new, |tail| format!("; did you mean {VARIABLE_PREFIX}{tail}?"));
            unknown.push(ConfigError::Invalid { origin, why: format!("there is no such variable{hint}") });
        }
    }
    (given, unknown)
}

#[cfg(test)]
mod tests;
