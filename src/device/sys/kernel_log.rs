//! Reads the kernel log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
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

/// The messages of the kernel log, oldest first.
///
/// # Errors
/// When `/dev/kmsg` is not there or may not be read.
pub(crate) fn read(host: &Host) -> Result<Vec<Message>, io::Error> {
    messages(&mut open(host)?)
}

/// The end of the kernel log, to see what comes after it.
#[derive(Debug)]
pub(crate) struct Tail(Option<File>);

impl Tail {
    /// From now on. A log that cannot be read has nothing to say.
    pub(crate) fn open(host: &Host) -> Self {
        let at_end = open(host).and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
        Self(at_end.ok())
    }

    /// What has come since.
    pub(crate) fn lines(mut self) -> Vec<String> {
        let messages = self.0.as_mut().and_then(|file| messages(file).ok()).unwrap_or_default();
        messages.into_iter().map(|message| message.text).collect()
    }
}

fn open(host: &Host) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(host.path("dev/kmsg"))
}

/// One read gives one record (`Documentation/ABI/testing/dev-kmsg`).
fn messages(file: &mut File) -> io::Result<Vec<Message>> {
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
