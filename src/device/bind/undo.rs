//! What a step was, so that it can be undone: the records of a journal, and how each is undone.

use core::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::device::bind::driver::{self, DriverState, PutBackError};
use crate::device::bind::shared::{Shared, SharedError};
use crate::device::bus::group::is_vfio;
use crate::device::bus::pci::{self, PciAddress, PciDevice, PciError};
use crate::device::bus::usb;
use crate::device::bus::users::{self, User};
use crate::device::sys::host::{Host, HostError, errno_text};
use crate::device::sys::lock::LockError;
use crate::device::sys::process::Process;
use crate::device::sys::state::StateDir;

/// How to undo one step. It is written before the step is made, so undoing must bear that the
/// step was not made; and it may be interrupted, so undoing twice must do no harm.
///
/// Paths are relative to the [`Host`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// A device gets its original driver and override.
    Device(DriverState),
    /// An attribute of sysfs or procfs gets its original value.
    Attribute {
        /// Where it is.
        path: String,
        /// The value, as it was read, without trailing whitespace.
        value: String,
    },
    /// What an owner wanted of an attribute that several change is taken back: see
    /// [`shared`](crate::device::bind::shared).
    Shared {
        /// Where it is.
        path: String,
        /// Who wanted it: the name of the journal.
        owner: String,
    },
    /// A device node, socket or file that was not there before is removed.
    Node {
        /// Where it is.
        path: String,
    },
    /// A directory (cgroup, cpuset, run directory) that was not there before is removed. What is
    /// in it must be recorded after it, or it stays.
    Directory {
        /// Where it is.
        path: String,
    },
    /// A process is ended: SIGTERM, then SIGKILL. Never another one with its pid.
    Process {
        /// Its pid.
        pid: u32,
        /// When it was started: see [`Process`].
        start_time: u64,
        /// What it is, for people: `qemu-system-aarch64`.
        name: String,
    },
    /// A device is reset, so that nothing of the guest is left in it.
    Reset {
        /// The device.
        address: PciAddress,
    },
    /// A USB device that a guest had gets its drivers again.
    Usb {
        /// Its place.
        port: String,
    },
    /// A lock that keeps the machine awake is given back.
    WakeLock {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(original) => {
                let driver = original.driver.as_deref().unwrap_or("no driver");
                write!(f, "{}: back to {driver}", original.address)
            }
            Self::Attribute { path, value } => write!(f, "/{path}: back to \"{value}\""),
            Self::Shared { path, .. } => write!(f, "/{path}: given back"),
            Self::Node { path } | Self::Directory { path } => write!(f, "/{path}: removed"),
            Self::Process { pid, name, .. } => write!(f, "{name} (pid {pid}): ended"),
            Self::Reset { address } => write!(f, "{address}: reset"),
            Self::Usb { port } => write!(f, "USB {port}: back to its drivers"),
            Self::WakeLock { name } => write!(f, "wake lock {name}: given back"),
        }
    }
}

/// The result of undoing a step.
#[derive(Debug)]
pub enum Ending {
    /// It is undone, as read back afterwards.
    Done,
    /// There was nothing to undo.
    Unchanged,
    /// What the step changed does not exist any more.
    Gone,
    /// Too late to undo: the host uses the device, on this driver.
    InUseByHost(String),
    /// It is not undone.
    Failed(UndoError),
}

/// Why a step is not undone.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The device cannot be read.
    #[error(transparent)]
    Device(#[from] PciError),
    /// The device does not have its original driver and override.
    #[error(transparent)]
    Driver(#[from] PutBackError),
    /// An attribute cannot be read or written.
    #[error(transparent)]
    Attribute(#[from] HostError),
    /// An attribute reads differently from what was written.
    #[error("it reads \"{0}\"")]
    NotTaken(String),
    /// An attribute that several change is not what it should be.
    #[error(transparent)]
    Shared(#[from] SharedError),
    /// A node or directory cannot be removed.
    #[error("{}", errno_text(.0))]
    Remove(#[source] io::Error),
    /// Processes have the device open, and the kernel would wait for them.
    #[error("it is in use by {}", users::text(.0))]
    InUse(Vec<User>),
    /// Another process is at the device, or the kernel has not come back from what one asked of it.
    #[error(transparent)]
    Locked(#[from] LockError),
    /// A record of a path that no step is made at.
    #[error("/{path} is not below {expected}: this step is not one of vfiorun's")]
    Outside {
        /// The path.
        path: String,
        /// Where it should be.
        expected: &'static str,
    },
    /// What is there is not what a step makes.
    #[error("it is neither a device node nor a socket: this step is not one of vfiorun's")]
    NotNode,
    /// A process survives SIGKILL.
    #[error("{name} ({process}) does not end")]
    Process {
        /// The process.
        process: Process,
        /// Its name.
        name: String,
    },
    /// The device has no reset.
    #[error("it cannot be reset")]
    NoReset,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Unchanged => f.write_str("unchanged"),
            Self::Gone => f.write_str("does not exist any more"),
            Self::InUseByHost(driver) => write!(f, "skipped: the host uses it ({driver})"),
            Self::Failed(error) => write!(f, "failed: {error}"),
        }
    }
}

impl Undo {
    /// Undoes the step. `state` is where its journal is.
    pub fn carry_out(&self, host: &Host, state: &StateDir) -> Ending {
        match self {
            Self::Device(original) => device(host, original).unwrap_or_else(Ending::Failed),
            Self::Attribute { path, value } => within(path, ATTRIBUTES)
                .and_then(|()| attribute(host, path, value))
                .unwrap_or_else(Ending::Failed),
            Self::Shared { path, owner } => within(path, ATTRIBUTES)
                .and_then(|()| shared(host, state, path, owner))
                .unwrap_or_else(Ending::Failed),
            Self::Node { path } => {
                within(path, "").and_then(|()| node(host, path)).unwrap_or_else(Ending::Failed)
            }
            Self::Directory { path } => match within(path, DIRECTORIES) {
                Ok(()) => removed(remove_directory(&host.path(path))),
                Err(error) => Ending::Failed(error),
            },
            Self::Process { pid, start_time, name } => {
                end(host, Process { pid: *pid, start_time: *start_time }, name)
            }
            Self::Reset { address } => match reset(host, *address) {
                // It went while it was reset.
                Err(_) if !pci::exists(host, *address) => Ending::Gone,
                ending => ending.unwrap_or_else(Ending::Failed),
            },
            Self::WakeLock { name } => wake_lock(host, name).unwrap_or_else(Ending::Failed),
            Self::Usb { port } => match usb::probe(host, port) {
                None => Ending::Gone,
                Some(true) => Ending::Done,
                Some(false) => Ending::Unchanged,
            },
        }
    }

    /// The step that started a process.
    pub(crate) fn of_process(process: Process, name: String) -> Self {
        let Process { pid, start_time } = process;
        Self::Process { pid, start_time, name }
    }

    /// The device that the step changed, and that undoing it changes.
    pub(crate) fn subject(&self) -> Option<PciAddress> {
        match self {
            Self::Device(original) => Some(original.address),
            Self::Reset { address } => Some(*address),
            _ => None,
        }
    }

    /// The device that the step was about, if it was about the driver of one.
    pub(crate) fn device(&self) -> Option<&DriverState> {
        match self {
            Self::Device(original) => Some(original),
            _ => None,
        }
    }
}

/// What programs that keep the machine awake are written to and read from, and where they are given back.
pub(crate) const WAKE_LOCK: &str = "sys/power/wake_lock";
const WAKE_UNLOCK: &str = "sys/power/wake_unlock";

/// Where steps set attributes, and where they make directories.
const ATTRIBUTES: &str = "sys/ or proc/";
const DIRECTORIES: &str = "sys/ or dev/";

/// Whether `path` is below one of the directories that `expected` names; with none, whether it is a path
/// at all: a journal decides nothing else than what steps do.
fn within(path: &str, expected: &'static str) -> Result<(), UndoError> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let mut places = expected.split(" or ").filter(|place| !place.is_empty()).peekable();
    let inside = places.peek().is_none() || places.any(|place| path.starts_with(place));
    match plain && inside {
        true => Ok(()),
        false => Err(UndoError::Outside { path: path.to_owned(), expected }),
    }
}

/// Removes a device node or a socket, and nothing else: a record could name any file.
fn node(host: &Host, path: &str) -> Result<Ending, UndoError> {
    let place = host.path(path);
    let kind = match place.symlink_metadata() {
        Ok(meta) => meta.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ending::Gone),
        Err(error) => return Err(UndoError::Remove(error)),
    };
    match kind.is_socket() || (kind.is_char_device() && path.starts_with("dev/")) {
        true => Ok(removed(fs::remove_file(place))),
        false => Err(UndoError::NotNode),
    }
}

fn device(host: &Host, original: &DriverState) -> Result<Ending, UndoError> {
    let now = match PciDevice::read(host, original.address) {
        Ok(now) => now,
        Err(_) if !pci::exists(host, original.address) => return Ok(Ending::Gone),
        Err(error) => return Err(error.into()),
    };
    if now.driver != original.driver && driver::is_on_vfio(&now) {
        refuse_in_use(host, &now)?;
    }
    match driver::put_back(host, original) {
        Ok(true) => Ok(Ending::Done),
        Ok(false) => Ok(Ending::Unchanged),
        Err(_) if !pci::exists(host, original.address) => Ok(Ending::Gone),
        Err(error) => Err(error.into()),
    }
}

/// The kernel would wait for the users of a device, for ever, in the write to `unbind`. One that has just
/// been killed may still be on its way out.
fn refuse_in_use(host: &Host, device: &PciDevice) -> Result<(), UndoError> {
    let mut attempt = 1;
    loop {
        let users = users::of_device(host, device);
        if users.is_empty() {
            return Ok(());
        }
        if attempt == ATTEMPTS {
            return Err(UndoError::InUse(users));
        }
        attempt += 1;
        thread::sleep(RETRY_INTERVAL);
    }
}

fn shared(host: &Host, state: &StateDir, path: &str, owner: &str) -> Result<Ending, UndoError> {
    if !host.exists(path) {
        return Ok(Ending::Gone);
    }
    let what = format!("giving back what {owner} had");
    let changed =
        Shared::open(host, state, path, &what, &|| false, &mut |_| {})?.give_back(owner)?;
    Ok(if changed { Ending::Done } else { Ending::Unchanged })
}

/// A control group is busy for as long as a process that was in it is on its way out (`rmdir` of
/// `kernel/cgroup/cgroup.c`), which takes a big QEMU seconds.
fn remove_directory(path: &Path) -> io::Result<()> {
    let mut attempt = 1;
    loop {
        match fs::remove_dir(path) {
            Err(error)
                if error.kind() == io::ErrorKind::ResourceBusy && attempt < DIRECTORY_ATTEMPTS =>
            {
                attempt += 1;
                thread::sleep(RETRY_INTERVAL);
            }
            result => return result,
        }
    }
}

/// How often a directory is removed that is busy.
const DIRECTORY_ATTEMPTS: u32 = 50;
/// How often an attribute is written that does not take its value at once.
const ATTEMPTS: u32 = 10;
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

fn attribute(host: &Host, path: &str, value: &str) -> Result<Ending, UndoError> {
    match host.setting(path) {
        Ok(now) if now == value => return Ok(Ending::Unchanged),
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::NotFound => return Ok(Ending::Gone),
        Err(error) => return Err(error.into()),
    }
    // "\n": an empty write(2) does not reach the kernel's store function.
    let text = if value.is_empty() { "\n" } else { value };
    let mut attempt = 1;
    loop {
        host.write(path, text)?;
        match host.setting(path)? {
            now if now == value => return Ok(Ending::Done),
            // Huge pages of a process that has just ended are not free at once.
            _ if attempt < ATTEMPTS => thread::sleep(RETRY_INTERVAL),
            now => return Err(UndoError::NotTaken(now)),
        }
        attempt += 1;
    }
}

fn end(host: &Host, process: Process, name: &str) -> Ending {
    match process.is_alive(host) {
        false => Ending::Gone,
        true if process.end(host) => Ending::Done,
        true => Ending::Failed(UndoError::Process { process, name: name.to_owned() }),
    }
}

fn wake_lock(host: &Host, name: &str) -> Result<Ending, UndoError> {
    if !host.exists(WAKE_LOCK) {
        return Ok(Ending::Gone);
    }
    let held = || -> Result<bool, HostError> {
        Ok(host.read(WAKE_LOCK)?.split_whitespace().any(|lock| lock == name))
    };
    if !held()? {
        return Ok(Ending::Unchanged);
    }
    host.write(WAKE_UNLOCK, name)?;
    match held()? {
        true => Err(UndoError::NotTaken(name.to_owned())),
        false => Ok(Ending::Done),
    }
}

fn removed(result: io::Result<()>) -> Ending {
    match result {
        Ok(()) => Ending::Done,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ending::Gone,
        Err(error) => Ending::Failed(UndoError::Remove(error)),
    }
}

fn reset(host: &Host, address: PciAddress) -> Result<Ending, UndoError> {
    let now = match PciDevice::read(host, address) {
        Ok(now) => now,
        Err(_) if !pci::exists(host, address) => return Ok(Ending::Gone),
        Err(error) => return Err(error.into()),
    };
    // A driver that works with the device would lose it.
    if let Some(driver) = now.driver.as_deref().filter(|driver| !is_vfio(driver)) {
        return Ok(Ending::InUseByHost(driver.to_owned()));
    }
    refuse_in_use(host, &now)?;
    let path = pci::attribute(address, "reset");
    if !host.exists(&path) {
        return Err(UndoError::NoReset);
    }
    host.write(&path, "1")?;
    Ok(Ending::Done)
}
