//! Foreign programs: Kafka's tools on a JVM, Python scripts, kcat.
//!
//! Invariants: each run has a time limit, after which it is killed and the test fails with what it said.
//! Not here: installing them (`cargo xtask tools`).

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{guard, skipped};

/// A foreign client that takes longer has hung.
const LIMIT: Duration = Duration::from_secs(90);

/// What a program did.
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it said on standard output.
    pub stdout: String,
    /// What it said on standard error.
    pub stderr: String,
}

/// Kafka's tools.
pub struct KafkaTools {
    jars: PathBuf,
}

/// Kafka's tools, if they are installed.
pub fn kafka_tools() -> Option<KafkaTools> {
    let jars = target().join("kafka-tools");
    found(jars.join(".installed").exists(), "Kafka's tools").then_some(KafkaTools { jars })
}

impl KafkaTools {
    /// Runs `org.apache.kafka.tools.<class>` (or a class of `kafka.`, in full) and returns its standard output; any failure is the test's.
    pub fn run<S: AsRef<OsStr>>(&self, class: &str, arguments: &[S]) -> String {
        self.run_with_input(class, arguments, b"")
    }

    /// As [`Self::run`], with something on standard input.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, class: &str, arguments: &[S], input: &[u8]) -> String {
        expect_success(class, self.try_run(class, arguments, input))
    }

    /// As [`Self::run_with_input`], for those that may fail.
    pub fn try_run<S: AsRef<OsStr>>(&self, class: &str, arguments: &[S], input: &[u8]) -> Output {
        let mut java = Command::new("java");
        // A tool lives for a second: the small compiler and collector start fastest.
        java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
        java.arg(format!("-Dlog4j2.configurationFile={}", self.jars.join("log4j2.properties").display()));
        java.arg("-cp").arg(self.jars.join("*"));
        java.arg(if class.starts_with("kafka.") {
            class.to_owned()
        } else {
            format!("org.apache.kafka.tools.{class}")
        });
        run(
            {
                java.args(arguments);
                java
            },
            input,
            LIMIT,
        )
    }
}

/// Runs a script of tests/black_box/python with these arguments; `None` where the clients are not installed.
pub fn python(script: &str, arguments: &[&str]) -> Option<String> {
    let python = target().join("clients/bin/python");
    if !found(target().join("clients/.installed").exists(), "the Python clients") {
        return None;
    }
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/black_box/python").join(script)).args(arguments);
    Some(expect_success(script, run(command, b"", LIMIT)))
}

/// Runs kcat; `None` where it is not installed.
pub fn kcat(arguments: &[&str], input: &[u8]) -> Option<String> {
    let installed = Command::new("kcat").arg("-V").output().is_ok();
    if !found(installed, "kcat") {
        return None;
    }
    let mut command = Command::new("kcat");
    command.args(arguments);
    Some(expect_success("kcat", run(command, input, LIMIT)))
}

/// Runs a program with this input and limit.
pub fn run(mut command: Command, input: &[u8], limit: Duration) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let line = format!("{command:?}");
    let mut child = guard::spawn(command).unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut stdin = child.stdin.take().expect("asked for");
    let stdout = read_aside(child.stdout.take().expect("asked for"));
    let stderr = read_aside(child.stderr.take().expect("asked for"));
    let input = input.to_vec();
    // A program that does not read its input closes it; that is its business.
    std::thread::spawn(move || stdin.write_all(&input));
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().expect("our own child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("our own child");
            child.wait().expect("our own child");
            let said = (stdout.join().expect("a reader"), stderr.join().expect("a reader"));
            panic!("not ended after {limit:?}: {line}\n{}\n{}", said.0, said.1);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output { status, stdout: stdout.join().expect("a reader"), stderr: stderr.join().expect("a reader") }
}

fn read_aside(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is still worth showing.
        let _end = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn expect_success(name: &str, output: Output) -> String {
    assert!(output.status.success(), "{name} ended with {}\n{}\n{}", output.status, output.stdout, output.stderr);
    output.stdout
}

fn found(installed: bool, what: &str) -> bool {
    if !installed {
        let required = std::env::var("CHRONIK_TEST_CLIENTS").is_ok_and(|value| value == "required");
        assert!(!required, "{what}: not installed");
        skipped(&format!("{what}: not installed; `cargo xtask tools` does it"));
    }
    installed
}

/// The build folder, where `cargo xtask tools` puts what it brings.
fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("tmp lies in it").to_path_buf()
}
