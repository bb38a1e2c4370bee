//! The Python clients, in an environment of their own under the build folder.
//!
//! Invariants: an environment without the stamp of today's requirements is made again.

use std::fs;

use anyhow::{Context, Result};

use crate::command::{command, quietly};
use crate::workspace;

/// Makes the environment unless it is there.
pub fn install() -> Result<()> {
    let folder = workspace::target().join("clients");
    let wanted_path = workspace::root().join("tests/requirements.txt");
    let wanted = fs::read_to_string(&wanted_path).with_context(|| wanted_path.display().to_string())?;
    let stamp = folder.join(".installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing the Python clients");
    quietly(command("python3", ["-m", "venv", "--clear"]).arg(&folder))?;
    let python = folder.join("bin/python");
    let mut pip = command(&python.display().to_string(), ["-m", "pip", "install", "-q", "--disable-pip-version-check"]);
    quietly(pip.arg("-r").arg(wanted_path))?;
    fs::write(stamp, wanted).context("stamping target/clients")
}
