//! Which guests are running: a file for each, in the state directory.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
    /// QEMU.
    pub qemu: Process,
    /// Since when, in seconds since 1970.
    pub since: u64,
    /// The addresses of its devices.
    pub devices: Vec<String>,
}

impl Record {
    /// Whether its supervisor or its QEMU still runs.
    pub(crate) fn is_alive(&self, host: &Host) -> bool {
        self.supervisor.is_alive(host) || self.qemu.is_alive(host)
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

/// The guests that are running, by name.
pub fn running(host: &Host, state: &StateDir) -> Vec<Record> {
    let Ok(entries) = fs::read_dir(state.path().join(GUESTS)) else { return Vec::new() };
    let mut records: Vec<Record> = entries
        .filter_map(|entry| state::read(&entry.ok()?.path().join(RECORD), SIZE_LIMIT).ok())
        .filter_map(|bytes| serde_json::from_slice(&bytes).ok())
        .filter(|record: &Record| record.format == FORMAT && record.is_alive(host))
        .collect();
    records.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    records
}
