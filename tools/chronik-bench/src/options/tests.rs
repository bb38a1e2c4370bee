//! What the command line accepts and refuses.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;

fn parse(arguments: &str) -> Result<Options> {
    let all =
        ["chronik-bench", "--bootstrap-servers", "localhost:9092"].into_iter().chain(arguments.split_whitespace());
    let options = Options::try_parse_from(all)?;
    options.check()?;
    Ok(options)
}

#[test]
fn the_documented_command_line_works_as_written() {
    let options = parse("--duration 30s --concurrency 128 --message-size 256").unwrap();
    assert_eq!((options.mode, options.client, options.acks), (Mode::Produce, ClientKind::Librdkafka, Acks::All));
    assert_eq!((options.concurrency(), options.rate, options.linger_ms), (128, None, 0.0));
    assert_eq!((options.duration, options.warm_up()), (Duration::from_secs(30), Duration::from_secs(2)));
}

#[test]
fn a_flag_that_would_do_nothing_is_refused() {
    for wrong in [
        "--probe",
        "--connections 4",
        "--batch-records 10",
        "--client raw --compression zstd",
        "--client raw --linger-ms 5",
        "--client raw --idempotence",
        "--client raw --property a=b",
        "--client raw --mode consume",
        "--client raw --mode end-to-end",
        "--client raw --probe --concurrency 2",
        "--mode consume --rate 5",
        "--mode consume --audit",
        "--audit --acks 0",
        "--audit --message-size 8",
        "--idempotence --acks 1",
        "--concurrency 0",
        "--rate 5 --concurrency 5",
        "--svg a.svg",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_later_flag_overrides_an_earlier_one() {
    assert_eq!(parse("--concurrency 8 --concurrency=64").unwrap().concurrency(), 64);
    assert!(!parse("--idempotence --idempotence=false").unwrap().idempotence);
    assert!(parse("--idempotence").unwrap().idempotence);
}

#[test]
fn a_raw_window_told_in_requests_sets_the_concurrency() {
    let options = parse("--client raw --connections 4 --in-flight 5 --batch-records 100").unwrap();
    assert_eq!(options.concurrency(), 2000);
    assert_eq!(parse("--client raw").unwrap().concurrency(), CONCURRENCY_DEFAULT);
    assert_eq!(parse("--acks -1").unwrap().acks, Acks::All);
}
