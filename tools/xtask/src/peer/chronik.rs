//! Our brokers, as a user starts them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use super::client_ports;
use crate::workspace;

const ADMIN_OFFSET: u16 = 4000;

/// The processes of so many brokers: standalone if it is one.
pub fn commands(home: &Path, first: u16, nodes: u16, settings: &[String]) -> Vec<Command> {
    let binary =
        std::env::var_os("CHRONIK_TEST_SERVER").map_or_else(|| workspace::release_binary("chronik-server"), Into::into);
    let command = |(id, port): (u16, u16)| {
        let mut server = Command::new(&binary);
        // A broker refuses variables that it does not know.
        server.env_remove("CHRONIK_TEST_SERVER");
        server.args(["--kafka-port", &port.to_string(), "--node-id", &id.to_string(), "--data-dir"]);
        server.arg(home.join(format!("data-{id}")));
        server.args(settings.iter().flat_map(|setting| ["--set", setting]));
        if nodes == 1 {
            server.arg("standalone");
            return server;
        }
        let peers = (1..=nodes).zip(client_ports(first)).filter(|(other, _)| *other != id);
        let peers: Vec<String> = peers.map(|(other, port)| format!("{other}@localhost:{}", port + 1)).collect();
        server.args([
            "raft-cluster",
            "--raft-addr",
            &format!("127.0.0.1:{}", port + 1),
            "--peers",
            &peers.join(","),
            "--bootstrap",
        ]);
        server
    };
    (1..=nodes).zip(client_ports(first)).map(command).collect()
}

/// Whether `/ready` says so.
pub fn is_ready(port: u16) -> bool {
    ask(port, "/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// A series of `/metrics`, with its labels; `None` where the broker does not answer, or has no such series.
pub fn metric(port: u16, series: &str) -> Option<f64> {
    let answer = ask(port, "/metrics").ok()?;
    answer.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

fn ask(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port + ADMIN_OFFSET))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
