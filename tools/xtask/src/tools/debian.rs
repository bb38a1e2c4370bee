//! Debian packages: which are needed for what, how to tell that one is missing, and installing it.
//!
//! Invariants: nothing is asked of apt when nothing is missing.
//! Not here: other distributions. There the error names the programs, and their packages' names in Debian.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::{command, exists, quietly};

/// What a package is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// To compile the workspace (librdkafka's C sources come inside a crate).
    Build,
    /// To run the foreign clients and the fault tests.
    Clients,
    /// For a machine of its own whose power can be cut.
    PowerCut,
}

/// How to see that a package is there.
#[derive(Clone, Copy)]
enum Probe {
    Program(&'static str),
    File(&'static str),
    PythonModule(&'static str),
}

const PACKAGES: [(Need, &str, Probe); 15] = [
    (Need::Build, "git", Probe::Program("git")),
    (Need::Build, "make", Probe::Program("make")),
    (Need::Build, "gcc", Probe::Program("gcc")),
    (Need::Build, "g++", Probe::Program("g++")),
    (Need::Build, "zlib1g-dev", Probe::File("/usr/include/zlib.h")),
    (Need::Clients, "kcat", Probe::Program("kcat")),
    (Need::Clients, "default-jre-headless", Probe::Program("java")),
    (Need::Clients, "maven", Probe::Program("mvn")),
    (Need::Clients, "python3-venv", Probe::PythonModule("ensurepip")),
    (Need::Clients, "e2fsprogs", Probe::File("/sbin/mkfs.ext4")),
    (Need::Clients, "iproute2", Probe::File("/sbin/ip")),
    (Need::Clients, "nftables", Probe::File("/usr/sbin/nft")),
    (Need::PowerCut, "user-mode-linux", Probe::Program("linux.uml")),
    (Need::PowerCut, "dmsetup", Probe::File("/sbin/dmsetup")),
    (Need::PowerCut, "xfsprogs", Probe::File("/sbin/mkfs.xfs")),
];

/// Installs what is missing, or says which line installs it.
pub fn ensure_packages(need: Need) -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(for_what, _, probe)| *for_what == need && !is_there(*probe))
        .map(|row| row.1)
        .collect();
    install(&missing)
}

fn install(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!("apt-get install -y --no-install-recommends {}", missing.join(" "));
    let Some(prefix) = exists("apt-get").then(may_install).flatten() else {
        bail!("missing: {}. As root: {by_hand}", missing.join(" "));
    };
    println!("installing {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        let words: Vec<&str> = prefix.iter().chain(&["apt-get"]).chain(arguments).copied().collect();
        let mut apt = command(words[0], &words[1..]);
        quietly(apt.env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let arguments = [&["install", "-y", "-q", "--no-install-recommends"][..], missing].concat();
    // Package lists on a fresh machine are absent or stale.
    apt(&arguments).or_else(|_| apt(&["update", "-q"]).and_then(|()| apt(&arguments))).with_context(|| by_hand.clone())
}

/// The words before `apt-get` that let it install, or `None` where nothing does.
fn may_install() -> Option<&'static [&'static str]> {
    if quietly(&mut command("test", ["-w", "/var/lib/dpkg/lock"])).is_ok() {
        Some(&[])
    } else if exists("sudo") && quietly(&mut command("sudo", ["-n", "true"])).is_ok() {
        Some(&["sudo", "-n"])
    } else {
        None
    }
}

fn is_there(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => exists(name),
        Probe::File(path) => Path::new(path).exists(),
        Probe::PythonModule(module) => quietly(&mut command("python3", ["-c", &format!("import {module}")])).is_ok(),
    }
}
