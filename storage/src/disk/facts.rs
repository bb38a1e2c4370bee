//! What the file system under a directory promises: above all, whether one flush may stand for many files.
//!
//! *Which core*: the calling executor's blocking pool, at start.
//! *Invariants*: what cannot be established counts as not promised; the sentence says what was found.
//! *Not here*: what to do about it.
//! *Why*: a flush of a clean file on a file system that overwrites in place sends the device one cache flush, and that covers
//! every completed write to written blocks of every file on the same device (design: barrier). Data journaling, copy on write,
//! encryption and compression put something else between a completed write and the device.
//! *Why* not XFS with reflinks, which mkfs.xfs makes unless told not to: `cp` of a live directory clones its files, and the next
//! write to a cloned block goes elsewhere; a flush of another file does not make durable where. Seen in an image of the device.

use super::ring::{blocking, detached};
use super::{DiskError, DiskErrorReason};
use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a start finds out about the file system under a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsFacts {
    /// May one fdatasync of a clean file stand for the completed writes to prewritten blocks of other files (design: barrier)?
    pub barrier_holds: bool,
    /// Why, or why not, in a sentence for the log.
    pub reason: String,
}

pub(super) async fn gather(path: PathBuf) -> Result<FsFacts, DiskError> {
    detached(blocking(move || {
        let metadata = fs::metadata(&path).map_err(|error| DiskError::from_io("look up", &path, &error))?;
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .map_err(|error| DiskError::from_io("read", Path::new("/proc/self/mountinfo"), &error))?;
        let device = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
        let Some(mount) = mounts.lines().filter_map(Mount::parse).rfind(|mount| mount.device == device) else {
            let reason = format!("device {}:{} is not in mountinfo: flushing each file", device.0, device.1);
            return Ok(FsFacts { barrier_holds: false, reason });
        };
        let flags = inode_flags(&path)
            .map_err(|error| DiskError::new("look up", &path, DiskErrorReason::Io(error.to_string())))?;
        let options = all_options(&mount);
        let name = format!("{} on {}", mount.kind, mount.source);
        Ok(match obstacle(&mount, &options, flags) {
            None => FsFacts {
                barrier_holds: true,
                reason: format!("{name} overwrites in place: one flush a turn covers every log"),
            },
            Some(why) => FsFacts { barrier_holds: false, reason: format!("{name}: {why}: flushing each file") },
        })
    }))
    .await
}

/// A line of mountinfo, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: (u32, u32),
    kind: String,
    source: String,
    options: String,
}

impl Mount {
    /// `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard` (proc(5)).
    fn parse(line: &str) -> Option<Mount> {
        let (left, right) = line.split_once(" - ")?;
        let (major, minor) = left.split(' ').nth(2)?.split_once(':')?;
        let per_mount = left.split(' ').nth(5)?;
        let mut right = right.split(' ');
        Some(Mount {
            device: (major.parse().ok()?, minor.parse().ok()?),
            kind: right.next()?.to_owned(),
            source: right.next()?.to_owned(),
            options: format!("{},{per_mount}", right.next()?),
        })
    }
}

/// The mount's options, and those that mountinfo leaves out: for ext4 the superblock's defaults, for XFS that it is zoned.
fn all_options(mount: &Mount) -> String {
    let link = fs::read_link(format!("/sys/dev/block/{}:{}", mount.device.0, mount.device.1));
    let name = link.ok().and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned())).unwrap_or_default();
    let more = match mount.kind.as_str() {
        "ext4" => match fs::read_to_string(format!("/proc/fs/ext4/{name}/options")) {
            Ok(listed) => listed.trim().replace('\n', ","),
            Err(_) => UNKNOWN_OPTIONS.to_owned(),
        },
        "xfs" if Path::new(&format!("/sys/fs/xfs/{name}/zoned")).exists() => "zoned".to_owned(),
        _ => String::new(),
    };
    format!("{},{more}", mount.options)
}

/// Stands among the options where the file system's own list could not be read.
const UNKNOWN_OPTIONS: &str = "(unknown)";

/// What the inode of the data directory hands down to its files, and what its file system does with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct InodeFlags {
    /// `chattr +j`.
    data_journal: bool,
    /// fscrypt.
    encrypted: bool,
    /// XFS real-time section: another device.
    real_time: bool,
    /// Writes by the processor into persistent memory.
    direct_access: bool,
    /// XFS without reflinks: no file can come to share its blocks.
    owns_blocks: bool,
}

fn inode_flags(directory: &Path) -> std::io::Result<InodeFlags> {
    // linux/fs.h: FS_IOC_GETFLAGS and FS_IOC_FSGETXATTR, struct fsxattr, and the flags of each; xfs_fs.h: XFS_IOC_FSGEOMETRY_V4,
    // struct xfs_fsop_geom_v4.
    const GET_FLAGS: libc::c_ulong = 0x8008_6601;
    const GET_XATTR: libc::c_ulong = 0x801c_581f;
    const JOURNAL_DATA: libc::c_long = 0x4000;
    const ENCRYPT: libc::c_long = 0x800;
    const XFLAG_REALTIME: u32 = 0x1;
    const XFLAG_RTINHERIT: u32 = 0x100;
    const XFLAG_DAX: u32 = 0x8000;
    const GET_XFS_GEOMETRY: libc::c_ulong = 0x8070_587c;
    const GEOMETRY_FLAGS_INDEX: usize = 23;
    const GEOMETRY_REFLINK: u32 = 1 << 20;
    #[repr(align(8))]
    struct Geometry([u32; 28]);
    let file = fs::File::open(directory)?;
    let (mut flags, mut xattr, mut geometry): (libc::c_long, [u32; 7], Geometry) = (0, [0; 7], Geometry([0; 28]));
    // SAFETY: the calls write at most what they are given: a long, the 28 bytes of struct fsxattr, the 112 of the geometry.
    let supported = unsafe {
        (
            libc::ioctl(file.as_raw_fd(), GET_FLAGS, &raw mut flags) == 0,
            libc::ioctl(file.as_raw_fd(), GET_XATTR, &raw mut xattr) == 0,
            libc::ioctl(file.as_raw_fd(), GET_XFS_GEOMETRY, &raw mut geometry) == 0,
        )
    };
    // A file system that knows no such flags has not set them.
    let flags = if supported.0 { flags } else { 0 };
    let xflags = if supported.1 { xattr[0] } else { 0 };
    Ok(InodeFlags {
        data_journal: flags & JOURNAL_DATA != 0,
        encrypted: flags & ENCRYPT != 0,
        real_time: xflags & (XFLAG_REALTIME | XFLAG_RTINHERIT) != 0,
        direct_access: xflags & XFLAG_DAX != 0,
        owns_blocks: supported.2 && geometry.0[GEOMETRY_FLAGS_INDEX] & GEOMETRY_REFLINK == 0,
    })
}

/// Why a flush of one file does not stand for the others here, if it does not.
fn obstacle(mount: &Mount, options: &str, flags: InodeFlags) -> Option<&'static str> {
    let option = |wanted: &str| options.split(',').any(|option| option == wanted);
    let starts = |wanted: &str| options.split(',').any(|option| option.starts_with(wanted));
    match mount.kind.as_str() {
        "ext4" if option("data=journal") || flags.data_journal => Some("data goes through the journal"),
        "ext4" if option("nobarrier") || option("barrier=0") => {
            Some("mounted without barriers, flushes are not honoured")
        }
        "ext4" if option(UNKNOWN_OPTIONS) => Some("its options in /proc/fs/ext4 can't be read"),
        "xfs" if option("nobarrier") => Some("mounted without barriers, flushes are not honoured"),
        "xfs" if starts("rtdev=") || flags.real_time => Some("a real-time section is another device"),
        "xfs" if !flags.owns_blocks => Some("made with reflinks, and cloned blocks are not overwritten in place"),
        "xfs" if option("zoned") || starts("max_open_zones=") => Some("zoned, it does not overwrite in place"),
        "ext4" | "xfs" if option("dax") || option("dax=always") || flags.direct_access => Some("direct access memory"),
        "ext4" | "xfs" if flags.encrypted => Some("encrypted, writes may pass through the page cache"),
        "ext4" | "xfs" => None,
        "tmpfs" | "ramfs" => Some("memory only, nothing is durable"),
        _ => Some("not known to overwrite in place"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(line: &str, flags: InodeFlags) -> Option<&'static str> {
        let mount = Mount::parse(line).expect("a line of mountinfo");
        obstacle(&mount, &mount.options.clone(), flags)
    }

    #[test]
    fn ext4_and_xfs_hold_the_barrier_unless_an_option_breaks_it() {
        let none = InodeFlags { owns_blocks: true, ..InodeFlags::default() };
        assert_eq!(verdict("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard", none), None);
        assert_eq!(verdict("27 1 8:1 / /d rw shared:5 master:1 - xfs /dev/sda1 rw,attr2,noquota", none), None);
        for line in [
            "27 1 254:0 / / rw - ext4 /dev/vda rw,data=journal",
            "27 1 254:0 / / rw - ext4 /dev/vda rw,nobarrier",
            "27 1 254:0 / / rw - ext4 /dev/vda rw,dax=always",
            "27 1 254:0 / / rw - xfs /dev/vda rw,rtdev=/dev/vdb",
            "27 1 0:45 / / rw - btrfs /dev/vda rw",
            "27 1 0:45 / / rw - overlay overlay rw,lowerdir=/a",
            "27 1 0:45 / / rw - tmpfs tmpfs rw",
        ] {
            assert!(verdict(line, none).is_some(), "{line}");
        }
        assert!(verdict("27 1 8:1 / /d rw - xfs /dev/sda1 rw", InodeFlags::default()).is_some(), "reflinks");
    }

    #[test]
    fn what_the_directory_hands_down_to_its_files_breaks_it_too() {
        let line = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw";
        for flags in [
            InodeFlags { data_journal: true, ..InodeFlags::default() },
            InodeFlags { encrypted: true, ..InodeFlags::default() },
            InodeFlags { direct_access: true, ..InodeFlags::default() },
        ] {
            assert!(verdict(line, flags).is_some(), "{flags:?}");
        }
    }

    #[test]
    fn a_line_that_is_no_mount_is_no_mount() {
        for line in ["", "27 1 254:0", "27 1 x:0 / / rw - ext4 /dev/vda rw", "27 1 254:0 / / rw - ext4"] {
            assert_eq!(Mount::parse(line), None, "{line}");
        }
    }
}
