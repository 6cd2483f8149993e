//! The steps, on disk before they are made.
//!
//! A journal is a text file that only grows. Each line is a record: the CRC-32 of the rest as
//! eight hex digits, a space, JSON. The first says whose journal it is; each [`Undo`] after it is
//! synced before its step is made. Two more kinds are appended later: that a record has been
//! undone, and that its owner ended and left things as they are on purpose. A record that is not
//! whole (the machine went down while it was written) ends the journal: its step was not made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use serde::{Deserialize, Serialize};

use crate::device::bind::undo::Undo;
use crate::device::sys::host::{Host, errno_text};
use crate::device::sys::process::Process;
use crate::device::sys::state::{self, StateDir};

/// The version of the records.
const FORMAT: u32 = 1;
/// A journal has some dozens of records, and some more for each device that is given to a running guest; a
/// larger file is not a journal.
const SIZE_LIMIT: u64 = 16 << 20;
/// How long another process that works on the same journal is waited for: it may be ending QEMU.
const TIMEOUT: Duration = Duration::from_secs(30);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// Whose journal it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    format: u32,
    /// The boot that it was written in. In another one sysfs and procfs are fresh, and there is
    /// nothing to undo.
    pub boot_id: String,
    /// The process that wrote it.
    pub owner: Process,
    /// What that process is doing: `bind 0000:00:02.0`.
    pub what: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record {
    Header(Header),
    Step(Undo),
    /// The step with this number, from 0, has been undone.
    Undone(usize),
    /// The owner is done and leaves its steps as they are.
    Kept,
}

/// A journal that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// A file operation failed.
    #[error("journal {}: {action}: {}", path.display(), errno_text(error))]
    Io {
        /// The journal's file.
        path: PathBuf,
        /// `create`, `write`, `read`, `remove`.
        action: &'static str,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// The process or the boot that it belongs to is unknown.
    #[error("journal: /proc has no {0}: is it mounted?")]
    NoProc(&'static str),
    /// There is one of this name.
    #[error("journal {}: already exists: {owner} is running \"{what}\" or did not finish it (vfiorun recover)", path.display())]
    Exists {
        /// The journal's file.
        path: PathBuf,
        /// Its owner.
        owner: Process,
        /// What the owner was doing.
        what: String,
    },
    /// It was written by another version of this program.
    #[error("journal {}: format {format}, but only format {FORMAT} is known", path.display())]
    Format {
        /// The journal's file.
        path: PathBuf,
        /// What it says.
        format: u32,
    },
    /// The file is larger than any journal.
    #[error("journal {}: larger than {SIZE_LIMIT} bytes: this is not a journal", .0.display())]
    TooLarge(PathBuf),
}

/// A journal as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalContents {
    /// Whose it is; `None` when not even that was written whole, and so nothing was done.
    pub header: Option<Header>,
    /// The steps, in the order in which they were made. The last may not have been made.
    pub steps: Vec<Undo>,
    /// The numbers of the steps that have been undone.
    pub undone: Vec<usize>,
    /// Whether the owner ended on purpose and left its steps as they are.
    pub kept: bool,
    /// Bytes up to the end of the last whole record.
    pub size: u64,
}

impl JournalError {
    /// Whether the journal is gone: another process has undone it, or its owner has ended.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.kind() == io::ErrorKind::NotFound)
    }
}

impl JournalContents {
    /// The steps that are not undone, the last first, with their numbers.
    pub fn open_steps(&self) -> impl Iterator<Item = (usize, &Undo)> {
        self.steps.iter().enumerate().rev().filter(|(number, _)| !self.undone.contains(number))
    }

    /// Whether it was written in another boot than the one that `host` is in.
    pub(crate) fn is_stale(&self, host: &Host) -> bool {
        let (Some(header), Ok(now)) = (&self.header, host.boot_id()) else { return false };
        header.boot_id != now
    }
}

/// Reads the whole records of the journal at `path`.
///
/// # Errors
/// When the file cannot be read, or is of a version that is not known.
pub fn read(path: &Path) -> Result<JournalContents, JournalError> {
    let io = |error| JournalError::Io { path: path.to_owned(), action: "read", error };
    let bytes = state::read(path, SIZE_LIMIT).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => JournalError::TooLarge(path.to_owned()),
        _ => io(error),
    })?;
    let recorded = parse(&bytes);
    match &recorded.header {
        Some(Header { format, .. }) if *format != FORMAT => {
            Err(JournalError::Format { path: path.to_owned(), format: *format })
        }
        _ => Ok(recorded),
    }
}

/// The whole records of a journal's bytes.
pub fn parse(bytes: &[u8]) -> JournalContents {
    let mut recorded = JournalContents {
        header: None,
        steps: Vec::new(),
        undone: Vec::new(),
        kept: false,
        size: 0,
    };
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match record(line) {
            Some(Record::Header(header)) if recorded.header.is_none() => {
                recorded.header = Some(header);
            }
            Some(Record::Step(undo)) if recorded.header.is_some() => recorded.steps.push(undo),
            Some(Record::Undone(number)) if number < recorded.steps.len() => {
                recorded.undone.push(number);
            }
            Some(Record::Kept) if recorded.header.is_some() => recorded.kept = true,
            _ => break,
        }
        recorded.size += line.len() as u64;
    }
    recorded
}

/// Locks the file of a journal, which is unlocked when it is closed.
fn lock(file: &File) -> io::Result<()> {
    let started = Instant::now();
    while let Err(error) = rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK || started.elapsed() >= TIMEOUT {
            return Err(error.into());
        }
        thread::sleep(RETRY_INTERVAL);
    }
    // Whoever had it may have removed it.
    match file.metadata()?.nlink() {
        0 => Err(io::ErrorKind::NotFound.into()),
        _ => Ok(()),
    }
}

fn record(line: &[u8]) -> Option<Record> {
    let line = str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (sum, json) = line.split_once(' ')?;
    let sum = u32::from_str_radix(sum, 16).ok()?;
    (sum == crc32(json.as_bytes())).then(|| serde_json::from_slice(json.as_bytes()).ok())?
}

/// The CRC-32 of gzip and PNG, a bit at a time: a journal is short, and the tables of a fast one
/// are larger than all else that is here.
fn crc32(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let step = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ POLYNOMIAL };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    host: Host,
    path: PathBuf,
    file: File,
    recorded: JournalContents,
}

impl Journal {
    /// Starts the journal `name` in `state`; `what` says to others what its owner is doing. One
    /// that an earlier boot left behind is replaced.
    ///
    /// # Errors
    /// When there is such a journal, or it cannot be written.
    pub fn create(
        host: &Host,
        state: &StateDir,
        name: &str,
        what: &str,
    ) -> Result<Self, JournalError> {
        let path = state.journal(name);
        let io = |error| JournalError::Io { path: path.clone(), action: "create", error };
        let header = Header {
            format: FORMAT,
            boot_id: host.boot_id().map_err(|_| JournalError::NoProc("boot_id"))?,
            owner: Process::current(host).ok_or(JournalError::NoProc("self/stat"))?,
            what: what.to_owned(),
        };
        state.create().map_err(io)?;
        if path.symlink_metadata().is_ok() {
            let old = read(&path)?;
            match &old.header {
                Some(other) if !old.is_stale(host) => {
                    return Err(JournalError::Exists {
                        path,
                        owner: other.owner,
                        what: other.what.clone(),
                    });
                }
                _ => fs::remove_file(&path).map_err(io)?,
            }
        }
        let file =
            state::open(&path, OpenOptions::new().append(true).create_new(true)).map_err(io)?;
        let mut journal = Self { host: host.clone(), path, file, recorded: parse(&[]) };
        journal.append(&Record::Header(header.clone()))?;
        journal.sync_directory()?;
        journal.recorded.header = Some(header);
        Ok(journal)
    }

    /// Opens a journal that another process left, to undo it: one process at a time. A torn record at
    /// its end is cut off.
    ///
    /// # Errors
    /// When it cannot be read or written, or another process works on it.
    pub fn open(host: &Host, state: &StateDir, name: &str) -> Result<Self, JournalError> {
        let path = state.journal(name);
        let io = |error| JournalError::Io { path: path.clone(), action: "write", error };
        let file = state::open(&path, OpenOptions::new().append(true)).map_err(io)?;
        lock(&file).map_err(io)?;
        let recorded = read(&path)?;
        file.set_len(recorded.size).map_err(io)?;
        Ok(Self { host: host.clone(), path, file, recorded })
    }

    /// What it says.
    pub fn recorded(&self) -> &JournalContents {
        &self.recorded
    }

    /// Puts a record on disk. When this returns, its step may be made. For a process the order is
    /// the other way round: it must be forked to have a pid, and wait for this before it does
    /// anything.
    ///
    /// # Errors
    /// When it cannot be written and synced; then the step must not be made.
    pub fn record(&mut self, undo: Undo) -> Result<(), JournalError> {
        let record = Record::Step(undo);
        self.append(&record)?;
        if let Record::Step(undo) = record {
            self.recorded.steps.push(undo);
        }
        Ok(())
    }

    /// Records that a step has been undone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn mark_undone(&mut self, number: usize) -> Result<(), JournalError> {
        self.append(&Record::Undone(number))?;
        self.recorded.undone.push(number);
        Ok(())
    }

    /// Records that the owner is done and leaves its steps as they are. The journal stays, for
    /// whoever is to undo them.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&mut self) -> Result<(), JournalError> {
        self.append(&Record::Kept)
    }

    /// Removes the journal: everything is undone, or there is nothing to undo.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub(crate) fn remove(&self) -> Result<(), JournalError> {
        fs::remove_file(&self.path).map_err(|error| self.io("remove", error))?;
        self.sync_directory()
    }

    /// Makes a directory, after recording that it is to be removed. Returns `false`, and records
    /// nothing, when it is there already.
    ///
    /// # Errors
    /// When the record cannot be written or the directory cannot be made.
    pub fn make_directory(&mut self, path: &str) -> Result<bool, StepError> {
        if self.host.exists(path) {
            return Ok(false);
        }
        self.record(Undo::Directory { path: path.to_owned() })?;
        fs::create_dir(self.host.path(path))
            .map_err(|error| StepError::Make { path: path.to_owned(), error })?;
        Ok(true)
    }

    fn append(&mut self, record: &Record) -> Result<(), JournalError> {
        let json = serde_json::to_string(record)
            .map_err(|error| self.io("write", io::Error::other(error)))?;
        let line = format!("{:08x} {json}\n", crc32(json.as_bytes()));
        self.file
            .write_all(line.as_bytes())
            .and_then(|()| self.file.sync_data())
            .map_err(|error| self.io("write", error))
    }

    /// A new name, or its end, is on disk only when the directory is.
    fn sync_directory(&self) -> Result<(), JournalError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| self.io("write", error))
    }

    fn io(&self, action: &'static str, error: io::Error) -> JournalError {
        JournalError::Io { path: self.path.clone(), action, error }
    }
}

/// A step that was recorded and could not be made.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The record could not be written; the step was not tried.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A directory could not be made.
    #[error("make /{path}: {}", errno_text(.error))]
    Make {
        /// The directory.
        path: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
}
