//! Reads and checks a guest file.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::guest::Guest;
use super::keys::Conflict;
use crate::device::sys::host::errno_text;
use crate::device::sys::toml_text::{self, TomlError, key_prefix};

/// The largest guest file that is read, in bytes.
const SIZE_LIMIT: u64 = 256 * 1024;

/// A guest file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// It cannot be read.
    #[error("{file}: {}", errno_text(.error))]
    Io {
        /// Its path.
        file: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// It is a FIFO, a node or a directory.
    #[error("{0}: this is not a file")]
    NotFile(String),
    /// It is larger than any guest file is.
    #[error("{0}: larger than {SIZE_LIMIT} bytes: this is not a guest file")]
    TooLarge(String),
    /// It is not TOML, or has a key or value that is not known.
    #[error("{file}:{line}: {}{message}", key_prefix(.key))]
    Value {
        /// Its path.
        file: String,
        /// Counted from 1.
        line: usize,
        /// The key with the tables around it, `memory.size`; empty when there is none.
        key: String,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// Keys that do not go together.
    #[error("{file}: {key}: {conflict}")]
    Conflict {
        /// Its path.
        file: String,
        /// The key at fault.
        key: &'static str,
        /// Why.
        #[source]
        conflict: Conflict,
    },
}

/// Reads and checks the guest file at `path`.
///
/// # Errors
/// See [`GuestError`].
pub fn read(path: &Path) -> Result<Guest, GuestError> {
    use io::Read;
    let file = path.display().to_string();
    let mut text = String::new();
    let opened = open(path).map_err(|error| GuestError::Io { file: file.clone(), error })?;
    let Some(opened) = opened else { return Err(GuestError::NotFile(file)) };
    match opened.take(SIZE_LIMIT + 1).read_to_string(&mut text) {
        Err(error) => return Err(GuestError::Io { file, error }),
        Ok(n) if n as u64 > SIZE_LIMIT => return Err(GuestError::TooLarge(file)),
        Ok(_) => {}
    }
    let mut guest = parse(&text, &file)?;
    if guest.name.as_str().is_empty() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        guest.name = stem.parse().map_err(|_| GuestError::Conflict {
            file,
            key: "name",
            conflict: Conflict::NameOfFile,
        })?;
    }
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let directory = std::path::absolute(&directory)
        .or_else(|_| std::env::current_dir())
        .map_err(|error| GuestError::Io { file: path.display().to_string(), error })?;
    resolve(&mut guest, &directory);
    Ok(guest)
}

/// Opens what is a file, and waits for nothing.
fn open(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

/// Makes paths absolute that are relative to the guest file. In a chroot they are relative to
/// its root, which QEMU starts in.
fn resolve(guest: &mut Guest, directory: &Path) {
    if guest.chroot.is_some() {
        return;
    }
    for path in guest.paths() {
        *path = directory.join(&*path).to_string_lossy().into_owned();
    }
    // Without a slash it is one of QEMU's own, unless there is one beside the guest file.
    let roms = guest.devices.iter_mut().filter_map(|device| device.romfile.as_mut());
    for rom in roms.filter(|rom| !rom.contains('/')) {
        let beside = directory.join(&*rom);
        if beside.is_file() {
            *rom = beside.to_string_lossy().into_owned();
        }
    }
}

/// Reads and checks the text of a guest file; `file` is what errors call it.
///
/// # Errors
/// See [`GuestError`].
pub fn parse(text: &str, file: &str) -> Result<Guest, GuestError> {
    let guest: Guest = toml_text::parse(text).map_err(|error| {
        let TomlError { line, key, message } = error;
        GuestError::Value { file: file.to_owned(), line, key, message }
    })?;
    match guest.conflict() {
        Some((key, conflict)) => Err(GuestError::Conflict { file: file.to_owned(), key, conflict }),
        None => Ok(guest),
    }
}
