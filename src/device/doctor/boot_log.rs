//! What PID 1 did in this boot, by the kernel log.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use super::Check;
use crate::device::host::{Host, errno_text};
use crate::device::kmsg::Level;

/// What every line of the runtime begins with (see [`crate::device::kmsg`]).
const MARK: &str = "vfioboot: ";

/// A message of the kernel log.
pub(super) struct Message {
    /// Its level is warning or worse.
    pub warns: bool,
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
pub(super) fn read(host: &Host) -> Result<Vec<Message>, io::Error> {
    let mut file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(host.path("dev/kmsg"))?;
    let mut record = vec![0; 8192];
    let mut lines = Vec::new();
    loop {
        match file.read(&mut record) {
            Ok(0) => return Ok(lines),
            Ok(length) => {
                let text = String::from_utf8_lossy(record.get(..length).unwrap_or_default());
                // Behind the message stand its properties: " SUBSYSTEM=pci".
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

pub(super) fn check(log: &Result<Vec<Message>, io::Error>) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("boot", "PID 1 at boot", found)
    };
    let log = match log {
        Ok(log) => log,
        Err(error) => {
            let found = format!("/dev/kmsg cannot be read: {}", errno_text(error));
            return check(Check::warning, found);
        }
    };
    let ours: Vec<(bool, &str)> = log
        .iter()
        .filter_map(|message| Some((message.warns, message.text.strip_prefix(MARK)?)))
        .collect();
    let found = ours.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("; ");
    if ours.is_empty() {
        let found = "no word from it in the kernel log: it did not run, or the log has moved on";
        check(Check::ok, found.to_owned())
    } else if ours.iter().any(|(warns, _)| *warns) {
        check(Check::warning, found)
            .fix("dmesg shows what the kernel itself said just above these lines")
    } else {
        check(Check::ok, found)
    }
}
