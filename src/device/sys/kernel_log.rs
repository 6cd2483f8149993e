//! Reads the kernel log.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use crate::device::sys::host::Host;
use crate::device::sys::kmsg::Level;

/// A message of the kernel log.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// Its level is warning or worse.
    pub warns: bool,
    /// Without its prefix.
    pub text: String,
}

impl Message {
    /// `6,339,5140900,-;message`: priority (facility in the bits above the level), and more.
    fn parse(line: &str) -> Message {
        let (prefix, text) = line.split_once(';').unwrap_or(("", line));
        let priority = prefix.split(',').next().and_then(|number| number.parse::<u32>().ok());
        let warns = priority.is_some_and(|priority| priority & 7 <= Level::Warning as u32);
        Message { warns, text: text.to_owned() }
    }
}

/// The messages of the kernel log, oldest first. One read gives one record
/// (`Documentation/ABI/testing/dev-kmsg`).
///
/// # Errors
/// When `/dev/kmsg` is not there or may not be read.
pub(crate) fn read(host: &Host) -> Result<Vec<Message>, io::Error> {
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(host.path("dev/kmsg"))?;
    let mut record = vec![0; 8192];
    let mut lines = Vec::new();
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(lines),
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                // After the message come its properties: " SUBSYSTEM=pci".
                let messages = text.lines().filter(|line| !line.starts_with(' '));
                lines.extend(messages.map(Message::parse));
            }
            Err(error) => match error.raw_os_error() {
                // The end of what there is.
                Some(libc::EAGAIN) => return Ok(lines),
                // A record was overwritten while we read: the next one is there.
                Some(libc::EPIPE) => {}
                Some(libc::EINTR) => {}
                _ => return Err(error),
            },
        }
    }
}
