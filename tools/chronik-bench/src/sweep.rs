//! The same run once for each value of one flag, then a table and a picture.
//!
//! Invariants: every value is checked before the first run; a run with failures does not end the sweep, but makes it fail.
//! Why: a point is the user's own command line with the flag said again, so that any flag can be swept, and a point repeated alone.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use clap::Parser;

use crate::figures::Figures;
use crate::options::{ClientKind, Mode, Options, Sweep};
use crate::plot::{self, Point};
use crate::report::{Output, thousands};
use crate::run;

/// Runs the sweep; whether all went well.
pub fn run(sweep: &Sweep, options: &Options, arguments: &[String]) -> Result<bool> {
    let points = points(sweep, arguments)?;
    let mut output = Output::open(options)?;
    let mut measured: Vec<Point> = Vec::new();
    for (value, point) in points {
        eprintln!("chronik-bench: --{}={value}", sweep.flag);
        let (point, figures) = run::run(&point).with_context(|| format!("--{}={value}", sweep.flag))?;
        output.show(&point, &figures)?;
        measured.push(Point { value, figures });
    }
    output.say(&table(&sweep.flag, &measured));
    if let Some(file) = &options.svg {
        let title = title(&sweep.flag, options);
        fs::write(file, plot::draw(&title, &sweep.flag, &measured)).with_context(|| format!("cannot write {file}"))?;
    }
    Ok(measured.iter().all(|point| point.figures.is_clean()))
}

/// What all points have in common, the swept flag left out.
fn title(flag: &str, options: &Options) -> String {
    let mode = match options.mode {
        Mode::Produce => "produce",
        Mode::Consume => "consume",
        Mode::EndToEnd => "end-to-end",
    };
    let client = match options.client {
        ClientKind::Raw => "client raw",
        ClientKind::Librdkafka => "client librdkafka",
    };
    let load = match options.rate {
        Some(rate) => ("rate", format!("{rate} records/s")),
        None => ("concurrency", format!("{} outstanding", options.concurrency())),
    };
    let size = ("message-size", format!("{} B", options.message_size));
    let sent = [load, ("acks", format!("acks {}", options.acks)), size];
    let parts = [("mode", mode.to_owned()), ("client", client.to_owned())].into_iter().chain(sent);
    let parts: Vec<String> = parts.filter(|(name, _)| *name != flag).map(|(_, part)| part).collect();
    parts.join(", ")
}

/// The options of each point.
fn points(sweep: &Sweep, arguments: &[String]) -> Result<Vec<(String, Options)>> {
    let point = |value: &String| {
        let said_again = format!("--{}={value}", sweep.flag);
        let options = Options::try_parse_from(arguments.iter().chain([&said_again]))?;
        options.check().with_context(|| said_again)?;
        Ok((value.clone(), options))
    };
    sweep.values.iter().map(point).collect()
}

/// The points as a table.
fn table(flag: &str, points: &[Point]) -> String {
    let width = points.iter().map(|point| point.value.len()).chain([flag.len()]).max().unwrap_or(0);
    let mut text = String::new();
    let head = ["msg/s", "MB/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "failed"];
    let _ = write!(text, "{flag:>width$}");
    for name in head {
        let _ = write!(text, "  {name:>11}");
    }
    text.push('\n');
    for point in points {
        let Figures { msgs_per_s, mb_per_s, p50_ms, p99_ms, p999_ms, max_ms, failed, .. } = &point.figures;
        let _ = write!(text, "{:>width$}  {:>11}  {mb_per_s:>11.1}", point.value, thousands(msgs_per_s.round() as u64));
        for latency in [p50_ms, p99_ms, p999_ms, max_ms] {
            let shown = latency.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.3}"));
            let _ = write!(text, "  {shown:>11}");
        }
        let _ = writeln!(text, "  {:>11}", thousands(*failed));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may")]

    use super::*;

    fn arguments(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_point_is_the_command_line_with_the_flag_said_again() {
        let arguments = arguments("b --bootstrap-servers x:1 --concurrency 3 --sweep concurrency=1,8 --svg a.svg");
        let points = points(&"concurrency=1,8".parse().unwrap(), &arguments).unwrap();
        assert_eq!(points.iter().map(|(_, options)| options.concurrency()).collect::<Vec<_>>(), [1, 8]);
    }

    #[test]
    fn a_value_that_cannot_be_run_is_refused_before_the_first_run() {
        for wrong in ["concurrency=1,0", "concurrency=1,x", "no-such-flag=1", "probe=1"] {
            let sweep: Sweep = wrong.parse().unwrap();
            assert!(points(&sweep, &arguments("b --bootstrap-servers x:1")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_title_says_what_is_not_swept() {
        let arguments = arguments("b --bootstrap-servers x:1 --client raw --rate 100");
        let options = Options::try_parse_from(arguments).unwrap();
        assert_eq!(title("rate", &options), "produce, client raw, acks all, 256 B");
        assert_eq!(title("client", &options), "produce, 100 records/s, acks all, 256 B");
    }

    #[test]
    fn the_table_has_a_line_for_each_point() {
        let figures = Figures { msgs_per_s: 12_345.6, p50_ms: Some(0.25), ..Figures::default() };
        let points =
            [Point { value: "1".to_owned(), figures: figures.clone() }, Point { value: "256".to_owned(), figures }];
        let table = table("concurrency", &points);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[2].contains("12,346") && lines[2].contains("0.250") && lines[2].contains(" - "));
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
    }
}
