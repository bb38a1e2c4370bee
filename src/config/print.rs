//! `--print-config`: every setting, its value, and where the value comes from.
//!
//! *Which core*: the main thread. *Invariants*: what is printed is a file that gives the same settings.

use super::{Line, Setting, broker::BrokerConfig, process::ProcessSettings};
use crate::config::value::Kind;

/// Room for names and values; longer ones push their comment to the right.
const COLUMN: usize = 60;

pub(super) fn print(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        let setting = match &line.value {
            Some(value) => format!("{} = {}", key(line.name), literal(line.name, value)),
            None => format!("# {} is not set", key(line.name)),
        };
        let comment = if line.value.is_some() { format!("# {}", line.origin) } else { String::new() };
        text.push_str(format!("{setting:COLUMN$} {comment}").trim_end());
        text.push('\n');
    }
    text
}

/// Names with dots are quoted: they would be tables.
fn key(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.into() }
}

/// A value in TOML.
fn literal(name: &str, value: &str) -> String {
    let is_text = |setting: &Setting| matches!(setting.kind, Kind::Text(_) | Kind::OneOf(_) | Kind::ListOf(_));
    let mut settings = ProcessSettings::TABLE.iter().chain(BrokerConfig::TABLE);
    if settings.any(|setting| setting.name == name && is_text(setting)) {
        toml::Value::from(value).to_string()
    } else {
        value.into()
    }
}
