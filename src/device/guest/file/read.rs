//! Reads and checks a guest file.

use std::io;
use std::path::Path;

use super::keys::{self, Kind};
use super::{Arch, Boot, DisplayKind, Guest, Network, NetworkMode};
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

/// What is wrong with a key whose value is right by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The file has a name that a guest cannot have.
    #[error("must be given: the name of the file cannot be the name of a guest")]
    NameOfFile,
    /// An initial ramdisk without a kernel.
    #[error("there is no boot.kernel to load it")]
    InitrdAlone,
    /// A command line without a kernel.
    #[error("there is no boot.kernel to read it")]
    CmdlineAlone,
    /// Variables without firmware.
    #[error("there is no boot.firmware to use them")]
    VariablesAlone,
    /// Outside of the limits of its kind.
    #[error("expected {0}")]
    Expected(Kind),
    /// Forwards of another network than QEMU's own.
    #[error("only network.mode = \"user\" has forwards")]
    Forwards,
    /// A tap interface for another network, or none for this one.
    #[error("goes with network.mode = \"tap\", and only with it")]
    Tap,
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
    let guest: Guest = toml_text::parse(text).map_err(|error| {
        let TomlError { line, key, message } = error;
        GuestError::Value { file: file.to_owned(), line, key, message }
    })?;
    match conflict(&guest) {
        Some((key, conflict)) => Err(GuestError::Conflict { file: file.to_owned(), key, conflict }),
        None => Ok(guest),
    }
}

/// Keys that do not go together, and values outside of the limits of their kind.
fn conflict(guest: &Guest) -> Option<(&'static str, Conflict)> {
    let Boot { firmware, firmware_variables, kernel, initrd, cmdline } = &guest.boot;
    let Network { mode, forwards, tap, mac: _ } = &guest.network;
    if kernel.is_none() && initrd.is_some() {
        return Some(("boot.initrd", Conflict::InitrdAlone));
    }
    if kernel.is_none() && cmdline.is_some() {
        return Some(("boot.cmdline", Conflict::CmdlineAlone));
    }
    if firmware.is_none() && firmware_variables.is_some() {
        return Some(("boot.firmware_variables", Conflict::VariablesAlone));
    }
    if *mode != NetworkMode::User && !forwards.is_empty() {
        return Some(("network.forwards", Conflict::Forwards));
    }
    if (*mode == NetworkMode::Tap) != tap.is_some() {
        return Some(("network.tap", Conflict::Tap));
    }
    if guest.chroot.as_deref().is_some_and(|chroot| !chroot.starts_with('/')) {
        return Some(("chroot", Conflict::Expected(Kind::AbsolutePath)));
    }
    let count = keys::key("cpus.count").filter(|key| !key.kind.admits(guest.cpus.count))?;
    Some((count.name, Conflict::Expected(count.kind)))
}

/// The keys that have no effect on this guest, on a machine of this architecture.
pub fn without_effect(guest: &Guest, arch: Arch) -> Vec<&'static str> {
    let Guest { machine, network, display, .. } = guest;
    [
        ("machine.gic", machine.gic.is_some() && arch != Arch::Aarch64),
        ("network.mac", network.mac.is_some() && network.mode == NetworkMode::None),
        ("display.socket", display.socket.is_some() && display.kind != DisplayKind::Vnc),
    ]
    .into_iter()
    .filter_map(|(key, is)| is.then_some(key))
    .collect()
}
