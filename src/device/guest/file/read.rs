//! Reads and checks a guest file.

use std::io;
use std::path::Path;

use super::{Boot, Guest, NetworkMode};
use crate::device::sys::host::errno_text;
use crate::device::sys::toml_text::{self, Wrong, in_key};

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
        error: io::Error,
    },
    /// It is larger than any guest file is.
    #[error("{0}: larger than {SIZE_LIMIT} bytes: this is no guest file")]
    TooLarge(String),
    /// It is no TOML, or says something that is not known or not possible.
    #[error("{file}:{line}: {}{message}", in_key(.key))]
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
    #[error("{file}: {key}: {message}")]
    Conflict {
        /// Its path.
        file: String,
        /// The key that is wrong.
        key: &'static str,
        /// Why.
        message: &'static str,
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
    let read = std::fs::File::open(path)
        .and_then(|opened| opened.take(SIZE_LIMIT + 1).read_to_string(&mut text));
    match read {
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
            message: "must be given: the file's own name does not do for one",
        })?;
    }
    let directory = path.parent().unwrap_or(Path::new("")).to_owned();
    let directory = std::path::absolute(&directory)
        .or_else(|_| std::env::current_dir())
        .map_err(|error| GuestError::Io { file: path.display().to_string(), error })?;
    resolve(&mut guest, &directory);
    Ok(guest)
}

/// Makes paths absolute that are relative to the guest file. In a chroot they are relative to
/// its root, which QEMU starts in.
fn resolve(guest: &mut Guest, directory: &Path) {
    if guest.chroot.is_some() {
        return;
    }
    let Guest { qemu, boot, disks, display, devices, .. } = guest;
    let boot = [
        &mut boot.firmware,
        &mut boot.firmware_variables,
        &mut boot.kernel,
        &mut boot.initrd,
        &mut display.socket,
    ];
    let named = boot
        .into_iter()
        .filter_map(Option::as_mut)
        .chain(disks.iter_mut().map(|disk| &mut disk.path))
        // Without a slash they are names to be looked up.
        .chain(qemu.iter_mut().filter(|path| path.contains('/')))
        .chain(devices.iter_mut().filter_map(|d| d.romfile.as_mut().filter(|p| p.contains('/'))));
    for path in named {
        *path = directory.join(&*path).to_string_lossy().into_owned();
    }
}

/// Reads and checks the text of a guest file; `file` is what errors call it.
///
/// # Errors
/// See [`GuestError`].
pub fn parse(text: &str, file: &str) -> Result<Guest, GuestError> {
    let guest: Guest = toml_text::parse(text).map_err(|wrong| {
        let Wrong { line, key, message } = wrong;
        GuestError::Value { file: file.to_owned(), line, key, message }
    })?;
    match conflict(&guest) {
        Some((key, message)) => Err(GuestError::Conflict { file: file.to_owned(), key, message }),
        None => Ok(guest),
    }
}

/// What no single value is wrong with.
fn conflict(guest: &Guest) -> Option<(&'static str, &'static str)> {
    let Boot { firmware, firmware_variables, kernel, initrd, cmdline } = &guest.boot;
    let network = &guest.network;
    if kernel.is_none() && initrd.is_some() {
        return Some(("boot.initrd", "there is no boot.kernel to load it"));
    }
    if kernel.is_none() && cmdline.is_some() {
        return Some(("boot.cmdline", "there is no boot.kernel to read it"));
    }
    if firmware.is_none() && firmware_variables.is_some() {
        return Some(("boot.firmware_variables", "there is no boot.firmware to use them"));
    }
    if guest.cpus.count == 0 || guest.cpus.count > 512 {
        return Some(("cpus.count", "expected 1 to 512"));
    }
    if network.mode != NetworkMode::User && !network.forwards.is_empty() {
        return Some(("network.forwards", "only network.mode = \"user\" has forwards"));
    }
    if (network.mode == NetworkMode::Tap) != network.tap.is_some() {
        return Some(("network.tap", "goes with network.mode = \"tap\", and only with it"));
    }
    if guest.chroot.as_deref().is_some_and(|chroot| !chroot.starts_with('/')) {
        return Some(("chroot", "expected an absolute path"));
    }
    None
}
