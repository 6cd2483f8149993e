//! Physical functions and their virtual ones (`Documentation/PCI/pci-iov-howto.rst`).

use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::Host;

/// The physical function of a virtual one.
pub(crate) fn physical(host: &Host, function: PciAddress) -> Option<PciAddress> {
    host.link_name(&pci::attribute(function, "physfn")).ok()??.parse().ok()
}

/// The virtual functions of a physical one that have a driver: the host or a guest uses them. They go when
/// its driver does.
pub(crate) fn used_functions(host: &Host, physical: PciAddress) -> Vec<PciDevice> {
    let place = format!("{}/{physical}", pci::DEVICES);
    let functions = host.list(&place).unwrap_or_default().into_iter();
    functions
        .filter(|name| name.starts_with("virtfn"))
        .filter_map(|name| host.link_name(&format!("{place}/{name}")).ok()??.parse().ok())
        .filter_map(|address| PciDevice::read(host, address).ok())
        .filter(|device| device.driver.is_some())
        .collect()
}

/// Whether a physical function has virtual ones.
pub(crate) fn has_functions(host: &Host, physical: PciAddress) -> bool {
    host.exists(&pci::attribute(physical, "virtfn0"))
}
