//! The reference of flags, variables, settings and topic configs, as Markdown, from the tables that the code works by.
//!
//! *Which core*: the main thread. *Invariants*: nothing is written here by hand that a table says.
//! *Not here*: metrics' own rows; they are handed in by their table.

use std::fmt::Write;

use super::broker::{self, BrokerConfig, FIXED};
use super::process::ProcessSettings;
use super::topic::{self, Status};
use super::value::Kind;
use super::{CONFIG_VARIABLE, Setting};
use crate::metrics;

const HEAD: &str = "# Reference

Made by `chronik-server --print-reference`.

Every setting may be given by a flag, by a variable of the environment, or in a TOML file (`--config FILE`, or the
variable `CHRONIK_CONFIG`). Flags win over the environment, the environment over the file, the file over the default.
`--print-config` shows what came of it, and from where. What is unknown is refused, and so is what would have no effect.
";

/// The whole reference.
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    own_settings(&mut text);
    kafkas_settings(&mut text);
    topic_configs(&mut text);
    metric_tables(&mut text);
    text
}

fn own_settings(text: &mut String) {
    text.push_str("\n## Settings of the process\n\nThe key in the file is the flag without its dashes.\n\n");
    table(text, &["Flag", "Variable", "Takes", "Default", "What it does"]);
    for setting in ProcessSettings::TABLE {
        let flag = match setting.kind {
            Kind::Bool => format!("`--{0}`, `--no-{0}`", setting.name),
            _ => format!("`--{}`", setting.name),
        };
        row(text, &[&flag, &code(&setting.variable()), &takes(setting), &default(setting.default), setting.doc]);
    }
    row(text, &["`--config`", &code(CONFIG_VARIABLE), "path", "", "TOML file with settings."]);
    row(text, &["`--set NAME=VALUE`", "", "", "", "One of the broker's settings below; may be given many times."]);
    row(text, &["`--print-config`", "", "", "", "Prints every setting, its value and its origin, and ends."]);
}

fn kafkas_settings(text: &mut String) {
    text.push_str(
        "\n## Settings of the broker\n\nThose of Apache Kafka, by Kafka's names: in the file, by `--set`, or as a variable.\n\n",
    );
    table(text, &["Name", "Variable", "Takes", "Default", "What it does"]);
    for setting in BrokerConfig::TABLE {
        let variable = code(&setting.variable());
        row(text, &[&code(setting.name), &variable, &takes(setting), &default(setting.default), setting.doc]);
    }
    text.push_str("\nThese have one value here, and no other is taken:\n\n");
    table(text, &["Name", "Value", "Why"]);
    for fixed in FIXED {
        row(text, &[&code(fixed.name), &code(fixed.value), fixed.why]);
    }
    text.push_str("\nEvery other setting of Kafka's does nothing here and is refused:\n\n");
    table(text, &["Why", "Names"]);
    for (why, names) in broker::refused_groups() {
        let names: Vec<String> = names.iter().map(|name| code(name)).collect();
        row(text, &[why, &names.join(", ")]);
    }
}

fn topic_configs(text: &mut String) {
    text.push_str("\n## Configs of topics\n\nAll are validated as Kafka does, kept, and described.\n\n");
    table(text, &["Name", "Takes", "Default", "Acts here", "What it does"]);
    for setting in topic::TABLE.iter().filter(|setting| setting.status != Status::Internal) {
        let acts = match setting.status {
            Status::Acts | Status::Internal => "yes".to_owned(),
            Status::Stored => "no".to_owned(),
            Status::Only(taken, why) => {
                let taken: Vec<String> = taken.iter().map(|value| format!("`{value}`")).collect();
                format!("only {}: {why}", taken.join(" or ").replace("``", "empty"))
            }
        };
        let takes = setting.kind.to_string();
        let broker: Vec<String> =
            setting.synonyms.iter().filter(|s| broker::setting(s).is_some()).map(|s| code(s)).collect();
        let default = if broker.is_empty() { default(setting.default) } else { broker.join(", ") };
        row(text, &[&code(setting.name), &takes, &default, &acts, setting.doc]);
    }
}

fn metric_tables(text: &mut String) {
    text.push_str("\n## Metrics\n\n`/metrics` of the admin listener, in Prometheus' text format. A histogram has `_bucket`, `_sum` and `_count`.\n");
    for (title, labels, rows) in metrics::tables() {
        let labels = if labels.is_empty() { String::new() } else { format!("Labels: {labels}.\n\n") };
        let _ = write!(text, "\n### {title}\n\n{labels}");
        table(text, &["Name", "Type", "What it counts"]);
        for metric in rows {
            let kind = format!("{:?}", metric.kind).to_lowercase();
            row(text, &[&code(metric.name), &kind, metric.help]);
        }
    }
}

fn takes(setting: &Setting) -> String {
    setting.kind.to_string()
}

fn default(value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| if value.is_empty() { "empty".into() } else { code(value) })
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn table(text: &mut String, columns: &[&str]) {
    row(text, columns);
    let _ = writeln!(text, "|{}", "---|".repeat(columns.len()));
}

fn row(text: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.trim().replace('|', "\\|")).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_table_is_in_the_reference() {
        let text = markdown();
        for setting in ProcessSettings::TABLE {
            assert!(text.contains(&format!("`--{}`", setting.name)) && text.contains(&setting.variable()));
        }
        for name in broker::names().chain(topic::TABLE.iter().map(|setting| setting.name)) {
            assert!(text.contains(&format!("`{name}`")) || name.starts_with("internal."), "{name}");
        }
        for metric in metrics::tables().iter().flat_map(|(_, _, rows)| rows.iter()) {
            assert!(text.contains(&format!("`{}`", metric.name)), "{}", metric.name);
        }
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_head() {
        let mut cells = 0;
        for line in markdown().lines() {
            let now = line.replace("\\|", "").matches('|').count();
            if line.starts_with('|') && cells > 0 {
                assert_eq!(now, cells, "{line}");
            }
            cells = now;
        }
    }
}
