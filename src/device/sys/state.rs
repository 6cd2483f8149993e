//! The directory that journals and locks are in, and who has a journal there.
//!
//! What is in it decides what is written to the system, so it counts only where nobody else could have
//! put it there: the directory is the user's own and closed to others, and so is every file. Nothing in it
//! is reached through a link, and nothing that is not a file is waited for.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::device::sys::host::Host;

/// The directory that survives a reboot on a rooted Android device.
const ADB: &str = "data/adb";

/// What journals are called: the owner's name and this.
const EXTENSION: &str = "journal";

/// Where journals and locks are.
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

/// Why a file or a directory is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Somebody else's.
    #[error("it belongs to user {0}, who could have put anything there: remove it")]
    Owner(u32),
    /// Others may write to it.
    #[error("others may write to it (mode {0:o}), and could have put anything there: remove it")]
    Mode(u32),
    /// A link, a FIFO, a node, or a directory in a file's place.
    #[error("it is not a file: remove it")]
    NotFile,
    /// A file or a link in a directory's place.
    #[error("it is not a directory: remove it")]
    NotDirectory,
}

impl Untrusted {
    /// The one that an error is, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Untrusted> for io::Error {
    fn from(error: Untrusted) -> Self {
        Self::other(error)
    }
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

    /// Makes the directory, for its owner alone. One that is there is closed to others.
    ///
    /// # Errors
    /// As `mkdir(2)`; [`Untrusted`].
    pub fn create(&self) -> io::Result<()> {
        make_private(&self.path)
    }

    /// Makes a directory in it, for its owner alone.
    ///
    /// # Errors
    /// As `mkdir(2)`; [`Untrusted`].
    pub fn directory(&self, relative: &str) -> io::Result<PathBuf> {
        self.create()?;
        let mut path = self.path.clone();
        for part in relative.split('/') {
            path.push(part);
            make_private(&path)?;
        }
        Ok(path)
    }

    /// The path of the journal called `name`.
    pub fn journal(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.{EXTENSION}"))
    }

    /// The names of the journals there are, sorted. None where there is no directory.
    ///
    /// # Errors
    /// When the directory is there and cannot be listed; [`Untrusted`].
    pub fn journals(&self) -> io::Result<Vec<String>> {
        let entries = match examine_directory(&self.path).and_then(|()| fs::read_dir(&self.path)) {
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

    /// Opens a file of the directory for reading and writing, after making it.
    pub(super) fn open_or_create(&self, name: &str) -> io::Result<File> {
        open(&self.path.join(name), OpenOptions::new().read(true).write(true).create(true))
    }
}

/// Opens a file of a state directory, which is the user's own and not a link. What is there and is no such
/// file is [`Untrusted`]; nothing is waited for.
///
/// # Errors
/// As `open(2)`.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = options.mode(0o600).custom_flags(flags).open(path).map_err(|error| {
        // A link; a directory; a FIFO without a reader, a socket.
        match error.raw_os_error() {
            Some(libc::ELOOP | libc::EISDIR | libc::ENXIO) => Untrusted::NotFile.into(),
            _ => error,
        }
    })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(Untrusted::NotFile.into());
    }
    examine(&meta)?;
    Ok(file)
}

/// The contents of a file of a state directory, up to `limit` bytes; more is
/// [`io::ErrorKind::FileTooLarge`].
///
/// # Errors
/// As [`open`].
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path, OpenOptions::new().read(true))?.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(io::ErrorKind::FileTooLarge.into()),
        false => Ok(bytes),
    }
}

/// Replaces a file of a state directory: what had the name is not written to.
///
/// # Errors
/// As `open(2)`.
pub fn create_anew(path: &Path) -> io::Result<File> {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_file() || meta.is_symlink() || meta.file_type().is_fifo() => {
            fs::remove_file(path)?;
        }
        Ok(_) => return Err(Untrusted::NotFile.into()),
        Err(_) => {}
    }
    open(path, OpenOptions::new().write(true).create_new(true))
}

/// Makes a directory for its owner alone, with those above it.
fn make_private(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    examine_directory(path)?;
    // Readable by others, as scripts make it: not any more.
    if path.symlink_metadata()?.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

fn examine_directory(path: &Path) -> io::Result<()> {
    let meta = path.symlink_metadata()?;
    if !meta.is_dir() {
        return Err(Untrusted::NotDirectory.into());
    }
    examine(&meta)
}

/// Whether a file or directory is the user's own and closed to others.
fn examine(meta: &fs::Metadata) -> io::Result<()> {
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Untrusted::Owner(meta.uid()).into());
    }
    match meta.mode() & 0o7777 {
        mode if mode & 0o022 != 0 => Err(Untrusted::Mode(mode).into()),
        _ => Ok(()),
    }
}
