//! Our broker, as a user starts it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use crate::workspace;

const ADMIN_OFFSET: u16 = 4000;

/// The broker's process.
pub fn command(home: &Path, port: u16, settings: &[String]) -> Command {
    let binary =
        std::env::var_os("CHRONIK_TEST_SERVER").map_or_else(|| workspace::release_binary("chronik-server"), Into::into);
    let mut server = Command::new(binary);
    server.args(["standalone", "--kafka-port", &port.to_string(), "--data-dir"]).arg(home.join("data"));
    server.args(settings.iter().flat_map(|setting| ["--set", setting]));
    server
}

/// Whether `/ready` says so.
pub fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port + ADMIN_OFFSET))?;
        stream.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
