//! The processes that have a device open through VFIO.

use core::fmt;
use std::fs;
use std::path::Path;

use crate::device::bus::pci::{self, PciDevice};
use crate::device::sys::host::Host;

/// A process that has a device open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its pid.
    pub pid: u32,
    /// Its name, of at most 15 bytes (`/proc/PID/comm`).
    pub name: String,
}

impl fmt::Display for User {
    /// `qemu-system-aar (pid 1234)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// The processes that have the VFIO node of the device's group, or of the device itself, open.
/// Without root only one's own processes are seen.
///
/// Nodes are recognised by the end of their path, because a QEMU in a chroot sees them elsewhere.
pub(crate) fn of_device(host: &Host, device: &PciDevice) -> Vec<User> {
    let mut nodes: Vec<String> =
        device.iommu_group.iter().map(|group| format!("dev/vfio/{group}")).collect();
    let cdevs = host.list(&pci::attribute(device.address, "vfio-dev")).unwrap_or_default();
    nodes.extend(cdevs.iter().map(|name| format!("dev/vfio/devices/{name}")));
    let mut users = Vec::new();
    for pid in host.list("proc").unwrap_or_default() {
        let Ok(number) = pid.parse() else { continue };
        let descriptors = format!("proc/{pid}/fd");
        let has_node = |descriptor: &String| {
            fs::read_link(host.path(format!("{descriptors}/{descriptor}")))
                .is_ok_and(|target| nodes.iter().any(|node| target.ends_with(Path::new(node))))
        };
        if host.list(&descriptors).unwrap_or_default().iter().any(has_node) {
            let name = host.read(&format!("proc/{pid}/comm")).unwrap_or_default();
            users.push(User { pid: number, name });
        }
    }
    users
}

/// `qemu-system-aar (pid 1234)`, several with commas.
pub(crate) fn text(users: &[User]) -> String {
    users.iter().map(User::to_string).collect::<Vec<_>>().join(", ")
}
