//! Entries as files below one directory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::cpio::{Entry, FileType, LinkKey, SkippedFor};
use super::{Entries, Error, Limits, components};

/// Permission bits that are kept: no set-uid, set-gid or sticky bits on somebody else's machine.
const MODE_MASK: u32 = 0o777;

/// An entry that was not extracted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub name: Vec<u8>,
    /// Why.
    pub reason: SkipReason,
}

/// Why an entry was not extracted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkipReason {
    /// The kernel skips it, too.
    #[error("{0}: the kernel skips it")]
    ByKernel(SkippedFor),
    /// A device node.
    #[error("device nodes are not made")]
    Device,
    /// A pipe or a socket.
    #[error("pipes and sockets are not made")]
    Pipe,
    /// Its mode has no file type.
    #[error("it has no known file type")]
    UnknownType,
    /// It is not a directory, and its name is that of the root.
    #[error("its name is empty")]
    Nameless,
    /// Its name starts with `/`.
    #[error("its name is absolute")]
    Absolute,
    /// Its name has a `..`.
    #[error("its name has \"..\" in it")]
    DotDot,
    /// One of its parents is a symbolic link.
    #[error("one of its parents is a symbolic link")]
    BelowLink,
    /// One of its parents is a file.
    #[error("one of its parents is not a directory")]
    BelowFile,
    /// A directory with files in it would be replaced.
    #[error("a directory that is not empty is in its place")]
    DirectoryInPlace,
    /// The file system has no such name or link: the name is too long, a link has no target.
    #[error("the file system refuses it: {0}")]
    FileSystem(String),
}

impl SkipReason {
    /// Whether entries of this type are never extracted: devices, pipes and sockets.
    pub fn by_type(&self) -> bool {
        matches!(self, SkipReason::Device | SkipReason::Pipe)
    }
}

/// Unpack `ramdisk` into `directory`, which is made when it is missing and must be empty. Later
/// entries replace earlier ones as in the kernel. Owners are not set; times and permissions are.
///
/// Nothing is ever written outside of `directory`: entries with an absolute name, a `..` in it or
/// a symbolic link among its parents are skipped, and so are devices, pipes and sockets, and what the
/// file system has no name for. Gives what was skipped.
///
/// # Errors
/// As [`super::Ramdisk::parse`]; [`Error::Refused`] when `directory` is not empty or the file
/// system takes nothing more, with the name of the entry.
pub fn extract(ramdisk: &[u8], directory: &Path, limits: Limits) -> Result<Vec<Skipped>, Error> {
    fs::create_dir_all(directory)?;
    if fs::read_dir(directory)?.next().is_some() {
        let path = directory.display().to_string();
        return Err(Error::Refused { path, reason: "is not empty; name a new directory".into() });
    }
    let mut entries = Entries::new(ramdisk, limits);
    let mut target =
        Extraction { root: directory, links: HashMap::new(), modes: HashMap::new(), held: 0 };
    let mut skipped = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        if let Err(why) = target.entry(&entry, &mut entries) {
            match why {
                Stop::Skip(reason) => {
                    target.held += entry.name.len();
                    skipped.push(Skipped { name: entry.path().to_vec(), reason });
                }
                Stop::System(error) if !ends_extraction(&error) => {
                    target.held += entry.name.len();
                    let reason = SkipReason::FileSystem(error.to_string());
                    skipped.push(Skipped { name: entry.path().to_vec(), reason });
                }
                Stop::System(error) => {
                    let path = entry.path().escape_ascii().to_string();
                    return Err(Error::Refused { path, reason: error.to_string() });
                }
                Stop::Ramdisk(error) => return Err(error),
            }
        }
        if target.held > limits.metadata {
            return Err(Error::too_many_names(limits.metadata));
        }
    }
    target.finish()?;
    skipped.extend(entries.ignored().iter().map(|entry| Skipped {
        name: entry.name.clone(),
        reason: SkipReason::ByKernel(entry.reason),
    }));
    Ok(skipped)
}

/// Why an entry was not made.
enum Stop {
    Skip(SkipReason),
    System(io::Error),
    Ramdisk(Error),
}

/// Whether no other entry could be made either.
fn ends_extraction(error: &io::Error) -> bool {
    use io::ErrorKind;
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
    )
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::System(error)
    }
}

struct Extraction<'d> {
    root: &'d Path,
    /// The first names of the archive's hard-linked files.
    links: HashMap<LinkKey, PathBuf>,
    /// Permissions that directories get at the end.
    modes: HashMap<PathBuf, u32>,
    /// Bytes of names held in the above.
    held: usize,
}

impl Extraction<'_> {
    fn entry(&mut self, entry: &Entry, data: &mut Entries<'_>) -> Result<(), Stop> {
        if entry.is_trailer() {
            self.links.clear();
            return Ok(());
        }
        let Some(path) = self.place(entry.path())? else {
            return match entry.file_type() {
                FileType::Directory => Ok(()),
                _ => Err(Stop::Skip(SkipReason::Nameless)),
            };
        };
        let mode = entry.header.mode & MODE_MASK;
        match entry.file_type() {
            FileType::Directory => {
                if !is_directory(&path) {
                    clear(&path)?;
                    fs::create_dir(&path)?;
                }
                self.held += path.as_os_str().len();
                self.modes.insert(path, mode);
            }
            FileType::Regular => self.file(entry, &path, mode, data)?,
            FileType::Symlink => {
                let mut target = Vec::new();
                data.copy_data(&mut target).map_err(Stop::Ramdisk)?;
                clear(&path)?;
                system::symlink(&target, &path)?;
            }
            FileType::CharDevice | FileType::BlockDevice => {
                return Err(Stop::Skip(SkipReason::Device));
            }
            FileType::Fifo | FileType::Socket => {
                return Err(Stop::Skip(SkipReason::Pipe));
            }
            FileType::Unknown => return Err(Stop::Skip(SkipReason::UnknownType)),
        }
        Ok(())
    }

    fn file(
        &mut self,
        entry: &Entry,
        path: &Path,
        mode: u32,
        data: &mut Entries<'_>,
    ) -> Result<(), Stop> {
        let first = entry.header.link_key().and_then(|key| self.links.get(&key));
        // Its name may have been given to something else since.
        match first.filter(|first| is_regular(first)) {
            Some(first) if first == path => {}
            Some(first) => {
                clear(path)?;
                fs::hard_link(first, path)?;
                if entry.header.filesize == 0 {
                    return Ok(());
                }
            }
            None => {
                if !is_regular(path) {
                    clear(path)?;
                }
                if let Some(key) = entry.header.link_key() {
                    self.held += path.as_os_str().len();
                    self.links.insert(key, path.into());
                }
            }
        }
        // What is here is a regular file of ours, or nothing. It may be read-only.
        if is_regular(path) {
            system::set_mode(path, 0o600)?;
        }
        let mut file = File::create(path)?;
        data.copy_data(&mut file).map_err(Stop::Ramdisk)?;
        let seconds = std::time::Duration::from_secs(entry.header.mtime.into());
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + seconds)?;
        drop(file);
        system::set_mode(path, mode)?;
        Ok(())
    }

    /// Where an entry goes; none for the root itself. Makes missing parents.
    fn place(&self, name: &[u8]) -> Result<Option<PathBuf>, Stop> {
        if name.starts_with(b"/") {
            return Err(Stop::Skip(SkipReason::Absolute));
        }
        if components(name).any(|part| part == b"..") {
            return Err(Stop::Skip(SkipReason::DotDot));
        }
        let mut parts = components(name).peekable();
        let mut path = self.root.to_path_buf();
        while let Some(part) = parts.next() {
            path.push(system::name(part)?);
            if parts.peek().is_none() {
                return Ok(Some(path));
            }
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(found) if found.is_symlink() => {
                    return Err(Stop::Skip(SkipReason::BelowLink));
                }
                Ok(_) => return Err(Stop::Skip(SkipReason::BelowFile)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&path)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Directories become read-only only when everything is in them.
    fn finish(self) -> Result<(), Error> {
        let mut modes: Vec<_> = self.modes.into_iter().collect();
        modes.sort_by(|(one, _), (other, _)| other.cmp(one));
        for (path, mode) in modes.into_iter().filter(|(path, _)| is_directory(path)) {
            system::set_mode(&path, mode)?;
        }
        Ok(())
    }
}

/// A directory itself, not a link to one.
fn is_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
}

/// Remove what is at `path`, if anything; a directory only when it is empty.
fn clear(path: &Path) -> Result<(), Stop> {
    let removed = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => {
            return fs::remove_dir(path).map_err(|_| Stop::Skip(SkipReason::DirectoryInPlace));
        }
        Ok(_) => fs::remove_file(path),
    };
    Ok(removed?)
}

/// Names, links and modes of the system that the files are made on.
#[cfg(unix)]
mod system {
    use std::ffi::OsStr;
    use std::fs::Permissions;
    use std::io;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    pub(super) fn name(bytes: &[u8]) -> io::Result<&OsStr> {
        Ok(OsStr::from_bytes(bytes))
    }

    pub(super) fn symlink(target: &[u8], path: &Path) -> io::Result<()> {
        std::os::unix::fs::symlink(OsStr::from_bytes(target), path)
    }

    pub(super) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
        std::fs::set_permissions(path, Permissions::from_mode(mode))
    }
}

/// Where names are not bytes and files have no mode: what cannot be made is an error that names the entry.
#[cfg(not(unix))]
mod system {
    use std::ffi::OsStr;
    use std::io;
    use std::path::Path;

    /// The characters that separate names or are refused there.
    const NOT_IN_NAMES: &[char] = &['\\', ':', '*', '?', '"', '<', '>', '|'];

    pub(super) fn name(bytes: &[u8]) -> io::Result<&OsStr> {
        let name = std::str::from_utf8(bytes).ok().filter(|name| !name.contains(NOT_IN_NAMES));
        name.map(OsStr::new).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidFilename, "no file can have this name here")
        })
    }

    pub(super) fn symlink(_: &[u8], _: &Path) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "symbolic links are not made here"))
    }

    pub(super) fn set_mode(_: &Path, _: u32) -> io::Result<()> {
        Ok(())
    }
}
