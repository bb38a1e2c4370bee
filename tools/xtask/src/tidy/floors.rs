//! Who may use whom: the server's modules by floor, down only, and the two crates that are strangers to each other.
//!
//! Invariants: every module of `src/` has a floor; a module names only its own floor and those below.
//! Not here: `lib.rs`, which lists the modules, and test code.
//! Why: a graph that only goes down can be read from the bottom, and tested from the bottom.

use std::path::Path;

use super::Finding;
use super::source::Source;

/// The floors, by module path; the longest path that fits counts.
const FLOORS: &[(&str, u8)] = &[
    ("main", 6),
    ("server", 6),
    ("connection", 6),
    ("admin", 6),
    ("cli", 6),
    ("api", 5),
    ("broker", 5),
    ("shard", 4),
    ("metadata", 4),
    ("metadata::node", 4),
    ("metadata::quorum", 4),
    ("metadata::raft_log", 4),
    ("metadata::publish", 3),
    ("message", 3),
    ("mesh", 3),
    ("peer", 3),
    ("partition", 2),
    ("group", 2),
    ("metadata::change", 2),
    ("metadata::image", 2),
    ("metadata::controller", 2),
    ("metadata::request", 2),
    ("metadata::wait", 1),
    ("config", 1),
    ("limits", 1),
    ("local", 1),
    ("metrics", 1),
    ("model", 1),
    ("rt", 1),
];

/// (room, crate that it must not know)
const STRANGERS: [(&str, &str); 4] =
    [("storage", "net"), ("storage", "kafka_protocol"), ("net", "storage"), ("net", "kafka_protocol")];

/// Checks the modules that a file of `src/` names, and the crates that a crate names.
pub fn in_source(source: &Source) -> Vec<Finding> {
    let file = source.file.as_path();
    let mut findings = Vec::new();
    for (room, stranger) in STRANGERS.iter().filter(|(room, _)| file.starts_with(Path::new(room).join("src"))) {
        let path = format!("{stranger}::");
        for (at, _) in source.shipped.match_indices(&path).filter(|(at, _)| starts_a_path(&source.shipped, *at)) {
            findings.push(Finding::new(file, source.line(at), format!("{room} knows nothing of {stranger}")));
        }
    }
    let Some(own) = module_of(file) else { return findings };
    let Some(own_floor) = floor_of(&own) else {
        findings.push(Finding::new(file, 1, format!("{} has no floor in xtask's table", own.join("::"))));
        return findings;
    };
    for (at, used) in modules_used(&source.shipped, &own) {
        if let Some(floor) = floor_of(&used).filter(|floor| *floor > own_floor) {
            let (own, used) = (own.join("::"), used.join("::"));
            findings.push(Finding::new(
                file,
                source.line(at),
                format!("{own} (floor {own_floor}) uses {used} (floor {floor})"),
            ));
        }
    }
    findings
}

/// Checks the dependencies of the two crates.
pub fn in_manifest(file: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (room, stranger) in STRANGERS.iter().filter(|(room, _)| file == Path::new(room).join("Cargo.toml")) {
        let package = stranger.replace('_', "-");
        for (number, line) in text.lines().enumerate() {
            let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
            if name == package {
                findings.push(Finding::new(file, number + 1, format!("{room} knows nothing of {package}")));
            }
        }
    }
    findings
}

/// The module path of a file of `src/`; `None` for other files and for `lib.rs`.
fn module_of(file: &Path) -> Option<Vec<String>> {
    let inside = file.strip_prefix("src").ok()?.with_extension("");
    let path: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    (path != ["lib"]).then_some(path)
}

fn floor_of(module: &[String]) -> Option<u8> {
    (1..=module.len()).rev().find_map(|length| {
        let path = module[..length].join("::");
        FLOORS.iter().find(|(name, _)| *name == path).map(|(_, floor)| *floor)
    })
}

/// Every path that code names through `crate::` or `super::`, with its position.
fn modules_used(code: &str, own: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::").filter(|(at, _)| starts_a_path(code, *at)) {
        expand(&code[at + "crate::".len()..], &[], &mut |path| used.push((at, path)));
    }
    for (at, _) in code.match_indices("super::").filter(|(at, _)| starts_a_path(code, *at)) {
        let mut base = own;
        let mut rest = &code[at..];
        while let Some(after) = rest.strip_prefix("super::") {
            base = &base[..base.len().saturating_sub(1)];
            rest = after;
        }
        expand(rest, base, &mut |path| used.push((at, path)));
    }
    used
}

fn starts_a_path(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

/// Reports every path of a use tree (`a::{b, c::d}`) that follows `prefix`; returns what comes after the tree.
fn expand<'a>(code: &'a str, prefix: &[String], report: &mut dyn FnMut(Vec<String>)) -> &'a str {
    let code = code.trim_start();
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = expand(rest, prefix, report).trim_start();
            match rest.strip_prefix(',') {
                Some(after) if !after.trim_start().starts_with('}') => rest = after,
                Some(after) => return after.trim_start().strip_prefix('}').unwrap_or(""),
                None => return rest.strip_prefix('}').unwrap_or(""),
            }
        }
    }
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(code.len());
    let path = [prefix, &[code[..end].to_owned()]].concat();
    if let Some(rest) = code[end..].strip_prefix("::") {
        return expand(rest, &path, report);
    }
    report(path);
    // `as name` and `*` end before the next comma or brace; outside a group nobody reads what is left.
    code[end..].find([',', '}', ';']).map_or("", |stop| &code[end + stop..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        in_source(&Source::new(Path::new(file), text)).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_module_may_use_its_own_floor_and_those_below() {
        let text = "use crate::{model::Offset, partition::{leader, waiters::W}};\nuse crate::metadata::image::Image;";
        assert!(findings("src/shard/turn.rs", text).is_empty());
        assert!(findings("src/partition/leader.rs", "use super::waiters::W;\nuse crate::model;").is_empty());
    }

    #[test]
    fn a_module_may_not_look_up() {
        let found = findings("src/partition/leader.rs", "//! A.\nuse crate::{model, shard::{Turn as T, Other}};");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], "src/partition/leader.rs:2: partition::leader (floor 2) uses shard::Turn (floor 4)");
        assert_eq!(findings("src/metadata/image.rs", "use super::node::Node;").len(), 1);
        assert_eq!(findings("src/model.rs", "fn a() { crate::api::produce::b() }").len(), 1);
        assert_eq!(findings("src/partition/a/b.rs", "use super::super::super::api;").len(), 1);
    }

    #[test]
    fn test_code_may_look_up() {
        assert!(findings("src/model.rs", "#[cfg(test)]\nmod tests { use crate::shard::S; }").is_empty());
    }

    #[test]
    fn a_module_without_a_floor_is_found() {
        assert_eq!(findings("src/helper.rs", ""), ["src/helper.rs:1: helper has no floor in xtask's table"]);
        assert!(findings("src/lib.rs", "").is_empty());
        assert!(findings("tools/x/src/helper.rs", "").is_empty());
    }

    #[test]
    fn storage_and_net_are_strangers() {
        assert_eq!(findings("storage/src/log.rs", "use net::Frame;").len(), 1);
        assert_eq!(findings("net/src/frame.rs", "fn a() { storage::b() }").len(), 1);
        assert!(findings("net/src/frame.rs", "use std::net::TcpStream; use my_storage::x;").is_empty());
        assert_eq!(in_manifest(Path::new("net/Cargo.toml"), "[dependencies]\nstorage.workspace = true\n").len(), 1);
        assert!(in_manifest(Path::new("net/Cargo.toml"), "bytes.workspace = true\n").is_empty());
    }
}
