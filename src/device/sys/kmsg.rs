//! Writes lines to the kernel log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::bootlog::TAG;

/// The kernel refuses records above `LOG_LINE_MAX` (about 1000 bytes,
/// `kernel/printk/printk.c`) with `EINVAL`; better to lose the end than the line.
const LINE_LIMIT: usize = 900;

/// How serious a line is; the number is that of `syslog(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `KERN_INFO`: what was done.
    Info = 6,
    /// `KERN_WARNING`: what could not be done.
    Warning = 4,
}

/// One record as `/dev/kmsg` takes it: `<6>vfioboot: text`, on a single line and
/// cut at 900 bytes.
pub fn record(level: Level, text: &str) -> String {
    let mut line = format!("<{}>{TAG}", level as u8);
    for c in text.chars() {
        if line.len() + c.len_utf8() > LINE_LIMIT {
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line.push('\n');
    line
}

/// Writes one line to the kmsg device at `node`.
///
/// The device is opened for this line alone, because the kernel rate-limits user
/// space per open file: ten records in five seconds, and the rest is silently
/// lost (`devkmsg_write`, `kernel.printk_devkmsg=ratelimit`, the default).
///
/// # Errors
/// When the node cannot be opened or written.
pub(crate) fn log(node: &Path, level: Level, text: &str) -> io::Result<()> {
    write(&mut open(node)?, level, text)
}

/// Opens a kmsg device, for [`write`](fn@write).
///
/// # Errors
/// When the node cannot be opened.
pub(crate) fn open(node: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(node)
}

/// Writes one line to an open kmsg device. Only the first ten in five seconds
/// arrive; see [`log`].
///
/// # Errors
/// When the kernel refuses the record.
pub(crate) fn write(kmsg: &mut File, level: Level, text: &str) -> io::Result<()> {
    kmsg.write_all(record(level, text).as_bytes())
}
