//! The files of the running system under one root.

use core::fmt;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::device::sys::bounded::{self, Claim, Patience, Stuck};

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
    patience: Option<Patience>,
    claims: Vec<Claim>,
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

impl Write {
    /// What it does that may take long, for people; `None` for what is done at once.
    fn slow(&self, host: &Host) -> Option<String> {
        let Self { path, value } = self;
        let parts: Vec<&str> = path.split('/').collect();
        Some(match parts.as_slice() {
            [.., address, "driver", "unbind"] => {
                let link = path.trim_end_matches("/unbind");
                let driver = host.link_name(link).ok().flatten();
                format!("unbinding {address} from {}", driver.as_deref().unwrap_or("its driver"))
            }
            [.., "drivers", driver, "unbind"] => format!("unbinding {value} from {driver}"),
            [.., "drivers", driver, "bind"] => format!("binding {value} to {driver}"),
            [.., "drivers_probe"] => format!("probing {value}"),
            [.., address, "reset"] => format!("resetting {address}"),
            [.., address, "sriov_numvfs"] => match value.as_str() {
                "0" => format!("taking the virtual functions of {address} away"),
                _ => format!("making {value} virtual functions of {address}"),
            },
            // All that the machine has, those of others with them.
            [.., "nr_hugepages"] => format!("setting the number of huge pages to {value}"),
            _ => return None,
        })
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

impl HostError {
    /// What the kernel did not come back from, if that is the reason.
    pub fn stuck(&self) -> Option<&Stuck> {
        Stuck::of(&self.error)
    }
}

impl Host {
    /// The system whose `sys` and `proc` directories are in `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), kernel: None, patience: None, claims: Vec::new() }
    }

    /// A tree with a stand-in for the kernel: `kernel` takes every write of
    /// `write`, and may move links, refuse, or lie. For tests.
    pub fn with_kernel(root: impl Into<PathBuf>, kernel: Arc<Kernel>) -> Self {
        Self { kernel: Some(kernel), ..Self::new(root) }
    }

    /// The same system, whose kernel is waited for no longer than `patience` says. Without, a write
    /// takes as long as it takes.
    pub fn within(self, patience: Patience) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// The same system for an operation that has these locks: they stay locked where the kernel does not
    /// come back from a write to what they are for.
    pub(crate) fn with_claims(&self, claims: Vec<Claim>) -> Self {
        Self { claims, ..self.clone() }
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
        open(&self.path(relative))
            .and_then(|file| file.take(READ_LIMIT).read_to_end(&mut bytes))
            .map_err(|error| self.error("read", relative, error))?;
        Ok(text(&bytes))
    }

    /// As [`read`](Self::read), for attributes of devices that the kernel reads under the device's lock:
    /// one that is locked is not waited for ([`io::ErrorKind::WouldBlock`]).
    pub(crate) fn read_locked(&self, relative: &[String]) -> Vec<Result<String, HostError>> {
        let failed = |error, path: &String| self.error("read", path, error);
        let stuck =
            |path: &String| self.claims.iter().any(|c| c.is_stuck() && c.is_about(path, ""));
        if self.patience.is_none() {
            return relative.iter().map(|path| self.read(path)).collect();
        }
        let free: Vec<&String> = relative.iter().filter(|path| !stuck(path)).collect();
        let paths: Vec<PathBuf> = free.iter().map(|path| self.path(path)).collect();
        let mut answers = match bounded::read(&paths) {
            Ok(answers) => answers.into_iter(),
            // No child could be made.
            Err(_) => return relative.iter().map(|path| self.read(path)).collect(),
        };
        let next = |path: &String| match stuck(path) {
            true => Err(failed(io::ErrorKind::WouldBlock.into(), path)),
            false => match answers.next() {
                Some(Ok(bytes)) => Ok(text(&bytes)),
                Some(Err(error)) => Err(failed(error, path)),
                None => Err(failed(io::ErrorKind::WouldBlock.into(), path)),
            },
        };
        relative.iter().map(next).collect()
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

    /// The error of an exclusive open of the block device at `path`, which the kernel keeps locked while it
    /// takes the device away. `None` when it can be had.
    pub(crate) fn refuses_exclusive_open(&self, path: &Path) -> Option<io::Error> {
        use rustix::fs::OFlags;
        // No medium is waited for, and none is drawn in.
        let flags = OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let asked = self.patience.as_ref().map(|_| bounded::refuses_to_open(path, flags));
        match asked {
            Some(Ok(answer)) => answer,
            // Nothing bounds it, or no child could be made.
            Some(Err(_)) | None => {
                rustix::fs::open(path, flags, rustix::fs::Mode::empty()).err().map(io::Error::from)
            }
        }
    }

    /// Shows each line of a table of proc, however long it is. A file that cannot be read has none.
    pub(crate) fn each_line(&self, relative: &str, show: &mut dyn FnMut(&str)) {
        let Ok(file) = open(&self.path(relative)) else { return };
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
        let file = open(&self.path(relative)).ok()?;
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
        let write = Write { path: relative.to_owned(), value: value.to_owned() };
        self.make(&write).map_err(|error| {
            self.error(&format!("write \"{}\" to", value.trim_end()), relative, error)
        })
    }

    /// Makes a write, by a child where the kernel is not to be waited for as long as it likes.
    fn make(&self, write: &Write) -> io::Result<()> {
        let Write { path, value } = write;
        let Some(patience) = &self.patience else {
            // Truncation means nothing to sysfs and makes a fake tree readable.
            let mut file = OpenOptions::new().write(true).truncate(true).open(self.path(path))?;
            return match file.write(value.as_bytes())? {
                n if n == value.len() => Ok(()),
                _ => Err(io::ErrorKind::WriteZero.into()),
            };
        };
        let claim = self.claims.iter().find(|claim| claim.is_about(path, value));
        if claim.is_some_and(Claim::is_stuck) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let slow = write.slow(self);
        if let Some(doing) = &slow {
            (patience.tell)(&format!("{doing}…"));
            claim.inspect(|claim| claim.note(doing));
        }
        let doing = slow.as_deref().unwrap_or("the write");
        let done = bounded::write(&self.path(path), value, doing, patience, claim);
        if let Some(claim) = claim.filter(|_| slow.is_some()) {
            match done.as_ref().err().and_then(Stuck::of).filter(|stuck| !stuck.gone) {
                Some(stuck) => claim.note(&stuck.to_string()),
                None => claim.note(""),
            }
        }
        done
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

    /// A value that changes with every boot.
    ///
    /// # Errors
    /// Without a `/proc`.
    pub(crate) fn boot_id(&self) -> Result<String, HostError> {
        self.read("proc/sys/kernel/random/boot_id")
    }

    /// Whether a file or directory is there.
    pub(crate) fn exists(&self, relative: &str) -> bool {
        self.path(relative).exists()
    }

    fn error(&self, action: &str, relative: &str, error: io::Error) -> HostError {
        HostError { action: action.to_owned(), path: format!("/{relative}"), error }
    }
}

/// Opens a file for reading, and waits for nothing: what is not a file is an error.
fn open(path: &Path) -> io::Result<fs::File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

/// What is wrong with a file, in words; of all that drivers answer the name that C gives it (`ENODEV`), which is
/// what the kernel log and every forum thread use; its number where the list below ends.
pub fn errno_text(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else {
        return match (error.get_ref(), error.kind()) {
            (Some(reason), _) => reason.to_string(),
            (None, io::ErrorKind::WouldBlock) => "the kernel keeps the device locked".to_owned(),
            (None, kind) => kind.to_string(),
        };
    };
    let name = match number {
        libc::EPERM => "EPERM",
        libc::ENOENT => "no such file",
        libc::EINTR => "EINTR",
        libc::EIO => "EIO",
        libc::ENXIO => "ENXIO",
        libc::E2BIG => "E2BIG",
        libc::ENOEXEC => "ENOEXEC",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "permission denied",
        libc::EFAULT => "EFAULT",
        libc::EBUSY => "EBUSY",
        libc::EEXIST => "exists already",
        libc::ENODEV => "ENODEV",
        libc::ENOTDIR => "not a directory",
        libc::EISDIR => "is a directory",
        libc::EINVAL => "EINVAL",
        libc::ENFILE => "ENFILE",
        libc::EMFILE => "EMFILE",
        libc::ETXTBSY => "ETXTBSY",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "no space left",
        libc::EROFS => "read-only file system",
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
