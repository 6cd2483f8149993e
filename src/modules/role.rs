//! The roles of drivers, by the symbols that they import.

use std::collections::BTreeSet;

use crate::kernel::module::{self, Module};
use crate::kernel::symbols::Symbols;

/// The role of a driver, which decides when it must be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It drives a PCI host bridge: without it there are no PCI devices.
    HostBridge,
    /// It drives an IOMMU.
    Iommu,
}

/// Symbols that only drivers of a role import, because they register the driver.
const ROLES: &[(&str, Role)] = &[
    // drivers/pci/probe.c, drivers/pci/controller
    ("pci_host_probe", Role::HostBridge),
    ("pci_host_common_probe", Role::HostBridge),
    ("dw_pcie_host_init", Role::HostBridge),
    ("cdns_pcie_host_setup", Role::HostBridge),
    ("pci_scan_root_bus_bridge", Role::HostBridge),
    ("pci_scan_root_bus", Role::HostBridge),
    ("pci_create_root_bus", Role::HostBridge),
    // arch/arm/kernel/bios32.c
    ("pci_common_init_dev", Role::HostBridge),
    // drivers/iommu/iommu.c; before 5.12 two functions instead of the first
    ("iommu_device_register", Role::Iommu),
    ("__iommu_device_register", Role::Iommu),
    ("iommu_device_sysfs_add", Role::Iommu),
    ("bus_set_iommu", Role::Iommu),
];

/// The roles of the driver, by its ELF file.
///
/// # Errors
/// A damaged symbol table.
pub(super) fn roles_of(module: &Module, elf: &[u8]) -> Result<BTreeSet<Role>, module::Error> {
    if !may_have_role(module) {
        return Ok(BTreeSet::new());
    }
    let symbols = Symbols::of_elf(elf)?;
    Ok(ROLES.iter().filter(|(symbol, _)| symbols.needs(symbol)).map(|(_, role)| *role).collect())
}

/// Whether its devices come from a device tree, from ACPI or from a board file. Only such drivers
/// can be host bridges and IOMMUs, so only their symbols are read.
fn may_have_role(module: &Module) -> bool {
    let prefixes = ["of:", "acpi", "platform:", "vmbus:"];
    module.aliases.iter().any(|alias| prefixes.iter().any(|prefix| alias.starts_with(prefix)))
}
