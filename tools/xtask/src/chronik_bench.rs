//! Running chronik-bench (release build) and reading its line of JSON.
//!
//! Invariants: a run in which a record failed is an error, never a figure.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command::{command, output};
use crate::workspace;

/// What a run measured.
pub struct Figures(Value);

impl Figures {
    /// A figure that must be there.
    pub fn number(&self, name: &str) -> Result<f64> {
        self.maybe(name).with_context(|| format!("no {name} in {}", self.0))
    }

    /// A list that must be there.
    pub fn list(&self, name: &str) -> Result<&[Value]> {
        let found = self.0.get(name).and_then(Value::as_array);
        found.map(Vec::as_slice).with_context(|| format!("no list {name} in {}", self.0))
    }

    /// A figure that some runs do not have.
    pub fn maybe(&self, name: &str) -> Option<f64> {
        // The figures stand at the top of the line, or in an object of their own beside the configuration.
        let inner = || self.0.as_object()?.values().find_map(|inner| inner.get(name));
        self.0.get(name).or_else(inner)?.as_f64()
    }
}

/// One run.
pub fn run(bootstrap: &str, arguments: &[&str]) -> Result<Figures> {
    let mut bench = command(&workspace::release_binary("chronik-bench").display().to_string(), arguments);
    bench.args(["--bootstrap-servers", bootstrap, "--quiet", "--json", "-"]);
    let figures = parse(&output(&mut bench)?)?;
    ensure!(figures.number("failed")? == 0.0, "records failed: {}", figures.0);
    Ok(figures)
}

fn parse(said: &str) -> Result<Figures> {
    let line =
        said.lines().rfind(|line| line.starts_with('{')).with_context(|| format!("no line of JSON in\n{said}"))?;
    Ok(Figures(serde_json::from_str(line)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_found_at_the_top_or_one_below() {
        let figures = parse("progress\n{\"a\": 1, \"figures\": {\"b\": 2, \"c\": null}}\n").expect("a line of JSON");
        assert_eq!(figures.maybe("a"), Some(1.0));
        assert_eq!(figures.maybe("b"), Some(2.0));
        assert_eq!(figures.maybe("c"), None);
        assert!(figures.number("d").is_err());
        assert!(parse("nothing").is_err());
    }
}
