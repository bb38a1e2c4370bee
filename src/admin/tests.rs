//! The admin listener over real sockets.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use super::*;

fn config() -> Config {
    let mut config = Config::default();
    config.process.admin_bind = (Ipv4Addr::LOCALHOST, 0).into();
    config
}

fn started() -> (Admin, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new(1));
    (start(&config(), metrics.clone()).expect("a free port"), metrics)
}

/// Status line and body.
fn ask(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).expect("listening");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.lines().next().expect("a status line").to_owned(), body.to_owned())
}

#[test]
fn metrics_health_and_page_are_served() {
    let (admin, metrics) = started();
    let address = admin.local_addr();
    assert_eq!(ask(address, "/live"), ("HTTP/1.1 200 OK".into(), "live\n".into()));
    assert_eq!(ask(address, "/ready"), ("HTTP/1.1 503 Service Unavailable".into(), "starting\n".into()));
    metrics.process.set_ready(true);
    assert_eq!(ask(address, "/ready"), ("HTTP/1.1 200 OK".into(), "ready\n".into()));
    metrics.shard(0).requests(3);
    assert!(ask(address, "/metrics").1.contains("chronik_requests_total{api=\"Metadata\"} 1\n"));
    assert!(ask(address, "/").1.contains("<h1>Chronik</h1>"));
    assert_eq!(ask(address, "/nothing").0, "HTTP/1.1 404 Not Found");
    metrics.process.set_ready(false);
    assert_eq!(ask(address, "/ready").1, "stopping\n");
    admin.stop();
}

/// Lesson 42.
#[test]
fn a_stop_is_quick_and_frees_the_port_even_while_connections_are_open() {
    let (admin, metrics) = started();
    let address = admin.local_addr();
    let mut half = TcpStream::connect(address).expect("listening");
    half.write_all(b"GET /metrics HT").expect("open");
    ask(address, "/live");
    let begun = Instant::now();
    admin.stop();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let mut config = config();
    config.process.admin_bind = address;
    start(&config, metrics).expect("the port is free again").stop();
}

#[test]
fn a_port_in_use_is_refused_with_a_sentence() {
    let (admin, metrics) = started();
    let mut config = config();
    config.process.admin_bind = admin.local_addr();
    let error = start(&config, metrics).err().expect("the port is taken").to_string();
    assert!(error.contains("--admin-port"), "{error}");
    admin.stop();
}

#[test]
fn connections_that_say_nothing_leave_room_for_none_but_the_bounded_number() {
    let (admin, _metrics) = started();
    let address = admin.local_addr();
    let silent: Vec<TcpStream> = (0..63).map(|_| TcpStream::connect(address).expect("listening")).collect();
    assert_eq!(ask(address, "/live").1, "live\n");
    drop(silent);
    assert_eq!(ask(address, "/live").1, "live\n");
    admin.stop();
}
