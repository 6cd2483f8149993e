//! What a step was, so that it can be undone: the records of a journal, and how each is undone.

use core::fmt;
use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::device::bind::driver::{self, Former, VFIO_PCI};
use crate::device::bus::group::is_vfio;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::bus::users;
use crate::device::sys::host::{Host, errno_text};
use crate::device::sys::process::Process;

/// How to undo one step. It is written before the step is made, so undoing must bear that the
/// step was not made; and it may be interrupted, so undoing twice must do no harm.
///
/// Paths are relative to the [`Host`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// A device gets its former driver and override.
    Device(Former),
    /// An attribute of sysfs or procfs gets its former value.
    Attribute {
        /// Where it is.
        path: String,
        /// The value, as it was read, without trailing whitespace.
        value: String,
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
        /// The process.
        #[serde(flatten)]
        process: Process,
        /// What it is, for people: `qemu-system-aarch64`.
        name: String,
    },
    /// A device is reset, so that nothing of the guest is left in it.
    Reset {
        /// The device.
        address: PciAddress,
    },
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(former) => {
                let driver = former.driver.as_deref().unwrap_or("no driver");
                write!(f, "{}: back to {driver}", former.address)
            }
            Self::Attribute { path, value } => write!(f, "/{path}: back to \"{value}\""),
            Self::Node { path } | Self::Directory { path } => write!(f, "/{path}: removed"),
            Self::Process { process, name } => write!(f, "{name} ({process}): ended"),
            Self::Reset { address } => write!(f, "{address}: reset"),
        }
    }
}

/// How an undoing went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is undone, and a second look confirmed it.
    Done,
    /// There was nothing to undo.
    Unchanged,
    /// What it was about is not there any more.
    Gone,
    /// It must not be undone any more; the reason.
    Late(String),
    /// It is not undone; the reason.
    Failed(String),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Unchanged => f.write_str("it was so already"),
            Self::Gone => f.write_str("it is not there any more"),
            Self::Late(reason) => write!(f, "not any more: {reason}"),
            Self::Failed(reason) => write!(f, "failed: {reason}"),
        }
    }
}

impl Undo {
    /// Undoes the step.
    pub fn carry_out(&self, host: &Host) -> Ending {
        match self {
            Self::Device(former) => device(host, former),
            Self::Attribute { path, value } => attribute(host, path, value),
            Self::Node { path } => removed(fs::remove_file(host.path(path))),
            Self::Directory { path } => removed(fs::remove_dir(host.path(path))),
            Self::Process { process, name } => match process.is_alive(host) {
                false => Ending::Gone,
                true if process.end(host) => Ending::Done,
                true => Ending::Failed(format!("{name} ({process}) does not end")),
            },
            Self::Reset { address } => reset(host, *address),
        }
    }

    /// The device that the step was about, if it was about the driver of one.
    pub fn device(&self) -> Option<&Former> {
        match self {
            Self::Device(former) => Some(former),
            _ => None,
        }
    }
}

fn device(host: &Host, former: &Former) -> Ending {
    let now = match PciDevice::read(host, former.address) {
        Ok(now) => now,
        Err(_) if !pci::exists(host, former.address) => return Ending::Gone,
        Err(error) => return Ending::Failed(error.to_string()),
    };
    if now.driver != former.driver && now.driver.as_deref() == Some(VFIO_PCI) {
        // The kernel would wait for them, for ever, in the write to `unbind`.
        let users = users::of_device(host, &now);
        if !users.is_empty() {
            return Ending::Failed(format!("it is in use by {}", users::text(&users)));
        }
    }
    match driver::put_back(host, former) {
        Ok(true) => Ending::Done,
        Ok(false) => Ending::Unchanged,
        Err(_) if !pci::exists(host, former.address) => Ending::Gone,
        Err(error) => Ending::Failed(error.to_string()),
    }
}

/// How often an attribute is written that does not take its value at once.
const ATTEMPTS: u32 = 10;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(100);

fn attribute(host: &Host, path: &str, value: &str) -> Ending {
    match host.setting(path) {
        Ok(now) if now == value => return Ending::Unchanged,
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::NotFound => return Ending::Gone,
        Err(error) => return Ending::Failed(error.to_string()),
    }
    // "\n": an empty write(2) does not reach the kernel's store function.
    let text = if value.is_empty() { "\n" } else { value };
    for attempt in 1.. {
        if let Err(error) = host.write(path, text) {
            return Ending::Failed(error.to_string());
        }
        match host.setting(path) {
            Ok(now) if now == value => break,
            // Huge pages of a process that has just ended are not free at once.
            Ok(_) if attempt < ATTEMPTS => thread::sleep(BETWEEN_ATTEMPTS),
            Ok(now) => return Ending::Failed(format!("it reads \"{now}\"")),
            Err(error) => return Ending::Failed(error.to_string()),
        }
    }
    Ending::Done
}

fn removed(result: io::Result<()>) -> Ending {
    match result {
        Ok(()) => Ending::Done,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ending::Gone,
        Err(error) => Ending::Failed(errno_text(&error)),
    }
}

fn reset(host: &Host, address: PciAddress) -> Ending {
    let now = match PciDevice::read(host, address) {
        Ok(now) => now,
        Err(_) if !pci::exists(host, address) => return Ending::Gone,
        Err(error) => return Ending::Failed(error.to_string()),
    };
    // Under a driver that works with it, it would be lost to the host.
    if let Some(driver) = now.driver.as_deref().filter(|driver| !is_vfio(driver)) {
        return Ending::Late(format!("it is on {driver}"));
    }
    let users = users::of_device(host, &now);
    if !users.is_empty() {
        return Ending::Failed(format!("it is in use by {}", users::text(&users)));
    }
    let path = pci::attribute(address, "reset");
    if !host.exists(&path) {
        return Ending::Failed("it cannot be reset".to_owned());
    }
    match host.write(&path, "1") {
        Ok(()) => Ending::Done,
        Err(error) => Ending::Failed(error.to_string()),
    }
}
