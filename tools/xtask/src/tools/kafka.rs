//! Apache Kafka's jars, from Maven Central by tests/kafka-tools/pom.xml.
//!
//! Invariants: a folder without the stamp of today's pom is emptied and filled again.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::command::{command, quietly};
use crate::workspace;

const COPY: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies";

/// Tools log warnings to standard error and nothing else.
const LOGGING: &str = "rootLogger.level=warn
rootLogger.appenderRef.s.ref=S
appender.s.type=Console
appender.s.name=S
appender.s.target=SYSTEM_ERR
appender.s.layout.type=PatternLayout
appender.s.layout.pattern=%d %p %c{1} %m%n
";

/// The folder with the jars and `log4j2.properties`.
pub fn jars() -> PathBuf {
    workspace::target().join("kafka-tools")
}

/// Downloads the jars unless they are there.
pub fn install() -> Result<()> {
    let pom_path = workspace::root().join("tests/kafka-tools/pom.xml");
    let pom = fs::read_to_string(&pom_path).with_context(|| pom_path.display().to_string())?;
    let stamp = jars().join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pom) {
        return Ok(());
    }
    println!("fetching Apache Kafka's tools from Maven Central");
    if jars().exists() {
        fs::remove_dir_all(jars()).context("emptying target/kafka-tools")?;
    }
    let mut maven = command("mvn", ["-q", "-B", "-f"]);
    maven.arg(&pom_path).arg(COPY).arg(format!("-DoutputDirectory={}", jars().display()));
    quietly(maven.arg("-DincludeScope=runtime"))?;
    fs::write(jars().join("log4j2.properties"), LOGGING)?;
    fs::write(stamp, pom).context("stamping target/kafka-tools")
}
