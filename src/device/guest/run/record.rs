//! Which guests are running: a file for each, in the state directory.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::restart::LastExit;
use crate::device::bus::health::{Errors, Health};
use crate::device::bus::pci::PciAddress;
use crate::device::guest::file::Name;
use crate::device::sys::host::Host;
use crate::device::sys::process::Process;
use crate::device::sys::state::{self, StateDir};

/// The version of [`Record`].
pub(crate) const FORMAT: u32 = 1;

const GUESTS: &str = "guests";
const RECORD: &str = "guest.json";
/// A record has some hundred bytes.
const SIZE_LIMIT: u64 = 64 * 1024;

/// A guest that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `FORMAT`.
    pub format: u32,
    /// What it is called.
    pub name: String,
    /// The guest file.
    pub file: String,
    /// The vfiorun that supervises it.
    pub supervisor: Process,
    /// QEMU, when it has been started.
    pub qemu: Option<Process>,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The addresses of its devices.
    pub devices: Vec<String>,
    /// The errors that the kernel had counted of them before.
    #[serde(default)]
    pub errors: Vec<(String, Errors)>,
    /// Whether QEMU got so far that the guest runs.
    #[serde(default)]
    pub ready: bool,
    /// When it is started again, in seconds since 1970, if it has ended.
    #[serde(default)]
    pub again: Option<u64>,
    /// How often this vfiorun has started it again.
    #[serde(default)]
    pub restarts: u32,
    /// How it ended before.
    #[serde(default)]
    pub last_exit: Option<LastExit>,
    /// Where its output is written, if to a log.
    #[serde(default)]
    pub log: Option<String>,
}

impl Record {
    /// How one of its devices is.
    pub fn health(&self, host: &Host, address: PciAddress) -> Health {
        let name = address.to_string();
        let before = self.errors.iter().find(|(of, _)| *of == name).map(|(_, errors)| *errors);
        Health::of(host, address, before)
    }

    /// Whether it is that of a guest of this process: between two starts of one, too.
    pub(crate) fn is_own(&self, host: &Host) -> bool {
        Process::current(host) == Some(self.supervisor)
    }

    /// Whether its supervisor or its QEMU still runs.
    pub(crate) fn is_alive(&self, host: &Host) -> bool {
        self.supervisor.is_alive(host) || self.qemu.is_some_and(|qemu| qemu.is_alive(host))
    }
}

/// The directory of a guest's sockets and record.
pub fn directory(state: &StateDir, name: &Name) -> PathBuf {
    state.path().join(GUESTS).join(name.as_str())
}

/// Makes the guest's directory, for root alone.
///
/// # Errors
/// As [`StateDir::directory`].
pub(crate) fn make_directory(state: &StateDir, name: &Name) -> io::Result<PathBuf> {
    state.directory(&format!("{GUESTS}/{name}"))
}

/// Writes the record of a guest into its directory.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn write(directory: &Path, record: &Record) -> io::Result<()> {
    let new = directory.join("guest.json.new");
    state::create_anew(&new)?.write_all(&serde_json::to_vec(record)?)?;
    fs::rename(new, directory.join(RECORD))
}

/// Removes a guest's directory.
pub(crate) fn remove(directory: &Path) {
    // Nothing depends on it: a record counts only while its processes live.
    _ = fs::remove_dir_all(directory);
}

/// Removes the directory of a guest of this process that is not started again.
pub fn forget(host: &Host, state: &StateDir, name: &Name) {
    let own = |record: &Record| record.name == name.as_str() && record.is_own(host);
    if running(host, state).iter().any(own) {
        remove(&directory(state, name));
    }
}

/// The guests that are running, by name.
pub fn running(host: &Host, state: &StateDir) -> Vec<Record> {
    let mut records: Vec<Record> = all(state)
        .filter_map(|(_, record)| record.filter(|record| record.is_alive(host)))
        .collect();
    records.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    records
}

/// Removes what guests have left whose vfiorun and QEMU are gone, and whose journal is done with.
pub fn sweep(host: &Host, state: &StateDir) {
    let Ok(journals) = state.journals() else { return };
    for (directory, record) in all(state) {
        let dead = |record: Record| !record.is_alive(host) && !journals.contains(&record.name);
        if record.is_some_and(dead) {
            remove(&directory);
        }
    }
}

/// The directories of guests, each with its record.
fn all(state: &StateDir) -> impl Iterator<Item = (PathBuf, Option<Record>)> {
    let entries = fs::read_dir(state.path().join(GUESTS)).into_iter().flatten();
    entries.filter_map(Result::ok).map(|entry| {
        let path = entry.path();
        let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes).ok();
        let record = state::read(&path.join(RECORD), SIZE_LIMIT).ok().and_then(read);
        (path, record.filter(|record: &Record| record.format == FORMAT))
    })
}
