//! kcat: the command line that most people have at hand.

use crate::support::clients::kcat;
use crate::support::load::create_topic;
use crate::support::{fresh_name, shared};

#[test]
fn kcat_produces_lists_reads_and_queries() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("kcat"));
    create_topic(&bootstrap, &topic, 2, &[]);
    let broker = ["-b", &bootstrap, "-t", &topic];
    let run = |arguments: &[&str], input: &str| kcat(&[&broker, arguments].concat(), input.as_bytes());
    for codec in ["none", "gzip", "snappy", "lz4"] {
        let produce = ["-P", "-p", "1", "-K", ":", "-H", "from=kcat", "-z", codec, "-X", "acks=all"];
        if run(&produce, &format!("k:{codec}\n")).is_none() {
            return;
        }
    }
    let read = run(&["-C", "-p", "1", "-o", "beginning", "-e", "-q", "-f", "%o %k %s %h %p\n"], "").expect("installed");
    assert_eq!(read, "0 k none from=kcat 1\n1 k gzip from=kcat 1\n2 k snappy from=kcat 1\n3 k lz4 from=kcat 1\n");
    let last = run(&["-C", "-p", "1", "-o", "-1", "-e", "-q"], "").expect("installed");
    assert_eq!(last, "lz4\n");
    let listed = run(&["-L"], "").expect("installed");
    assert!(listed.contains(&format!("topic \"{topic}\" with 2 partitions")), "{listed}");
    let found = kcat(&["-b", &bootstrap, "-Q", "-t", &format!("{topic}:1:-1")], b"").expect("installed");
    assert!(found.contains("[1] offset 4"), "{found}");
}

#[test]
fn kcat_produces_idempotently_what_it_reads_from_a_pipe() {
    let (bootstrap, topic) = (shared::bootstrap(), fresh_name("kcat-pipe"));
    create_topic(&bootstrap, &topic, 1, &[]);
    let lines: String = (0..20_000).map(|n| format!("{n}\n")).collect();
    let idempotent = ["-b", &bootstrap, "-t", &topic, "-P", "-p", "0", "-X", "enable.idempotence=true"];
    if kcat(&idempotent, lines.as_bytes()).is_none() {
        return;
    }
    let read = kcat(&["-b", &bootstrap, "-t", &topic, "-C", "-p", "0", "-o", "beginning", "-e", "-q"], b"");
    assert!(read.expect("installed") == lines);
}
