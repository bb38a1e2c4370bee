//! A mark in the log of writes, from inside the machine: `dmsetup message writes 0 mark TEXT`, without the process.
//!
//! Why: what was acknowledged must be marked within a millisecond or two, before a flush for something else makes it durable; a
//! process for each mark takes longer, and a broker that acknowledges before its flush would pass.

use std::fs::File;
use std::os::fd::AsRawFd;

/// linux/dm-ioctl.h: `DM_TARGET_MSG`, the version that it came with, and the sizes of `struct dm_ioctl` and of its names.
const TARGET_MESSAGE: libc::c_ulong = 0xc138_fd0e;
const VERSION: [u32; 3] = [4, 0, 0];
const HEAD_BYTES: usize = 312;
const SIZE_AT: usize = 12;
const START_AT: usize = 16;
const NAME_AT: usize = 48;

/// The way to the device that keeps the log.
pub struct Marker {
    control: File,
    device: &'static str,
}

impl Marker {
    /// For the device of this name.
    pub fn open(device: &'static str) -> Self {
        let control = File::options().read(true).write(true).open("/dev/mapper/control").expect("the device mapper");
        Self { control, device }
    }

    /// Puts the text, which has no spaces, into the log. Everything flushed before lies before it.
    pub fn mark(&self, text: &str) {
        let message = format!("mark {text}\0");
        let mut request = vec![0; HEAD_BYTES + size_of::<u64>()];
        request.extend(message.as_bytes());
        let size = u32::try_from(request.len()).expect("short");
        for (number, word) in VERSION.into_iter().enumerate() {
            request[number * 4..][..4].copy_from_slice(&word.to_ne_bytes());
        }
        request[SIZE_AT..][..4].copy_from_slice(&size.to_ne_bytes());
        request[START_AT..][..4].copy_from_slice(&(HEAD_BYTES as u32).to_ne_bytes());
        request[NAME_AT..][..self.device.len()].copy_from_slice(self.device.as_bytes());
        // SAFETY: the kernel reads and writes as many bytes as the request says that it has; it lives until the call returns.
        let done = unsafe { libc::ioctl(self.control.as_raw_fd(), TARGET_MESSAGE, request.as_mut_ptr()) };
        assert_eq!(done, 0, "marking: {}", std::io::Error::last_os_error());
    }
}
