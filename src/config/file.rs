//! The TOML file, flattened: `[log] retention.ms = 5`, `log.retention.ms = 5` and `"log.retention.ms" = 5` are one.
//!
//! *Which core*: the main thread, once. *Invariants*: every value keeps its line.
//! *Not here*: which keys there are.
//! *Why flattened*: Kafka's names have dots, which are tables to TOML; people should not have to know that.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Given, Origin};

/// Reads the text of a file; `path` is for messages.
pub fn read(path: &Path, text: &str) -> Result<Vec<Given>, ConfigError> {
    let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        path: path.into(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        why: error.message().to_owned(),
    })?;
    let mut reader = Reader { path, text, found: Vec::new() };
    reader.table("", table.get_ref())?;
    // A table of this kind is ordered by key; people read files from the top.
    reader.found.sort_by_key(|(line, _)| *line);
    Ok(reader.found.into_iter().map(|(_, given)| given).collect())
}

struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
    found: Vec<(usize, Given)>,
}

impl Reader<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in table {
            let name = format!("{prefix}{}", key.get_ref());
            let line = line_of(self.text, key.span().start);
            if let DeValue::Table(inner) = value.get_ref() {
                self.table(&format!("{name}."), inner)?;
                continue;
            }
            let origin = Origin::File { path: self.path.into(), line };
            match text_of(value) {
                Ok(text) => self.found.push((line, Given { name, text, origin })),
                Err(why) => return Err(ConfigError::Invalid { origin, why: format!("{name}: {why}") }),
            }
        }
        Ok(())
    }
}

/// A value as a flag would say it.
fn text_of(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(|number| number.to_string())
            .map_err(|_| "the number is too large".into()),
        DeValue::Float(number) => Ok(number.as_str().to_owned()),
        DeValue::Boolean(value) => Ok(value.to_string()),
        DeValue::Array(values) => {
            let words: Result<Vec<String>, String> = values.iter().map(text_of).collect();
            Ok(words?.join(","))
        }
        DeValue::Datetime(_) => Err("a date is no value of any setting".into()),
        DeValue::Table(_) => Err("a table is no value of any setting".into()),
    }
}

/// The line, from 1, of a byte position.
fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(text: &str) -> Vec<(String, String, usize)> {
        let line = |origin: &Origin| match origin {
            Origin::File { line, .. } => *line,
            other => panic!("{other:?}"),
        };
        let read = read(Path::new("c.toml"), text).expect("valid");
        read.into_iter().map(|given| (given.name, given.text, line(&given.origin))).collect()
    }

    #[test]
    fn dotted_quoted_and_nested_keys_are_one() {
        for text in
            ["log.retention.ms = 5", "\"log.retention.ms\" = 5", "[log]\nretention.ms = 5", "[log.retention]\nms=5"]
        {
            let given = given(text);
            assert_eq!((given[0].0.as_str(), given[0].1.as_str()), ("log.retention.ms", "5"), "{text}");
        }
    }

    #[test]
    fn values_of_every_type_become_text() {
        let text = "a = 1_000\nb = true\nc = \"x y\"\nd = 0.5\ne = [\"x\", \"y\"]\nf = 0x10\ng = -1\n";
        let values: Vec<String> = given(text).into_iter().map(|(_, value, _)| value).collect();
        assert_eq!(values, ["1000", "true", "x y", "0.5", "x,y", "16", "-1"]);
    }

    #[test]
    fn every_value_keeps_its_line() {
        let text = "# a comment\nz = 1\n\n[log]\nretention.ms = 2\nroll.ms = 3\n";
        let lines: Vec<usize> = given(text).into_iter().map(|(_, _, line)| line).collect();
        assert_eq!(lines, [2, 5, 6]);
    }

    #[test]
    fn what_is_not_toml_is_refused_with_its_line() {
        let error = read(Path::new("c.toml"), "a = 1\nb = = 2\n").expect_err("not TOML").to_string();
        assert!(error.starts_with("c.toml:2: "), "{error}");
        let error = read(Path::new("c.toml"), "a = 1\na = 2\n").expect_err("twice").to_string();
        assert!(error.starts_with("c.toml:2: "), "{error}");
        let error = read(Path::new("c.toml"), "\nd = 2020-01-01\n").expect_err("a date").to_string();
        assert_eq!(error, "c.toml:2: d: a date is no value of any setting");
        read(Path::new("c.toml"), "a = 99999999999999999999").expect_err("too large");
    }
}
