//! What a guest needs of the machine before QEMU is started.

use super::values::{Arch, Cluster, Hugepages, Size};
use crate::bootfile::DeviceSpec;

/// What is examined before a start. Each table of the guest file adds what its keys need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs<'g> {
    /// The architecture; that of the machine when `None`.
    pub arch: Option<Arch>,
    /// Devices of the host.
    pub devices: Vec<DeviceSpec>,
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
pub struct NeededFile<'g> {
    /// The key that names it.
    pub key: &'static str,
    /// Its path, in the chroot if there is one.
    pub path: &'g str,
    /// Whether it is written to.
    pub write: bool,
}
