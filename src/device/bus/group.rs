//! IOMMU groups: the IOMMU cannot keep the members of one apart, so they go to a guest together
//! or not at all (`Documentation/driver-api/vfio.rst`).

use core::fmt;

use crate::device::bus::pci::{self, PciAddress};
use crate::device::sys::host::{Host, HostError};

/// The directory with one entry per group.
pub(crate) const GROUPS: &str = "sys/kernel/iommu_groups";

/// The directory with one link for each IOMMU that has a driver.
pub(crate) const IOMMUS: &str = "sys/class/iommu";

/// The name of a group that VFIO made for a device which no IOMMU translates for
/// (`vfio_noiommu_group_alloc`).
pub(crate) const NO_IOMMU: &str = "vfio-noiommu";

/// An IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its number, which is also the name of its node, `/dev/vfio/N`.
    pub number: u32,
    /// The type of its default domain: `DMA`, `DMA-FQ`, `identity`, `blocked`
    /// (`Documentation/ABI/testing/sysfs-kernel-iommu_groups`).
    pub domain: Option<String>,
    /// All that is in it, in the order of sysfs.
    pub members: Vec<Member>,
}

/// A device in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name on its bus: `0000:00:02.0`, `fe330000.usb`.
    pub name: String,
    /// Its place, if it is a PCI device.
    pub address: Option<PciAddress>,
    /// The driver it is bound to.
    pub driver: Option<String>,
    /// Whether it is a PCI bridge.
    pub bridge: bool,
}

impl fmt::Display for Member {
    /// `0000:00:02.0 (nvme)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.driver.as_deref().unwrap_or("no driver"))
    }
}

impl Member {
    /// Whether a guest may have the rest of the group while this one is as it is: without a
    /// driver, on one that leaves DMA to user space, or a bridge.
    ///
    /// That is the kernel's list: drivers with `driver_managed_dma` (the vfio ones, pci-stub,
    /// pcieport), and before Linux 5.19 `vfio_dev_viable` in `drivers/vfio/vfio.c`, which also
    /// passes every bridge.
    pub(crate) fn is_viable(&self) -> bool {
        self.bridge
            || self
                .driver
                .as_deref()
                .is_none_or(|driver| is_vfio(driver) || ["pci-stub", "pcieport"].contains(&driver))
    }
}

/// Whether a driver is a VFIO one: vfio-pci, vfio-platform, or one for a single kind of device
/// (`mlx5_vfio_pci`, `hisi-acc-vfio-pci`).
pub(crate) fn is_vfio(driver: &str) -> bool {
    driver.split(['-', '_']).any(|word| word == "vfio")
}

impl Group {
    /// Reads a group.
    ///
    /// # Errors
    /// When its members cannot be listed.
    pub fn read(host: &Host, number: u32) -> Result<Self, HostError> {
        let directory = format!("{GROUPS}/{number}");
        let mut members = Vec::new();
        for name in host.list(&format!("{directory}/devices"))? {
            let address = name.parse().ok();
            members.push(Member {
                driver: host.link_name(&format!("{directory}/devices/{name}/driver"))?,
                bridge: address.is_some_and(|address| pci::is_bridge(host, address)),
                address,
                name,
            });
        }
        let domain = domain(host, number);
        Ok(Self { number, domain, members })
    }

    /// The members that keep the group from a guest, apart from those of `taken`, which will be
    /// on vfio-pci.
    pub(crate) fn blockers(&self, taken: &[PciAddress]) -> Vec<Member> {
        self.members
            .iter()
            .filter(|member| !member.is_viable())
            .filter(|member| !member.address.is_some_and(|address| taken.contains(&address)))
            .cloned()
            .collect()
    }
}

/// The type of the default domain of a group.
pub fn domain(host: &Host, number: u32) -> Option<String> {
    host.read(&format!("{GROUPS}/{number}/type")).ok()
}

/// Whether there is any group: an IOMMU is at work. On a devicetree system before Linux 6.16 a
/// group appears only when a driver probes its device. What VFIO makes without an IOMMU is none.
pub(crate) fn any(host: &Host) -> bool {
    let groups = host.list(GROUPS).unwrap_or_default();
    let real = |name: &String| !name.parse().is_ok_and(|number| is_no_iommu(host, number));
    groups.iter().any(real)
}

/// Whether a group is one of VFIO's own for devices without an IOMMU, which are for programs that
/// need none and never for a virtual machine.
pub(crate) fn is_no_iommu(host: &Host, number: u32) -> bool {
    host.read(&format!("{GROUPS}/{number}/name")).is_ok_and(|name| name == NO_IOMMU)
        || host.exists(&format!("sys/class/vfio/noiommu-{number}"))
        || host.exists(&format!("dev/vfio/noiommu-{number}"))
}

/// Whether an IOMMU is there at all: a driver shows it, or groups do.
pub(crate) fn any_iommu(host: &Host) -> bool {
    host.list(IOMMUS).is_ok_and(|units| !units.is_empty()) || any(host)
}
