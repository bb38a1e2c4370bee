//! Inside the machine: the first and only process tree. Mounts, logs every write, runs the test, turns the power off.
//!
//! Invariants: whatever happens, the machine goes off; `outcome` says `ok` or what was wrong.
//! Not here: anything that could run on the host by mistake. It refuses to unless it is process 1.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::machine::Boot;
use crate::command::{command, quietly, watched};

const MODULES: [&str; 3] = ["dm-mod", "dm-bufio", "dm-log-writes"];
const RESULTS: &str = "/mnt";

/// Arguments of the guest.
#[derive(Args)]
pub struct GuestOptions {
    /// `boot.json`.
    boot: PathBuf,
    /// What the kernel adds of its own.
    #[arg(hide = true)]
    rest: Vec<String>,
}

/// Process 1. Never returns there.
pub fn run(options: &GuestOptions) -> Result<()> {
    ensure!(std::process::id() == 1, "this is what runs inside the machine of `cargo xtask powercut`");
    let outcome = live(&options.boot);
    let said = outcome.map_or_else(|error| format!("{error:#}"), |()| "ok".to_owned());
    println!("{said}");
    // Where it cannot be written, the host reads no word, which is an answer too.
    let _unwritten = fs::write(Path::new(RESULTS).join("outcome"), said);
    // SAFETY: plain system call, in a machine of our own.
    unsafe { libc::reboot(libc::RB_POWER_OFF) };
    Ok(())
}

fn live(settings: &Path) -> Result<()> {
    let boot: Boot = serde_json::from_slice(&fs::read(settings).with_context(|| settings.display().to_string())?)?;
    mount("hostfs", "none", Path::new(RESULTS), &boot.results().display().to_string())?;
    mount("proc", "proc", Path::new("/proc"), "")?;
    mount("sysfs", "sysfs", Path::new("/sys"), "")?;
    // The kernel has mounted /dev already.
    ensure!(Path::new("/dev/ubda").exists(), "there is no disk");
    for folder in [Path::new("/run"), &boot.scratch] {
        mount("tmpfs", "tmpfs", folder, "")?;
    }
    loopback_up().context("the loopback interface")?;
    load_modules()?;
    let table = format!("0 {} log-writes /dev/ubda /dev/ubdb", boot.disk_bytes / 512);
    quietly(&mut guest("dmsetup", &["create", "--noudevsync", "writes", "--table", &table]))?;
    quietly(&mut guest("dmsetup", &["mknodes"]))?;
    let disk = boot.scratch.join("disk");
    fs::create_dir(&disk)?;
    mount(&boot.file_system, "/dev/mapper/writes", &disk, "")?;
    let test = run_test(&boot, &disk);
    // The kernel writes the log behind the mark; a moment is plenty for what is left.
    std::thread::sleep(Duration::from_millis(500));
    test
}

fn run_test(boot: &Boot, disk: &Path) -> Result<()> {
    let mut test = guest(&boot.test_binary.display().to_string(), &["powercut::", "--nocapture", "--test-threads=1"]);
    test.env("CHRONIK_TEST_SERVER", &boot.server).env("CHRONIK_POWERCUT_DISK", disk).env("TMPDIR", &boot.scratch);
    test.env("CHRONIK_POWERCUT_LEDGER", &boot.ledger).env("CHRONIK_POWERCUT_SECONDS", boot.seconds.to_string());
    let (succeeded, said) = watched(&mut test)?;
    ensure!(succeeded, "the test failed");
    ensure!(said.iter().any(|line| line.contains("1 passed")), "the test did not run");
    Ok(())
}

/// A program of the host's, with a path to find it by.
fn guest(program: &str, arguments: &[&str]) -> std::process::Command {
    let mut command = command(program, arguments);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command
}

fn mount(kind: &str, what: &str, at: &Path, options: &str) -> Result<()> {
    let text = |bytes: &[u8]| CString::new(bytes).context("a zero in a name");
    let (kind_text, what, options) = (text(kind.as_bytes())?, text(what.as_bytes())?, text(options.as_bytes())?);
    let place = text(at.as_os_str().as_bytes())?;
    // SAFETY: all strings live until the call returns.
    let done = unsafe { libc::mount(what.as_ptr(), place.as_ptr(), kind_text.as_ptr(), 0, options.as_ptr().cast()) };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()).with_context(|| format!("mounting {kind} at {}", at.display())),
    }
}

fn loopback_up() -> io::Result<()> {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: libc::IFF_UP as i16 },
    };
    request.ifr_name[0] = b'l'.cast_signed();
    request.ifr_name[1] = b'o'.cast_signed();
    // SAFETY: plain system calls; the request lives until the ioctl returns.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let done = if socket < 0 { socket } else { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn load_modules() -> Result<()> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let folder = Path::new("/usr/lib/uml/modules").join(release.trim()).join("kernel/drivers/md");
    for name in MODULES {
        let path = folder.join(format!("{name}.ko"));
        if !path.exists() {
            continue;
        }
        let module = File::open(&path)?;
        // SAFETY: plain system call; the empty parameter string is static.
        if unsafe { libc::syscall(libc::SYS_finit_module, module.as_raw_fd(), c"".as_ptr(), 0) } != 0 {
            return Err(io::Error::last_os_error()).with_context(|| path.display().to_string());
        }
    }
    Ok(())
}
