//! The shape that scripts rely on, and what people must be told.

#![allow(clippy::unwrap_used, reason = "a test may")]

use clap::Parser;

use super::*;
use crate::audit::Audit;

fn options(arguments: &str) -> Options {
    let all =
        ["chronik-bench", "--bootstrap-servers", "localhost:9092"].into_iter().chain(arguments.split_whitespace());
    Options::try_parse_from(all).unwrap()
}

fn figures() -> Figures {
    Figures { msgs_per_s: 41_152.4, messages: 1_234_567, p50_ms: Some(0.5), max_ms: Some(9.0), ..Figures::default() }
}

#[test]
fn the_line_of_json_has_the_names_that_scripts_read() {
    let line = json(&options("--client raw --connections 2"), &figures()).unwrap();
    assert!(!line.contains('\n'));
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    for name in ["msgs_per_s", "mb_per_s", "p50_ms", "max_ms", "messages", "failed"] {
        assert!(line[name].is_number(), "{name}");
    }
    for name in ["p99_ms", "p999_ms", "p9999_ms", "audit", "probe_p50_ms"] {
        assert!(line.as_object().unwrap().contains_key(name), "{name}");
    }
    assert_eq!((&line["client"], &line["mode"]), (&"raw".into(), &"produce".into()));
    let config = &line["config"];
    assert_eq!((&config["acks"], &config["message_size"]), (&"all".into(), &"256".into()));
    assert_eq!((&config["duration_s"], &config["connections"]), (&30.0.into(), &2.into()));
}

#[test]
fn a_raw_run_is_labelled() {
    assert!(text(&options("--client raw"), &figures()).contains("client raw"));
    assert!(!text(&options(""), &figures()).contains("raw"));
}

#[test]
fn failures_and_faults_are_told() {
    let audit = Audit { missing: 3, acknowledged: 10, ..Audit::default() };
    let errors = [("NotLeaderOrFollower".to_owned(), 7)].into_iter().collect();
    let figures = Figures { failed: 7, errors, unsent: 5, audit: Some(audit), ..figures() };
    let text = text(&options("--rate 10"), &figures);
    for part in ["FAILED     7", "7 NotLeaderOrFollower", "AUDIT", "3 missing", "5 records were due"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn numbers_are_grouped() {
    assert_eq!([0, 999, 1000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
}
