//! Apache Kafka from its jars: combined brokers and controllers, and its tools.
//!
//! Why: its JVM flags are those of its own start scripts, its settings those that it ships with. What differs is what few nodes need
//! (replication of its internal topics) and where they listen.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::client_ports;
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

/// The processes of so many brokers, formatted and ready to start.
pub fn commands(home: &Path, first: u16, nodes: u16, flush: bool) -> Result<Vec<Command>> {
    tools::install_kafka()?;
    let id = output(java(&["-Xmx256m"])?.args(["kafka.tools.StorageTool", "random-uuid"]))?;
    let command = |(node, port): (u16, u16)| {
        let settings = home.join(format!("server-{node}.properties"));
        let data = home.join(format!("data-{node}"));
        let text = properties(&data, node, port, first, nodes, flush);
        fs::write(&settings, text).with_context(|| settings.display().to_string())?;
        let mut format = java(&["-Xmx256m"])?;
        quietly(format.args(["kafka.tools.StorageTool", "format", "-t", id.trim(), "-c"]).arg(&settings))?;
        let mut server = java(&SERVER_FLAGS)?;
        server.arg("kafka.Kafka").arg(settings);
        Ok(server)
    };
    (1..=nodes).zip(client_ports(first)).map(command).collect()
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

fn properties(data: &Path, node: u16, port: u16, first: u16, nodes: u16, flush: bool) -> String {
    let voters: Vec<String> =
        (1..=nodes).zip(client_ports(first)).map(|(node, port)| format!("{node}@127.0.0.1:{}", port + 1)).collect();
    let mut properties = format!(
        "process.roles=broker,controller
node.id={node}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor={nodes}
transaction.state.log.replication.factor={nodes}
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor={nodes}
share.coordinator.state.topic.min.isr=1
",
        voters = voters.join(","),
        controller = port + 1,
        data = data.display()
    );
    if flush {
        properties.push_str("log.flush.interval.messages=1\n");
    }
    properties
}
