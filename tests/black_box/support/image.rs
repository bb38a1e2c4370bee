//! A file system of our own: an image file, mounted through a loop device.
//!
//! Invariants: it is unmounted and gone when dropped.
//! Needs root. Where mounting is impossible the caller skips, and says why.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{clients, skipped};

const LIMIT: Duration = Duration::from_secs(30);

/// linux/fs.h: nothing is written from the first to the second, and whoever tries waits.
const FREEZE: libc::c_ulong = 0xc004_5877;
const THAW: libc::c_ulong = 0xc004_5878;

/// `EXT4_IOC_SHUTDOWN`, and its flag for "without flushing anything": from then on every operation fails.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
const NO_LOG_FLUSH: u32 = 2;

/// A mounted ext4 image.
pub struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    /// Makes and mounts one; `None`, with a word, where that is impossible.
    pub fn mounted(bytes: u64) -> Option<Self> {
        let folder =
            tempfile::Builder::new().prefix("image-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let image = Self { folder };
        File::create(image.file()).and_then(|file| file.set_len(bytes)).expect("an image file");
        std::fs::create_dir(image.path()).expect("a folder");
        run("mkfs.ext4", &["-q".as_ref(), "-F".as_ref(), &image.file()]).expect("mkfs.ext4 runs");
        match image.mount() {
            Ok(()) => Some(image),
            Err(why) => {
                skipped(&format!("nothing can be mounted here: {why}"));
                None
            }
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// From now on every read and write on it fails, as if the device had gone.
    pub fn shut_down(&self) {
        self.tell(SHUTDOWN, NO_LOG_FLUSH);
    }

    /// Every write and flush waits for so long, and then goes on.
    pub fn stall(&self, time: Duration) {
        self.tell(FREEZE, 0);
        std::thread::sleep(time);
        self.tell(THAW, 0);
    }

    fn tell(&self, what: libc::c_ulong, argument: u32) {
        let folder = File::open(self.path()).expect("it is mounted");
        // SAFETY: each of these ioctls reads one u32 at most, which lives until it returns.
        let done = unsafe { libc::ioctl(folder.as_raw_fd(), what, &raw const argument) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    /// Unmounts and mounts again, which replays the journal. Nobody may use it meanwhile.
    pub fn remount(&self) {
        self.unmount().expect("nobody uses it");
        self.mount().expect("it was mounted before");
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run("mount", &["-o".as_ref(), "loop".as_ref(), &self.file(), &self.path()])
    }

    fn unmount(&self) -> std::io::Result<()> {
        let path = CString::new(self.path().as_os_str().as_bytes()).expect("no zero in it");
        // SAFETY: the string lives until the call returns.
        match unsafe { libc::umount2(path.as_ptr(), 0) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A broker that was just killed may hold it for a moment more; and it may never have been mounted.
        for _ in 0..50 {
            match self.unmount() {
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    std::thread::sleep(Duration::from_millis(100))
                }
                _ => return,
            }
        }
    }
}

fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let mut command = Command::new(program);
    // mkfs lies where only root's path looks.
    let path = std::env::var("PATH").unwrap_or_default();
    command.args(arguments).env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let output = clients::run(command, b"", LIMIT);
    if output.status.success() { Ok(()) } else { Err(output.stderr) }
}
