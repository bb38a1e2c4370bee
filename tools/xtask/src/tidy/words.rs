//! What may not be named, and where.
//!
//! Invariants: the words themselves are put together from pieces here, so that this file keeps the rules that it checks.

use std::path::Path;

use super::Finding;
use super::source::Source;

/// The only files that name glommio. A room's own benches may compare with it.
const GLOMMIO_FILES: [&str; 3] = ["storage/src/disk.rs", "net/src/stream.rs", "src/rt.rs"];

/// Synchronous state machines: a path's prefix up to its extension or folder.
const PURE: [&str; 5] =
    ["src/partition", "src/group", "src/metadata/change", "src/metadata/image", "src/metadata/controller"];

/// What a pure file has no use for.
const IMPURE: [&str; 9] = ["async", "await", "Instant", "SystemTime", "tracing", "rand", "glommio", "tokio", "thread"];

/// Code that the simulator runs unchanged: no clock, thread or randomness but that of `rt`.
const SIMULATED: [&str; 3] = ["src", "storage/src", "net/src"];

/// The world's face, and what lives outside the simulator on purpose.
const REAL: [&str; 7] =
    ["src/rt", "storage/src/disk", "net/src/stream", "src/main", "src/admin", "src/server", "src/lib"];

/// What only [`REAL`] may call.
const WORLD: [&str; 7] =
    ["Instant::now", "SystemTime::now", "thread::spawn", "thread::sleep", "thread_rng", "rand::rng", "RandomState"];

/// Words in any text file of the tree.
pub fn in_any_text(file: &Path, text: &str) -> Vec<Finding> {
    let foreign = [concat!("../", "shared"), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let is_prose_or_code = file.extension().is_some_and(|extension| extension == "rs" || extension == "md");
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut find = |what: String| findings.push(Finding::new(file, number + 1, what));
        for path in foreign.iter().filter(|path| line.contains(**path)) {
            find(format!("names {path}, which is not of this project"));
        }
        for word in unfinished.iter().filter(|word| is_prose_or_code && line.contains(**word)) {
            find(format!("{word}: do it, or leave it out"));
        }
    }
    findings
}

/// Words in a Rust file.
pub fn in_source(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = source.file.as_path();
    if !source.text.starts_with("//!") {
        findings.push(Finding::new(file, 1, "does not open with //! (what the file owns)"));
    }
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        findings.push(Finding::new(file, 1, "mod.rs: a module lies in foo.rs, its children in foo/"));
    }
    let mut find = |view: &str, word: &str, what: &str| {
        findings
            .extend(Source::words(view, word).map(|at| Finding::new(file, source.line(at), format!("{word}: {what}"))));
    };
    if !is_one_of(file, &GLOMMIO_FILES) && !file.starts_with("benches") {
        find(&source.code, "glommio", "only disk.rs, stream.rs and rt.rs name it");
    }
    if starts_with_one_of(file, &PURE) {
        for word in IMPURE {
            find(&source.shipped, word, "this file is a pure state machine");
        }
    }
    if SIMULATED.iter().any(|room| file.starts_with(room)) && !starts_with_one_of(file, &REAL) {
        for word in WORLD {
            find(&source.shipped, word, "the simulator runs this file: take it from rt");
        }
    }
    for call in [".unwrap()", ".unwrap_err()"] {
        for (at, _) in source.shipped.match_indices(call) {
            findings.push(Finding::new(
                file,
                source.line(at),
                format!("{call} outside tests: say why it cannot fail, or handle it"),
            ));
        }
    }
    for (at, _) in source.code.match_indices("#[ignore") {
        // A test that ends its process is the child of another, which says so.
        if !source.text[at..].lines().next().is_some_and(|line| line.contains("run by the test below")) {
            findings.push(Finding::new(file, source.line(at), "an ignored test guards nothing"));
        }
    }
    for (at, _) in source.code.match_indices("allow(dead_code").chain(source.code.match_indices("allow(unused")) {
        findings.push(Finding::new(file, source.line(at), "delete what is not used"));
    }
    findings
}

fn is_one_of(file: &Path, files: &[&str]) -> bool {
    files.iter().any(|listed| file == Path::new(listed))
}

/// Whether the file is one of these modules or lies below it: `src/group` is `src/group.rs`, `src/group/x.rs`, not `src/groups.rs`.
fn starts_with_one_of(file: &Path, modules: &[&str]) -> bool {
    modules.iter().any(|module| file.with_extension("").starts_with(module))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &str, text: &str) -> Vec<String> {
        in_source(&Source::new(Path::new(file), text)).into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_clean_file_has_no_finding() {
        let text = "//! A.\nfn a() { b.expect(\"c\") }\n#[cfg(test)]\nmod tests { fn d() { e.unwrap() } }\n";
        assert!(findings("src/partition/a.rs", text).is_empty());
    }

    #[test]
    fn a_file_opens_with_its_header() {
        assert_eq!(findings("src/a.rs", "fn a() {}"), ["src/a.rs:1: does not open with //! (what the file owns)"]);
    }

    #[test]
    fn glommio_is_named_in_three_files_only_and_may_be_spoken_of() {
        let text = "//! A.\nuse glommio::x;\n";
        assert!(findings("src/rt.rs", text).is_empty());
        assert!(findings("src/shard.rs", "//! A.\n// As glommio does.\n").is_empty());
        assert_eq!(findings("src/rt/ring.rs", text).len(), 1);
    }

    #[test]
    fn a_pure_file_has_no_clock_and_no_await() {
        let text = "//! A.\nasync fn a() { b.await }\nuse std::time::Instant;\n";
        assert_eq!(findings("src/partition/a.rs", text).len(), 3);
        assert_eq!(findings("src/metadata/image.rs", text).len(), 3);
        assert!(findings("src/partitions.rs", text).is_empty());
        assert!(findings("src/metadata/node.rs", text).is_empty());
    }

    #[test]
    fn simulated_code_takes_the_clock_from_rt() {
        let text = "//! A.\nfn a() { Instant::now(); }\n";
        assert_eq!(findings("src/shard.rs", text).len(), 1);
        assert!(findings("src/rt/ring.rs", text).is_empty());
        assert!(findings("tools/x/src/main.rs", text).is_empty());
    }

    #[test]
    fn unwrap_is_for_tests() {
        let text = "//! A.\nfn a() { b.unwrap() }\n";
        assert_eq!(findings("storage/src/a.rs", text).len(), 1);
        assert!(findings("storage/tests/a.rs", text).is_empty());
    }

    #[test]
    fn ignored_tests_and_silenced_warnings_are_found() {
        assert_eq!(findings("src/a.rs", "//! A.\n#[test]\n#[ignore]\nfn a() {}\n").len(), 1);
        assert!(findings("src/a.rs", "//! A.\n#[ignore = \"aborts: run by the test below\"]\nfn a() {}\n").is_empty());
        assert_eq!(findings("src/a.rs", "//! A.\n#[allow(dead_code)]\nfn a() {}\n").len(), 1);
    }

    #[test]
    fn unfinished_work_and_foreign_paths_are_found_in_any_text() {
        let text = concat!("fine\na TO", "DO here\nsee ../", "shared/x and /wo", "rk/y\n");
        let found: Vec<usize> = in_any_text(Path::new("README.md"), text).iter().map(|finding| finding.line).collect();
        assert_eq!(found, [2, 3, 3]);
        assert!(in_any_text(Path::new("a.json"), concat!("TO", "DO")).is_empty());
    }
}
