//! What a guest needs of the machine before QEMU is started.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use super::values::{Arch, Cluster, Hugepages, Size};
use crate::bootfile::DeviceSpec;
use crate::device::sys::host::{Host, errno_text};

/// What is examined before a start. Each table of the guest file adds what its keys need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs<'g> {
    /// The architecture; that of the machine when `None`.
    pub arch: Option<Arch>,
    /// Devices of the host.
    pub devices: Vec<DeviceSpec>,
    /// Devices that are taken and not given to the guest.
    pub hold: Vec<DeviceSpec>,
    /// Whether interrupts need not be isolated.
    pub unsafe_interrupts: bool,
    /// Memory.
    pub memory: Size,
    /// The pages that the memory is made of.
    pub hugepages: Hugepages,
    /// How many processors.
    pub cpus: u32,
    /// Which of the host's processors.
    pub cluster: Cluster,
    /// Files that QEMU opens.
    pub files: Vec<NeededFile<'g>>,
    /// A tap interface.
    pub tap: Option<&'g str>,
}

/// A file that QEMU opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NeededFile<'g> {
    /// The key that names it.
    pub key: &'static str,
    /// Its path, in the chroot if there is one.
    pub path: &'g str,
    /// Whether it is written to.
    pub write: bool,
}

/// What is not there for a guest.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// A file that cannot be used.
    #[error("{key}: {path}: {}", errno_text(.error))]
    File {
        /// The key that names it.
        key: &'static str,
        /// Its path.
        path: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// A tap interface.
    #[error("network.tap: interface {0} does not exist: ip tuntap add dev {0} mode tap")]
    Tap(String),
}

impl Needs<'_> {
    /// The files and interfaces that are not there. `root` is the root directory of QEMU.
    pub(crate) fn missing(&self, host: &Host, root: &Path) -> Vec<Missing> {
        let file = |file: &NeededFile<'_>| {
            let NeededFile { key, path, write } = *file;
            let inside = root.join(path.trim_start_matches('/'));
            let error = OpenOptions::new().read(true).write(write).open(inside).err()?;
            Some(Missing::File { key, path: path.to_owned(), error })
        };
        let tap = self.tap.filter(|tap| !host.exists(&format!("sys/class/net/{tap}")));
        let tap = tap.map(|tap| Missing::Tap(tap.to_owned()));
        self.files.iter().filter_map(file).chain(tap).collect()
    }
}
