//! The directory that journals and the lock are in, and who has a journal there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::device::sys::host::Host;

/// The directory that survives a reboot on a rooted Android device.
const ADB: &str = "data/adb";

/// What journals are called: the owner's name and this.
const EXTENSION: &str = "journal";

/// Where journals and the lock are.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// `/data/adb/vfioboot/state` where `/data/adb` is, else `/run/vfioboot`.
    pub fn of(host: &Host) -> Self {
        Self::new(if host.exists(ADB) {
            host.path(ADB).join("vfioboot/state")
        } else {
            host.path("run/vfioboot")
        })
    }

    /// This directory. It need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory, for root alone.
    ///
    /// # Errors
    /// As `mkdir(2)`.
    pub(crate) fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// The path of the journal called `name`.
    pub fn journal(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.{EXTENSION}"))
    }

    /// The names of the journals there are, sorted. None where there is no directory.
    ///
    /// # Errors
    /// When the directory is there and cannot be listed.
    pub fn journals(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}
