//! Running other programs: by argument list, never through a shell, with an error that names the whole command line.
//!
//! Invariants: a program that ends with anything but 0 is an error; standard input is empty, so nothing can wait for a person.
//! Not here: what to run.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Whether a program of that name can be found on the path.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// A command in the repository root, with no standard input.
pub fn command<I, S>(program: &str, arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments).current_dir(crate::workspace::root()).stdin(Stdio::null());
    command
}

/// Cargo, the one that runs this task.
pub fn cargo<I, S>(arguments: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<std::ffi::OsStr>,
{
    command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()), arguments)
}

/// Runs it with its output going where ours goes.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| line(command))?;
    ensure!(status.success(), "{} ended with {status}", line(command));
    Ok(())
}

/// Runs it and returns its standard output; its standard error goes where ours goes.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| line(command))?;
    ensure!(output.status.success(), "{} ended with {}", line(command), output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs it without a word; on failure the error carries the end of what it said.
pub fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| line(command))?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let tail: Vec<&str> = said.lines().rev().take(20).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!("{} ended with {}:\n{}", line(command), output.status, tail.join("\n"));
    }
    Ok(())
}

/// Runs it with its output passed on line by line; returns whether it ended with 0, and every line of standard output.
pub fn watched(command: &mut Command) -> Result<(bool, Vec<String>)> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| line(command))?;
    let stdout = child.stdout.take().expect("standard output was asked for");
    let mut lines = Vec::new();
    for text in BufReader::new(stdout).lines() {
        let text = text.with_context(|| line(command))?;
        println!("{text}");
        lines.push(text);
    }
    Ok((child.wait().with_context(|| line(command))?.success(), lines))
}

/// The command line as a person would type it.
fn line(command: &Command) -> String {
    let mut words = vec![Path::new(command.get_program()).display().to_string()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}
