//! The files of the running system under one root.

use core::fmt;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Attributes and the files of proc that we read are far smaller; whatever is
/// longer is not what it should be, and PID 1 must not fill memory with it.
const READ_LIMIT: u64 = 64 * 1024;

/// Tables of proc grow with the machine: a line for each interrupt, a column for each processor.
const TABLE_LIMIT: u64 = 64 << 20;

/// Where `sys` and `proc` are to be found.
///
/// `/` on a booted system, `/vfioboot` for PID 1 (which mounts its own), a
/// temporary directory in tests.
#[derive(Clone)]
pub struct Host {
    root: PathBuf,
    kernel: Option<Arc<Kernel>>,
}

/// Takes a write, given its path relative to the root and the value, instead of the kernel.
pub(crate) type Kernel = dyn Fn(&str, &str) -> io::Result<()> + Send + Sync;

/// A write to an attribute, as data: what a plan consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The attribute, relative to the [`Host`].
    pub path: String,
    /// What is written, with one `write(2)`.
    pub value: String,
}

impl fmt::Display for Write {
    /// As a shell would do it: `echo vfio-pci > /sys/...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value.trim_end() {
            "" => write!(f, "echo > /{}", self.path),
            value => write!(f, "echo {value} > /{}", self.path),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("root", &self.root).finish_non_exhaustive()
    }
}

/// A file of the system that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}: {}", errno_text(.error))]
pub struct HostError {
    /// `read`, `write "value" to` or `list`.
    pub action: String,
    /// The path as a booted system has it (`/sys/...`), whatever the root is.
    pub path: String,
    /// The reason.
    #[source]
    pub error: io::Error,
}

impl Host {
    /// The system whose `sys` and `proc` directories are in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), kernel: None }
    }

    /// A tree with a stand-in for the kernel: `kernel` takes every write of
    /// `write`, and may move links, refuse, or lie. For tests.
    pub fn with_kernel(root: impl Into<PathBuf>, kernel: Arc<Kernel>) -> Self {
        Self { root: root.into(), kernel: Some(kernel) }
    }

    /// A path below the root: `sys/bus/pci`.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// The text of a file without trailing whitespace.
    ///
    /// # Errors
    /// When it cannot be opened or read. Bytes that are not UTF-8 are replaced.
    pub fn read(&self, relative: &str) -> Result<String, HostError> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(relative))
            .and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
            .map_err(|error| self.error("read", relative, error))?;
        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// As [`read`](Self::read), for the tables of proc that grow with the system: routes, mounts,
    /// sockets.
    ///
    /// # Errors
    /// As `read`.
    pub(crate) fn read_table(&self, relative: &str) -> Result<String, HostError> {
        let mut bytes = Vec::new();
        fs::File::open(self.path(relative))
            .and_then(|file| file.take(TABLE_LIMIT).read_to_end(&mut bytes))
            .map_err(|error| self.error("read", relative, error))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Where a path of sysfs really is: `/sys/devices/...` below the root.
    pub(crate) fn real(&self, relative: &str) -> Option<PathBuf> {
        fs::canonicalize(self.path(relative)).ok()
    }

    /// Shows each line of a table of proc, however long it is. A file that cannot be read has none.
    pub(crate) fn each_line(&self, relative: &str, show: &mut dyn FnMut(&str)) {
        let Ok(file) = fs::File::open(self.path(relative)) else { return };
        let mut reader = BufReader::new(file.take(TABLE_LIMIT));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            show(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
    }

    /// The first bytes of a binary attribute: a property of the device tree, a config space.
    /// `None` when it cannot be read.
    pub(crate) fn bytes(&self, relative: &str, limit: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = fs::File::open(self.path(relative)).ok()?;
        file.take(limit).read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Whether this is the system that the program runs on, and not a tree of another one.
    pub(crate) fn is_running_system(&self) -> bool {
        self.kernel.is_none() && self.root == Path::new("/")
    }

    /// The value of an attribute that can be written back: of one that shows all choices
    /// (`always [madvise] never`) the chosen one.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(crate) fn setting(&self, relative: &str) -> Result<String, HostError> {
        let text = self.read(relative)?;
        let chosen = text
            .split_whitespace()
            .find_map(|word| word.strip_prefix('[')?.strip_suffix(']'))
            .map(str::to_owned);
        Ok(chosen.unwrap_or(text))
    }

    /// Writes `value` with one `write(2)`: sysfs takes each call for a whole value.
    ///
    /// # Errors
    /// When the file does not exist (it is never created) or the kernel refuses.
    pub(crate) fn write(&self, relative: &str, value: &str) -> Result<(), HostError> {
        if let Some(kernel) = &self.kernel {
            return kernel(relative, value).map_err(|error| {
                self.error(&format!("write \"{}\" to", value.trim_end()), relative, error)
            });
        }
        // Truncation means nothing to sysfs and makes a fake tree readable.
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.path(relative))
            .and_then(|mut file| match file.write(value.as_bytes())? {
                n if n == value.len() => Ok(()),
                _ => Err(io::ErrorKind::WriteZero.into()),
            })
            .map_err(|error| {
                self.error(&format!("write \"{}\" to", value.trim_end()), relative, error)
            })
    }

    /// Carries out one [`Write`].
    ///
    /// # Errors
    /// As `write`.
    pub(crate) fn carry_out(&self, write: &Write) -> Result<(), HostError> {
        self.write(&write.path, &write.value)
    }

    /// The last component of what a symbolic link points to: the name of a
    /// driver, the number of a group. `None` when there is no such link.
    ///
    /// # Errors
    /// Any other than "does not exist".
    pub(crate) fn link_name(&self, relative: &str) -> Result<Option<String>, HostError> {
        match fs::read_link(self.path(relative)) {
            Ok(target) => Ok(target.file_name().and_then(OsStr::to_str).map(str::to_owned)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("read", relative, error)),
        }
    }

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub(crate) fn list(&self, relative: &str) -> Result<Vec<String>, HostError> {
        let listed = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(self.path(relative))? {
                names.extend(entry?.file_name().into_string().ok());
            }
            Ok(names)
        };
        let mut names = listed().map_err(|error| self.error("list", relative, error))?;
        names.sort_unstable();
        Ok(names)
    }

    /// The directories in a directory, without links to others. None when it cannot be listed.
    pub(crate) fn directories(&self, relative: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(relative)) else { return Vec::new() };
        let entries = entries.filter_map(Result::ok);
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Whether a file or directory is there.
    pub(crate) fn exists(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    fn error(&self, action: &str, relative: &str, error: io::Error) -> HostError {
        HostError { action: action.to_owned(), path: format!("/{relative}"), error }
    }
}

/// The name that C gives an error (`ENODEV`), which is what the kernel log and
/// every forum thread use; its number where the list below ends.
pub fn errno_text(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else { return error.kind().to_string() };
    let name = match number {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::E2BIG => "E2BIG",
        libc::ENOEXEC => "ENOEXEC",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "EEXIST",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "ENOTDIR",
        libc::EISDIR => "EISDIR",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ETXTBSY => "ETXTBSY",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::EDOM => "EDOM",
        libc::ERANGE => "ERANGE",
        libc::EDEADLK => "EDEADLK",
        libc::ENAMETOOLONG => "ENAMETOOLONG",
        libc::ENOSYS => "ENOSYS",
        libc::ENOTEMPTY => "ENOTEMPTY",
        libc::ENOTTY => "ENOTTY",
        libc::ELOOP => "ELOOP",
        libc::ENODATA => "ENODATA",
        libc::EBADMSG => "EBADMSG",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::ETIMEDOUT => "ETIMEDOUT",
        libc::ENOKEY => "ENOKEY",
        libc::EKEYREJECTED => "EKEYREJECTED",
        _ => return format!("errno {number}"),
    };
    name.to_owned()
}
