//! Apache Kafka from its jars: one combined broker and controller, and its tools.
//!
//! Why: its JVM flags are those of its own start scripts, its settings those that it ships with. What differs is what one node needs
//! (replication of 1 for its internal topics) and where it listens.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command::{exists, output, quietly};
use crate::tools;

/// `kafka-server-start.sh` and `kafka-run-class.sh`.
const SERVER_FLAGS: [&str; 9] = [
    "-Xms1G",
    "-Xmx1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

/// The broker's process, formatted and ready to start.
pub fn command(home: &Path, port: u16, flush: bool) -> Result<Command> {
    tools::install_kafka()?;
    let settings = home.join("server.properties");
    fs::write(&settings, properties(home, port, flush)).with_context(|| settings.display().to_string())?;
    let id = output(java(&["-Xmx256m"])?.args(["kafka.tools.StorageTool", "random-uuid"]))?;
    let mut format = java(&["-Xmx256m"])?;
    quietly(format.args(["kafka.tools.StorageTool", "format", "-t", id.trim(), "-c"]).arg(&settings))?;
    let mut server = java(&SERVER_FLAGS)?;
    server.arg("kafka.Kafka").arg(settings);
    Ok(server)
}

/// Whether it listens.
pub fn is_ready(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// One of Kafka's tools, by class name without its package, with the JVM flags of `kafka-run-class.sh`.
pub fn tool(class: &str, arguments: &[&str]) -> Result<String> {
    let mut java = java(&["-Xmx512m", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:MaxInlineLevel=15"])?;
    output(java.arg(format!("org.apache.kafka.tools.{class}")).args(arguments))
}

fn java(flags: &[&str]) -> Result<Command> {
    ensure!(exists("java"), "java is not installed: cargo xtask tools");
    let mut java = crate::command::command("java", flags);
    java.arg(format!("-Dlog4j2.configurationFile={}", tools::kafka_jars().join("log4j2.properties").display()));
    java.arg("-cp").arg(tools::kafka_jars().join("*"));
    Ok(java)
}

fn properties(home: &Path, port: u16, flush: bool) -> String {
    let (data, controller) = (home.join("data"), port + 1);
    let mut properties = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
",
        data = data.display()
    );
    if flush {
        properties.push_str("log.flush.interval.messages=1\n");
    }
    properties
}
